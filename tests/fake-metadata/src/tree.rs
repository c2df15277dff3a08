//! Metadata as a tree of paths: which exist, and what a directory lists.
//!
//! Responsibilities: find a leaf or list a directory, the way the services of AWS, Alibaba and Tencent do. Inputs: path and
//! body pairs. Outputs: a body or a listing. Everything here is pure; it must never know about requests, tokens or faults.

use std::collections::BTreeMap;

/// Paths below `meta-data/`, each with its body, in the order listings show.
pub(crate) type Leaves = BTreeMap<String, String>;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Leaf(&'a str),
    /// The children of a directory, one a line, directories with a trailing slash.
    Listing(String),
    Nothing,
}

/// Looks `path` (relative, without a leading slash) up. Leaves and directories answer with or without a trailing slash:
/// botocore finds its region by `placement/availability-zone/`, so the real service must.
pub(crate) fn find<'a>(leaves: &'a Leaves, path: &str) -> Found<'a> {
    let directory = path.trim_end_matches('/');
    if let Some(body) = leaves.get(directory) {
        return Found::Leaf(body);
    }
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let mut children: Vec<&str> = Vec::new();
    for leaf in leaves.keys().filter_map(|leaf| leaf.strip_prefix(&prefix)) {
        // A child is the text up to and including the first slash, so that a directory is listed once.
        let child = leaf.find('/').map_or(leaf, |slash| &leaf[..=slash]);
        if children.last() != Some(&child) {
            children.push(child);
        }
    }
    if children.is_empty() { Found::Nothing } else { Found::Listing(children.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves() -> Leaves {
        ["instance-id", "placement/region", "placement/zone", "spot/instance-action", "tags/instance/Name"]
            .into_iter()
            .map(|path| (path.to_owned(), format!("body of {path}")))
            .collect()
    }

    #[test]
    fn a_directory_lists_each_child_once_and_marks_directories() {
        let listing = "instance-id\nplacement/\nspot/\ntags/".to_owned();
        assert_eq!(find(&leaves(), ""), Found::Listing(listing.clone()));
        assert_eq!(find(&leaves(), "/"), Found::Listing(listing));
        assert_eq!(find(&leaves(), "placement/"), Found::Listing("region\nzone".to_owned()));
        assert_eq!(find(&leaves(), "placement"), Found::Listing("region\nzone".to_owned()));
        assert_eq!(find(&leaves(), "tags/"), Found::Listing("instance/".to_owned()));
    }

    #[test]
    fn a_leaf_answers_only_to_its_own_path() {
        assert_eq!(find(&leaves(), "placement/region"), Found::Leaf("body of placement/region"));
        assert_eq!(find(&leaves(), "placement/region/"), Found::Leaf("body of placement/region"));
        for path in ["placement/reg", "instance-id/x", "placement/region2"] {
            assert_eq!(find(&leaves(), path), Found::Nothing, "{path}");
        }
    }
}
