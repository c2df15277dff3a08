//! The tests of loading: what the dynamic linker and the library's constructors do.
//!
//! Inputs: a case. Outputs: findings. Must never make an instance.

use super::case::Case;
use super::{Body, Finding, Group, Test};
use crate::host::load::{self, ClassInfo};
use crate::host::{schema, trust};
use crate::sys::clock;
use crate::sys::surroundings::{self, Surroundings};
use serde_json::Value;

/// Loading may take this long without a word, and this long at all, milliseconds.
const SLOW_MS: i64 = 200;
const TOO_SLOW_MS: i64 = 2_000;

const LOAD: Test = Test::of(Group::Load, 10, "");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "load-class",
        expected: "it loads with every symbol bound, and its class has the file's name, an id, a version and a licence",
        advice: "link with -Wl,-z,defs to find missing symbols while building; name, id (reverse-domain), version and \
                 licence stand in the class and in SNOOZE_EXPORT",
        body: Body::Dynamic(class),
        ..LOAD
    },
    Test {
        name: "load-schema",
        expected: "a configuration schema that is JSON Schema, and takes the configuration and its own defaults",
        advice: "derive the schema from the type that reads the configuration, or keep the two beside each other; give a \
                 configuration that fits with --config-file",
        needs: "load-class",
        body: Body::Dynamic(config_schema),
        ..LOAD
    },
    Test {
        name: "load-time",
        expected: "loading takes less than 200 ms",
        advice: "do in activate what a constructor or a static object's initialiser does now",
        needs: "load-class",
        body: Body::Dynamic(time),
        ..LOAD
    },
    Test {
        name: "load-surroundings",
        expected: "loading starts no thread, opens no file and changes nothing that the whole process shares",
        advice: "take the constructor out, and -ffast-math from the link line; do the rest in activate and undo it in deactivate",
        needs: "load-class",
        body: Body::Dynamic(loading_surroundings),
        ..LOAD
    },
    Test {
        name: "load-twice",
        expected: "two copies of the library live beside each other, as after an update",
        advice: "keep no state outside of the instance: no named shared memory, lock file or registration",
        needs: "load-class",
        body: Body::Dynamic(twice),
        ..LOAD
    },
];

fn class(case: &Case) -> Result<Finding, Finding> {
    let info = case.library()?.info(case.class()?);
    let ClassInfo { id, name, version, description, vendor, license, sdk, .. } = &info;
    let absent = [("the licence", license), ("the maker", vendor), ("the description", description)];
    if let Some((what, _)) = absent.iter().find(|(_, text)| text.trim().is_empty()) {
        return Ok(Finding::Doubtful(format!("{what} is empty")));
    }
    let words: Vec<&str> = id.split('.').collect();
    if words.len() < 3 || words.iter().any(|word| word.is_empty()) {
        return Ok(Finding::Doubtful(format!("the id '{id}' is not of the form org.example.name")));
    }
    Ok(Finding::Good(format!("{name} {version} ({id}), {license}, by {vendor}, built with {sdk}")))
}

fn config_schema(case: &Case) -> Result<Finding, Finding> {
    let class = case.class()?;
    let Some(text) = load::config_schema(class) else {
        return Ok(Finding::Good("it has none and takes any configuration".into()));
    };
    if let Err(refusal) = schema::check(&text, &case.config) {
        let which = if refusal.code() == "CONFIG" { "the configuration does not fit: " } else { "" };
        return Ok(Finding::Bad(format!("{which}{refusal}")));
    }
    let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
    let members = parsed["properties"].as_object();
    for (name, member) in members.into_iter().flatten() {
        let own = member.get("default").into_iter().chain(member["examples"].as_array().into_iter().flatten());
        for value in own.filter(|value| !value.is_null()) {
            let mut with = case.config.clone();
            with[name.as_str()] = value.clone();
            if let Err(refusal) = schema::check(&text, &with) {
                return Ok(Finding::Bad(format!("its own default or example of '{name}' does not fit: {refusal}")));
            }
        }
    }
    let described = members.map_or(0, |m| m.values().filter(|m| m["description"].is_string()).count());
    let count = members.map_or(0, serde_json::Map::len);
    if described < count {
        return Ok(Finding::Doubtful(format!("{} of its {count} settings have no description", count - described)));
    }
    Ok(Finding::Good(format!("{count} settings, all described; the configuration fits")))
}

fn time(case: &Case) -> Result<Finding, Finding> {
    let file = case.file()?;
    let begun_ns = clock::boot_ns();
    load::load(file).map_err(|refusal| Finding::Bad(refusal.to_string()))?;
    let took_ms = (clock::boot_ns() - begun_ns) / 1_000_000;
    let text = format!("{took_ms} ms");
    Ok(match (took_ms > SLOW_MS, took_ms > TOO_SLOW_MS) {
        (false, _) => Finding::Good(text),
        (true, false) => Finding::Doubtful(text),
        (true, true) => Finding::Bad(text),
    })
}

fn loading_surroundings(case: &Case) -> Result<Finding, Finding> {
    let file = case.file()?;
    let (before, threads, descriptors) = (Surroundings::now(), surroundings::threads(), surroundings::descriptors());
    load::load_here(file).map_err(|refusal| Finding::Bad(refusal.to_string()))?;
    let mut changes = Surroundings::now().changes_since(&before);
    let more = surroundings::settled_threads(threads).saturating_sub(threads);
    if more > 0 {
        changes.push(format!("{more} threads were started"));
    }
    let opened = surroundings::descriptors().into_iter().filter(|(number, _)| !descriptors.contains_key(number));
    changes.extend(opened.map(|(number, target)| format!("descriptor {number} was opened ({})", target.display())));
    Ok(if changes.is_empty() { Finding::Good("nothing changed".into()) } else { Finding::Bad(changes.join("; ")) })
}

fn twice(case: &Case) -> Result<Finding, Finding> {
    let first = case.class()?;
    // A sealed copy in memory is another file to the linker, as a new version of the file would be.
    let sha256 = case.library()?.sha256.clone();
    let copy = match trust::open(&case.path, Some(&sha256)) {
        Ok(copy) => copy,
        Err(refusal) => return Ok(Finding::Skipped(format!("a second copy cannot be had: {refusal}"))),
    };
    let second = load::load_here(copy).and_then(|library| library.class(&case.plugin));
    Ok(match second {
        Ok(second) if std::ptr::eq(first, second) => Finding::Skipped("the linker gave the first copy again".into()),
        Ok(_) => Finding::Good("two copies are loaded".into()),
        Err(refusal) => Finding::Bad(format!("the second copy does not load: {refusal}")),
    })
}
