//! Several configuration files laid over each other.
//!
//! Responsibilities: the merged document, and which file each value came from. Inputs: one object a file, in order. Outputs: the
//! document. The rule: objects merge member by member at every depth; everything else, lists too, replaces what was there. But the
//! handlers of an event type are joined: a file that brings one must not silently take another's away. One with the `id` (or, without
//! one, the name) of an earlier takes its place. Must never depend on what any other setting means.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::path::{JsonPath, Step};

/// Files laid over each other, the last one on top.
#[derive(Clone)]
pub(super) struct Layers {
    document: Value,
    files: Vec<PathBuf>,
    /// The file (by index) that a value came from; what is not listed came from where the value around it came from.
    origins: BTreeMap<JsonPath, usize>,
}

impl Layers {
    /// An empty document, for whose lack of anything `main` is named.
    pub(super) fn new(main: &Path) -> Self {
        let origins = BTreeMap::from([(JsonPath::default(), 0)]);
        Self { document: Value::Object(Map::new()), files: vec![main.to_owned()], origins }
    }

    /// Lays the object of `file` on top.
    pub(super) fn add(&mut self, file: &Path, object: Value) {
        let index = self.files.iter().position(|known| known == file).unwrap_or_else(|| {
            self.files.push(file.to_owned());
            self.files.len() - 1
        });
        merge(&mut self.document, object, index, &JsonPath::default(), &mut self.origins);
    }

    /// The merged document.
    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// The files, in order.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file that the value at `path`, or what is around it, came from.
    pub(super) fn file_of(&self, path: &JsonPath) -> PathBuf {
        let lengths = (0..=path.0.len()).rev();
        let index = lengths.filter_map(|length| self.origins.get(&JsonPath(path.0[..length].to_vec()))).next();
        self.files.get(index.copied().unwrap_or(0)).cloned().unwrap_or_default()
    }
}

fn merge(below: &mut Value, above: Value, file: usize, path: &JsonPath, origins: &mut BTreeMap<JsonPath, usize>) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                let path = path.key(&key);
                match below.get_mut(&key) {
                    Some(existing) => merge(existing, value, file, &path, origins),
                    None => {
                        below.insert(key, value);
                        origins.insert(path, file);
                    }
                }
            }
        }
        (Value::Array(below), Value::Array(above)) if are_handlers(path) => join(below, above, file, path, origins),
        (below, above) => {
            *below = above;
            origins.retain(|known, _| !known.0.starts_with(&path.0));
            origins.insert(path.clone(), file);
        }
    }
}

/// Whether the list at this path is that of an event type's handlers.
fn are_handlers(path: &JsonPath) -> bool {
    let is = |step: &Step, name: &str| matches!(step, Step::Key(key) if key == name);
    matches!(&path.0[..], [first, _, last] if is(first, "event_handlers") && is(last, "plugins"))
}

