//! Which containers are stopped, in which order.
//!
//! Inputs: running containers, the configuration. Outputs: their numbers by group. Pure. Must never choose one twice, nor one that is
//! excepted.

use crate::config::Config;
use glob::Pattern;
use std::collections::HashMap;

/// A container as a list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    /// Without the leading slash; the first, where it has several.
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
}

/// The containers of each group of the configuration; each belongs to the first group that matches it.
pub(crate) fn by_group(config: &Config, listed: Vec<Listed>) -> Vec<Vec<Listed>> {
    let mut groups: Vec<Vec<Listed>> = config.groups.iter().map(|_| Vec::new()).collect();
    for container in listed {
        if matches(&config.except.names, &config.except.labels, &container) {
            continue;
        }
        let is_of = |group: &crate::config::Group| group.all || matches(&group.names, &group.labels, &container);
        if let Some(group) = config.groups.iter().position(is_of).and_then(|index| groups.get_mut(index)) {
            group.push(container);
        }
    }
    groups
}

fn matches(names: &[String], labels: &[String], container: &Listed) -> bool {
    let has_name = |name: &String| Pattern::new(name).is_ok_and(|pattern| pattern.matches(&container.name));
    let has_label = |label: &String| match label.split_once('=') {
        Some((key, value)) => container.labels.get(key).is_some_and(|found| found == value),
        None => container.labels.contains_key(label),
    };
    names.iter().any(has_name) || labels.iter().any(has_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_goes_to_the_first_group_that_matches_and_the_excepted_to_none() {
        let config: Config = serde_json::from_value(json!({
            "groups": [
                { "names": ["web-?", "proxy"] }, { "labels": ["tier=worker", "batch"] }, { "all": true },
            ],
            "except": { "names": ["*-agent"], "labels": ["keep=yes"] },
        }))
        .unwrap();
        let listed = |name: &str, labels: &[(&str, &str)]| Listed {
            id: name.to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let all = vec![
            listed("db", &[("keep", "no")]),
            listed("web-1", &[("batch", "")]),
            listed("log-agent", &[]),
            listed("w1", &[("tier", "worker")]),
            listed("w2", &[("batch", "nightly")]),
            listed("web-10", &[("tier", "web")]),
            listed("vault", &[("keep", "yes")]),
        ];
        let names: Vec<Vec<String>> =
            by_group(&config, all).into_iter().map(|group| group.into_iter().map(|one| one.name).collect()).collect();
        assert_eq!(names, [vec!["web-1"], vec!["w1", "w2"], vec!["db", "web-10"]]);
    }
}
