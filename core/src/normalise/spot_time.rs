//! Clouds whose only notice is the time at which a spot instance ends.
//!
//! Responsibilities: a body that holds a time -> the notice of an interruption, and the words that name a machine.
//! Inputs: a dialect, the body of a 200 reply, a `Reading`. Outputs: a `Notice`, or a `ParseError`. Must never treat
//! garbage as "no notice", or fire for a time that has passed.

use super::deadline::civil_ns;
use super::{Notice, NoticeKey, ParseError, Reading};
use crate::event::{Action, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::json;
use std::borrow::Cow;

/// Longest word that names a machine, its type or its place, bytes.
const WORD_BYTES_MAX: usize = 128;

/// In what one cloud's notice differs from another's.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The provider's name in keys and events.
    pub(super) provider: &'static str,
    /// How far ahead of UTC a time is that does not say so, hours.
    pub(super) ahead_hours: i8,
    /// Whether an empty body is documented to mean "nothing".
    pub(super) may_be_empty: bool,
    /// What a body must be, in words.
    pub(super) expected: &'static str,
}

/// The time of the end. None when it has passed: the machine outlived it.
pub(super) fn termination_time(
    dialect: &Dialect,
    body: &[u8],
    reading: Reading<'_>,
) -> Result<Option<Notice>, ParseError> {
    let text = std::str::from_utf8(body).map(str::trim).map_err(|_| ParseError::NotText)?;
    if text.is_empty() && dialect.may_be_empty {
        return Ok(None);
    }
    let stated = civil_ns(text, dialect.ahead_hours).ok_or(ParseError::Shape { expected: dialect.expected })?;
    if stated <= reading.now.wall_ns {
        return Ok(None);
    }
    Ok(Some(Notice {
        resources: Vec::new(),
        kind: EventType::SPOT_INTERRUPT,
        key: spot_interrupt_key(dialect, reading.machine),
        action: Action::Terminate,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: Some(stated),
        effective: Some(Moment::at_wall(stated, reading.now)),
        immediate: false,
        raw: json!(text),
        severity: Severity::Urgent,
        cancelled: false,
    }))
}

/// Key of the interruption notice of this machine: there is at most one.
pub(super) fn spot_interrupt_key(dialect: &Dialect, machine: &Machine) -> NoticeKey {
    NoticeKey {
        provider: Cow::Borrowed(dialect.provider),
        kind: EventType::SPOT_INTERRUPT,
        instance: machine.instance_id.clone(),
        provider_id: None,
    }
}