fn join(
    below: &mut Vec<Value>,
    above: Vec<Value>,
    file: usize,
    path: &JsonPath,
    origins: &mut BTreeMap<JsonPath, usize>,
) {
    let name = |handler: &Value| handler.get("id").or_else(|| handler.get("name")).cloned();
    for handler in above {
        let same =
            name(&handler).and_then(|wanted| below.iter().position(|known| name(known).as_ref() == Some(&wanted)));
        let index = same.unwrap_or(below.len());
        match below.get_mut(index) {
            Some(known) => *known = handler,
            None => below.push(handler),
        }
        let path = path.index(index);
        origins.retain(|known, _| !known.0.starts_with(&path.0));
        origins.insert(path, file);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::any_object;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn layered(objects: &[Value]) -> Layers {
        let mut layers = Layers::new(Path::new("0"));
        for (index, object) in objects.iter().enumerate() {
            layers.add(Path::new(&index.to_string()), object.clone());
        }
        layers
    }

    fn leaves(value: &Value, path: &JsonPath, found: &mut Vec<(JsonPath, Value)>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(key, member)| leaves(member, &path.key(key), found));
            }
            other => found.push((path.clone(), other.clone())),
        }
    }

    #[test]
    fn objects_merge_and_lists_replace() {
        let layers = layered(&[
            json!({"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}),
            json!({"a": {"c": [3]}, "d": 4}),
            json!({"d": {"f": 2}}),
        ]);
        assert_eq!(layers.document(), &json!({"a": {"b": 1, "c": [3]}, "d": {"f": 2}}));
        let origin = |path: JsonPath| layers.file_of(&path).display().to_string();
        assert_eq!(origin(JsonPath::default().key("a").key("b")), "0");
        assert_eq!(origin(JsonPath::default().key("a").key("c").index(0)), "1");
        assert_eq!(origin(JsonPath::default().key("d").key("f")), "2");
        assert_eq!(origin(JsonPath(vec![Step::Key("none".into())])), "0");
    }

    #[test]
    fn handlers_of_an_event_type_are_joined_and_one_of_the_same_name_takes_the_earliers_place() {
        let plugins = |plugins: Value| json!({"event_handlers": {"cloud.*": {"plugins": plugins}}});
        let layers = layered(&[
            plugins(json!([{"name": "exec", "id": "a"}, {"name": "exec", "priority": 1}])),
            plugins(json!([{"name": "mysql-flusher"}, {"name": "exec", "priority": 2}])),
            json!({"event_handlers": {"*": {"plugins": [{"name": "exec"}]}}}),
        ]);
        let joined = json!([{"name": "exec", "id": "a"}, {"name": "exec", "priority": 2}, {"name": "mysql-flusher"}]);
        assert_eq!(layers.document()["event_handlers"]["cloud.*"]["plugins"], joined);
        let list = JsonPath::default().key("event_handlers").key("cloud.*").key("plugins");
        let origin = |index: usize| layers.file_of(&list.index(index).key("name")).display().to_string();
        assert_eq!([origin(0), origin(1), origin(2)], ["0", "1", "1"]);
    }

    #[test]
    fn a_replaced_value_takes_its_origins_along() {
        let layers =
            layered(&[json!({"a": {"c": 1}}), json!({"a": {"b": 1}}), json!({"a": 5}), json!({"a": {"b": 2}})]);
        assert_eq!(layers.file_of(&JsonPath::default().key("a").key("b")), Path::new("3"));
    }

    proptest! {
        #[test]
        fn an_empty_file_changes_nothing(a in any_object()) {
            let (before, after) = (layered(&[json!({}), a.clone()]), layered(&[a.clone(), json!({})]));
            prop_assert_eq!(before.document(), &a);
            prop_assert_eq!(after.document(), &a);
        }

        #[test]
        fn the_same_file_twice_is_the_same_as_once(a in any_object(), b in any_object()) {
            let once = layered(&[a.clone(), b.clone()]);
            let twice = layered(&[a, b.clone(), b]);
            prop_assert_eq!(once.document(), twice.document());
        }

        #[test]
        fn the_last_file_always_gets_its_way(a in any_object(), b in any_object()) {
            let layers = layered(&[a, b.clone()]);
            let mut wanted = Vec::new();
            leaves(&b, &JsonPath::default(), &mut wanted);
            for (path, value) in wanted.iter().filter(|(_, value)| !value.is_object()) {
                prop_assert_eq!(path.find(layers.document()), Some(value));
            }
        }

        #[test]
        fn every_value_stands_in_the_file_that_is_named_for_it(files in prop::collection::vec(any_object(), 1..4)) {
            let layers = layered(&files);
            let mut found = Vec::new();
            leaves(layers.document(), &JsonPath::default(), &mut found);
            for (path, value) in found.iter().filter(|(_, value)| !value.is_object()) {
                let file: usize = layers.file_of(path).display().to_string().parse().unwrap();
                prop_assert_eq!(path.find(&files[file]), Some(value), "{} of file {}", path, file);
            }
        }
    }
}