/// The body of an item that is one word, such as the name of the instance or its zone.
///
/// # Errors
/// The body is anything else: a page of a proxy, for one.
pub fn word(body: &[u8]) -> Result<&str, ParseError> {
    let text = std::str::from_utf8(body).map(str::trim).map_err(|_| ParseError::NotText)?;
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_word) {
        true => Ok(text),
        false => Err(ParseError::Shape { expected: "one word of letters, digits, '-', '_' and '.'" }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::{SECOND_NS, any_ns};
    use super::super::revise::{Reviser, Verdict};
    use super::super::{alibaba, tencent};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::path::Path;
    use std::sync::Arc;

    type Parser = fn(&[u8], Reading<'_>) -> Result<Option<Notice>, ParseError>;

    const CLOUDS: [(&str, Parser); 2] =
        [(alibaba::PROVIDER, alibaba::termination_time), (tencent::PROVIDER, tencent::termination_time)];

    fn at(text: &str) -> Moment {
        Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: any_ns(text).unwrap() }
    }

    fn machine() -> Machine {
        Machine { instance_id: "i-0123456789abcdef0".into(), ..Machine::default() }
    }

    /// Every document of `tests/fixtures/PROVIDER` becomes the events written beside it: `NAME.body` is what the service
    /// gave, `NAME.event.json` says at what time, and what members the events have, or that it cannot be read.
    #[test]
    fn recorded_documents_become_their_events() {
        for (provider, parse) in CLOUDS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(provider);
            let mut count = 0;
            for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                let Some(name) = file.to_str().and_then(|f| f.strip_suffix(".body")) else { continue };
                let expected: Value =
                    serde_json::from_slice(&std::fs::read(format!("{name}.event.json")).unwrap()).expect(name);
                let (machine, now) = (Arc::new(machine()), at(expected["now"].as_str().unwrap()));
                let body = std::fs::read(&file).unwrap();
                let read = parse(&body, Reading { machine: &machine, now });
                assert_eq!(read.is_err(), expected["error"] == true, "{name}: {read:?}");
                let mut reviser = Reviser::new(format!("{provider}.test"));
                let told = read.ok().flatten().map(|notice| reviser.observe(notice, &machine, now));
                let found: Vec<Value> = told
                    .into_iter()
                    .filter_map(|verdict| match verdict {
                        Verdict::New(event) => Some(event.to_json(now)),
                        _ => None,
                    })
                    .collect();
                let wanted = expected["events"].as_array().expect(name);
                assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
                for (found, wanted) in found.iter().zip(wanted) {
                    for (member, wanted) in wanted.as_object().unwrap() {
                        match wanted {
                            Value::Object(data) => {
                                data.iter().for_each(|(key, wanted)| assert_eq!(&found[member][key], wanted, "{name}"));
                            }
                            _ => assert_eq!(&found[member], wanted, "{name}: {member}"),
                        }
                    }
                }
                count += 1;
            }
            assert!(count >= 6, "only {count} documents in {}", folder.display());
        }
    }

    #[test]
    fn the_same_text_is_eight_hours_earlier_in_china() {
        let machine = machine();
        let reading = Reading { machine: &machine, now: at("2018-08-18T00:00:00Z") };
        let stated = |parse: Parser| parse(b"2018-08-18 12:05:33", reading).unwrap().unwrap().stated_wall_ns;
        let there = stated(alibaba::termination_time).zip(stated(tencent::termination_time));
        assert_eq!(there.map(|(utc, china)| utc - china), Some(8 * 3_600 * SECOND_NS));
        let both = CLOUDS.map(|(_, parse)| parse(b"2018-08-18T04:05:33Z\n", reading).unwrap().unwrap().stated_wall_ns);
        assert_eq!(both[0], both[1], "a time that names its zone is believed");
        assert_eq!(both[0], any_ns("2018-08-18T04:05:33Z"));
    }

    #[test]
    fn a_time_that_has_passed_does_not_fire() {
        let machine = machine();
        for (provider, parse) in CLOUDS {
            let body = b"2018-08-18T04:05:33Z";
            let read = |now| parse(body, Reading { machine: &machine, now: at(now) }).unwrap();
            assert_eq!(read("2018-08-18T04:05:33Z"), None, "{provider}");
            assert!(read("2018-08-18T04:05:32Z").is_some(), "{provider}");
        }
    }

    #[test]
    fn garbage_is_an_error_and_not_the_absence_of_a_notice() {
        let machine = machine();
        let reading = Reading { machine: &machine, now: at("2018-08-18T00:00:00Z") };
        let secret = "<html>hunter2</html>";
        for (provider, parse) in CLOUDS {
            for body in [secret, "soon", "{}", "null", "2018-08-18", "12:05:33", "2018-13-41 00:00:00"] {
                let error = parse(body.as_bytes(), reading).expect_err(body).to_string();
                assert!(!error.contains("hunter2") && error.contains("a time"), "{provider}: {error}");
            }
            assert_eq!(parse(b"\xff", reading), Err(ParseError::NotText), "{provider}");
        }
        assert_eq!(alibaba::termination_time(b" \n", reading), Ok(None), "as Alibaba's older documents have it");
        assert!(tencent::termination_time(b" \n", reading).is_err());
    }

    #[test]
    fn what_names_a_machine_is_one_word() {
        assert_eq!(word(b" cn-hangzhou-i\n"), Ok("cn-hangzhou-i"));
        for bad in [&b""[..], b"<html>", b"two words", b"a\0b", b"\xff", &[b'a'; 129]] {
            assert!(word(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..100), wall_ns: i64) {
            let machine = machine();
            let reading = Reading { machine: &machine, now: Moment { boot_ns: i64::MAX, wall_ns } };
            CLOUDS.iter().for_each(|(_, parse)| drop(parse(&body, reading)));
            let _ = word(&body);
        }

        #[test]
        fn every_time_ahead_is_a_deadline_at_that_time(ahead in 1_i64..1_000_000_000, separator in "[ T]") {
            let (machine, now) = (machine(), at("2018-08-18T00:00:00Z"));
            let stated = now.wall_ns + ahead * SECOND_NS;
            let written = |hours: i64| {
                let text = crate::event::rfc3339(stated + hours * 3_600 * SECOND_NS);
                text[..19].replace('T', &separator)
            };
            for ((provider, parse), hours) in CLOUDS.iter().zip([0, 8]) {
                let notice = parse(written(hours).as_bytes(), Reading { machine: &machine, now }).unwrap().unwrap();
                prop_assert_eq!(notice.stated_wall_ns, Some(stated), "{}", provider);
                prop_assert_eq!(notice.effective.unwrap().boot_ns - now.boot_ns, ahead * SECOND_NS);
            }
        }
    }
}
