//! Whether a configuration makes sense: what a schema cannot say.
//!
//! Responsibilities: names, patterns, paths, settings that contradict each other. Inputs: the merged document, as JSON because it
//! is looked at even where its shape is wrong, so that an operator sees everything at once. Outputs: errors, and warnings for what
//! is allowed but hardly meant. Must never ask the file system: whether a plugin exists is the host's to say.

use serde_json::Value;

use super::path::JsonPath;
use super::problem::{Finding, describe};
use super::schema::{IMMEDIATE, loopback};
use super::secret::is_reference;
use super::suggest::closest;
use crate::event::{EventType, Pattern};

/// Longest path of a unix socket, bytes: `sun_path` of unix(7) less the final zero byte.
const SOCKET_BYTES_MAX: usize = 107;

/// The clouds that have an endpoint, as in `sources`.
const CLOUDS: [&str; 5] = ["aws", "azure", "gcp", "alibaba", "tencent"];

/// The clouds that can be asked whether this machine is theirs, as in `sources.detect.endpoints`.
const ASKED: [&str; 6] = ["aws", "azure", "gcp", "alibaba", "tencent", "oracle"];

/// Longest name of a plugin, bytes.
const NAME_BYTES_MAX: usize = 64;

/// What the check has found.
#[derive(Default)]
pub(super) struct Findings {
    /// The configuration cannot be used.
    pub(super) errors: Vec<Finding>,
    /// It can, but is hardly meant like this.
    pub(super) warnings: Vec<Finding>,
}

/// Everything in `document` that makes no sense.
pub(super) fn check(document: &Value) -> Findings {
    let mut findings = Findings::default();
    let top = JsonPath::default();
    let events = top.key("event_handlers");
    match document.get("event_handlers").and_then(Value::as_object) {
        Some(keys) if !keys.is_empty() => {
            keys.iter().for_each(|(key, handlers)| findings.event_handlers(key, handlers, &events.key(key)));
        }
        _ => findings.warn(events, "no event handlers", "at least one", "No plugin will ever be called."),
    }
    for (key, _) in document.get("deadlines").and_then(Value::as_object).into_iter().flatten() {
        if key != IMMEDIATE {
            findings.pattern(key, &top.key("deadlines").key(key));
        }
    }
    findings.absolute(document, &top.key("state_directory"));
    findings.absolute(document, &top.key("control").key("socket"));
    findings.absolute(document, &top.key("apps").key("socket"));
    findings.absolute(document, &top.key("apps").key("state_file"));
    let directories = document.get("plugin_directories").and_then(Value::as_array).map_or(0, Vec::len);
    for index in 0..directories {
        findings.absolute(document, &top.key("plugin_directories").index(index));
    }
    let system = top.key("sources").key("system");
    for list in [system.key("disk").key("mount_points"), system.key("memory").key("control_groups")] {
        let given = list.find(document).and_then(Value::as_array).map_or(0, Vec::len);
        (0..given).for_each(|index| findings.absolute(document, &list.index(index)));
    }
    findings.socket(document, &top.key("control").key("socket"));
    findings.socket(document, &top.key("apps").key("socket"));
    let sources = top.key("sources");
    for cloud in CLOUDS {
        findings.endpoint(document, sources.key(cloud).key("endpoint"));
    }
    findings.absolute(document, &sources.key("imds_socket"));
    findings.socket(document, &sources.key("imds_socket"));
    let detect = sources.key("detect");
    findings.absolute(document, &detect.key("sys_directory"));
    for cloud in ASKED {
        findings.endpoint(document, detect.key("endpoints").key(cloud));
    }
    findings.source_plugins(document);
    findings.report(document);
    findings.dashboard(document);
    findings.fleet(document);
    findings
}

impl Findings {
    fn error(&mut self, path: JsonPath, found: impl Into<String>, expected: &str, hint: impl Into<String>) {
        self.errors.push(Finding::new(path, found, expected, hint));
    }

    fn warn(&mut self, path: JsonPath, found: impl Into<String>, expected: &str, hint: impl Into<String>) {
        self.warnings.push(Finding::new(path, found, expected, hint));
    }

    fn event_handlers(&mut self, key: &str, handlers: &Value, path: &JsonPath) {
        self.pattern(key, path);
        let plugins = handlers.get("plugins").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_enabled = handlers.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        if plugins.is_empty() && is_enabled {
            let hint = "Nothing will be called for this event.";
            self.warn(path.key("plugins"), "no plugins", "at least one", hint);
        }
        let path = path.key("plugins");
        let mut names: Vec<Option<&str>> = Vec::new();
        for (index, handler) in plugins.iter().enumerate() {
            let path = path.index(index);
            let name = handler.get("name").and_then(Value::as_str);
            self.handler(handler, name, &path);
            let id = handler.get("id").and_then(Value::as_str);
            self.id(id, &path);
            let called = id.or(name);
            if let Some(first) = names.iter().position(|known| called.is_some() && *known == called) {
                let (key, found) =
                    if id.is_some() { ("id", "an id given twice") } else { ("name", "a plugin named twice") };
                let hint = format!("It is plugins[{first}] already: keep one of them, or give one an \"id\".");
                self.error(path.key(key), found, "every plugin once under one key, or each with an id", hint);
            }
            names.push(called);
        }
    }

    /// Sources that are plugins: each once under its name, in the daemon.
    fn source_plugins(&mut self, document: &Value) {
        let path = JsonPath::default().key("sources").key("plugins");
        let mut names: Vec<Option<&str>> = Vec::new();
        for (index, source) in path.find(document).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = path.index(index);
            let text = |key: &str| source.get(key).and_then(Value::as_str);
            let (name, id) = (text("name"), text("id"));
            self.file_of(source, name, &path);
            self.id(id, &path);
            if text("isolation") == Some("process") {
                let hint = "A source runs in the daemon: leave \"isolation\" out.";
                self.error(path.key("isolation"), describe(&"process".into()), "\"none\"", hint);
            }
            let called = id.or(name);
            if let Some(first) = names.iter().position(|known| called.is_some() && *known == called) {
                let (key, found) =
                    if id.is_some() { ("id", "an id given twice") } else { ("name", "a source named twice") };
                let hint = format!("It is plugins[{first}] already: keep one of them, or give one an \"id\".");
                self.error(path.key(key), found, "every source once, or each with an id", hint);
            }
            names.push(called);
        }
    }

    fn id(&mut self, id: Option<&str>, path: &JsonPath) {
        if let Some(id) = id.filter(|id| !is_plugin_name(id)) {
            let expected = "1 to 64 letters, digits, '-', '_' or '.'";
            self.error(path.key("id"), describe(&id.into()), expected, "");
        }
    }

    fn handler(&mut self, handler: &Value, name: Option<&str>, path: &JsonPath) {
        self.file_of(handler, name, path);
        self.isolation(handler, path);
        let when = path.key("when").key("types");
        let types = handler.pointer("/when/types").and_then(Value::as_array).into_iter().flatten();
        for (index, text) in types.enumerate() {
            if let Some(text) = text.as_str() {
                self.pattern(text, &when.index(index));
            }
        }
        let seconds = |key: &str| handler.get(key).and_then(Value::as_f64);
        if let (Some(minimum), Some(timeout)) = (seconds("minimum_seconds"), seconds("timeout_seconds"))
            && minimum > timeout
            && timeout > 0.0
        {
            let found = format!("the number {minimum}");
            let expected = format!("at most the timeout_seconds of this handler, {timeout}");
            self.error(path.key("minimum_seconds"), found, &expected, "");
        }
    }

    /// Which file a plugin is, and which it must be.
    fn file_of(&mut self, handler: &Value, name: Option<&str>, path: &JsonPath) {
        if let Some(name) = name.filter(|name| !is_plugin_name(name)) {
            let plain = ["lib", ""].iter().find_map(|prefix| name.strip_prefix(prefix)?.strip_suffix(".so"));
            let hint = match plain.filter(|plain| is_plugin_name(plain)) {
                Some(plain) => format!("Write \"{plain}\"."),
                None => "Where plugins are found is set by plugin_directories.".to_owned(),
            };
            let expected = "the name of a plugin: 1 to 64 letters, digits, '-', '_' or '.', without \".so\"";
            self.error(path.key("name"), describe(&name.into()), expected, hint);
        }
        if let Some(digest) = handler.get("sha256").and_then(Value::as_str)
            && (digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            let hint = "`sha256sum FILE` prints it.";
            self.error(path.key("sha256"), describe(&digest.into()), "64 hexadecimal digits", hint);
        }
    }

    /// What only a process of its own can have. Dropping it in silence would leave the operator with less than was asked for.
    fn isolation(&mut self, handler: &Value, path: &JsonPath) {
        let is_isolated = handler.get("isolation").and_then(Value::as_str) == Some("process");
        for key in ["user", "writable_directories"] {
            if handler.get(key).is_some() && !is_isolated {
                let hint = "Add \"isolation\": \"process\".";
                self.error(path.key(key), "a setting of isolated plugins", "no such setting without isolation", hint);
            }
        }
        let writable = path.key("writable_directories");
        for (index, directory) in
            handler.get("writable_directories").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            if let Some(text) = directory.as_str().filter(|text| !text.starts_with('/')) {
                self.error(writable.index(index), describe(&text.into()), "an absolute path", "");
            }
        }
    }

    /// A key that stands for events. A type that no source makes may still come from a plugin or an operator, so it is no
    /// error; where it is nearly one that a source makes, it is hardly meant.
    fn pattern(&mut self, key: &str, path: &JsonPath) {
        let known = known_patterns();
        let meant = closest(key, known.iter().map(String::as_str));
        let hint = meant.map(|meant| format!("Did you mean \"{meant}\"?")).unwrap_or_default();
        match Pattern::parse(key) {
            Err(_) => {
                let expected =
                    "an event type such as cloud.spot.interrupt, one ending in .* such as cloud.spot.*, or *";
                self.error(path.clone(), format!("the key {}", Value::from(key)), expected, hint);
            }
            Ok(_) if key == "custom" || key.starts_with("custom.") => {}
            Ok(_) if known.iter().any(|known| key.strip_suffix(".cancelled").unwrap_or(key) == known) => {}
            Ok(_) if meant.is_some() => {
                self.warn(path.clone(), "an event type that no source makes", "a known event type", hint);
            }
            Ok(_) => {}
        }
    }

    fn absolute(&mut self, document: &Value, path: &JsonPath) {
        if let Some(given) = path.find(document).and_then(Value::as_str)
            && !given.starts_with('/')
        {
            self.error(path.clone(), describe(&given.into()), "an absolute path", "");
        }
    }

    fn socket(&mut self, document: &Value, path: &JsonPath) {
        if let Some(given) = path.find(document).and_then(Value::as_str)
            && given.len() > SOCKET_BYTES_MAX
        {
            let found = format!("a path of {} bytes", given.len());
            self.error(path.clone(), found, "at most 107 bytes", "The kernel takes no longer path for a socket.");
        }
    }

    /// What stands for an address or a header has to be a text or a reference; neither is shown.
    fn report(&mut self, document: &Value) {
        let report = JsonPath::default().key("report");
        let post = report.key("post");
        self.absolute(document, &report.key("file"));
        self.absolute(document, &post.key("ca_file"));
        let headers = post.key("headers");
        let named = headers.find(document).and_then(Value::as_object).into_iter().flatten();
        for place in named.map(|(name, _)| headers.key(name)).chain([post.key("url")]) {
            let found = place.find(document);
            if found.is_some_and(|value| value.is_object() && !is_reference(value)) {
                let expected = "a string, or one of {\"credential\": NAME}, {\"env\": NAME}, {\"file\": PATH}";
                self.error(place, "an object that refers to nothing", expected, "");
            }
        }
    }

    /// The port is for this machine alone, and its token stands elsewhere: the configuration may be read by more people.
    fn dashboard(&mut self, document: &Value) {
        let dashboard = JsonPath::default().key("control").key("dashboard");
        let (listen, token) = (dashboard.key("listen"), dashboard.key("token"));
        if let Some(given) = listen.find(document).and_then(Value::as_str)
            && loopback(given).is_none()
        {
            let hint = "From elsewhere, reach it through ssh: ssh -L 7070:127.0.0.1:7070 HOST.";
            let expected = "a loopback address and a port, such as \"127.0.0.1:7070\" or \"[::1]:7070\"";
            self.error(listen, describe(&given.into()), expected, hint);
        }
        if token.find(document).is_some_and(|value| value.is_object() && !is_reference(value)) {
            let expected = "one of {\"credential\": NAME}, {\"env\": NAME}, {\"file\": PATH}";
            self.error(token, "an object that refers to nothing", expected, "");
        }
    }

    /// What the group's own part finds wrong; it names each field.
    fn fleet(&mut self, document: &Value) {
        let path = JsonPath::default().key("fleet");
        // What is of another shape was refused before.
        let given = path.find(document).cloned();
        let settings = given.and_then(|given| serde_json::from_value::<cloudsnooze_fleet::Settings>(given).ok());
        for problem in settings.map(|settings| settings.problems()).unwrap_or_default() {
            self.error(path.clone(), problem, "settings of a member (snooze config schema)", "");
        }
    }

    fn endpoint(&mut self, document: &Value, path: JsonPath) {
        if let Some(given) = path.find(document).and_then(Value::as_str)
            && !given.strip_prefix("http://").is_some_and(is_host_and_port)
        {
            let expected = "http:// and a host, with a port where it is not 80, and nothing after";
            self.error(path, describe(&given.into()), expected, "Such as http://169.254.169.254.");
        }
    }
}

/// Every known type, the prefixes they have, and `*`.
fn known_patterns() -> Vec<String> {
    let mut patterns = vec!["*".to_owned()];
    for known in EventType::KNOWN
        .into_iter()
        .chain(EventType::OF_THE_MACHINE)
        .chain(EventType::OF_THE_GROUP)
        .chain([EventType::PREEMPTION_RISK])
    {
        let dots = known.as_str().match_indices('.').map(|(at, _)| format!("{}.*", &known.as_str()[..at]));
        patterns.extend(dots.chain([known.as_str().to_owned()]));
    }
    patterns
}

/// Whether the text can name a plugin. It becomes part of a file name, so it must not lead to another directory.
fn is_plugin_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(".so")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; a final `/` is let pass.
fn is_host_and_port(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host.parse::<std::net::Ipv6Addr>().is_ok(), None),
        Some((host, port)) => {
            (host.parse::<std::net::Ipv6Addr>().is_ok(), Some(port.strip_prefix(':').unwrap_or("none")))
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let is_host =
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
            (is_host, port)
        }
    };
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_of_the_directory_is_no_plugin_name() {
        for name in ["mysql-flusher", "a", "my.plugin_2"] {
            assert!(is_plugin_name(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "/x", "a/b", "x.so", "a b", "é", ".hidden", &"x".repeat(65)] {
            assert!(!is_plugin_name(name), "{name}");
        }
    }

    #[test]
    fn only_a_bare_host_is_an_endpoint() {
        for good in ["169.254.169.254", "localhost:1338", "[fd00:ec2::254]", "[::1]:80", "metadata/"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", "h:0", "h:x", "h:99999", "u:p@h", "h/latest", "[::1", "[x]", "[::1]80", "h?x", ":80"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn a_minimum_may_be_all_of_the_time() {
        let errors = |minimum: f64| {
            let mut findings = Findings::default();
            let handler = serde_json::json!({"minimum_seconds": minimum, "timeout_seconds": 30});
            findings.handler(&handler, Some("a"), &JsonPath::default());
            findings.errors.len()
        };
        assert_eq!((errors(30.0), errors(30.5)), (0, 1));
    }

    #[test]
    fn types_near_a_known_one_are_doubted_and_others_are_not() {
        let warnings = |key: &str| {
            let mut findings = Findings::default();
            findings.pattern(key, &JsonPath::default());
            assert!(findings.errors.is_empty(), "{key}");
            findings.warnings.into_iter().map(|warning| warning.hint).collect::<Vec<_>>()
        };
        assert_eq!(warnings("cloud.spot.interruption"), ["Did you mean \"cloud.spot.interrupt\"?"]);
        assert_eq!(warnings("cloud.sport.*"), ["Did you mean \"cloud.spot.*\"?"]);
        assert_eq!(warnings("spot.interrupt"), ["Did you mean \"cloud.spot.interrupt\"?"]);
        for known in EventType::KNOWN {
            assert!(warnings(known.as_str()).is_empty() && warnings(known.cancelled().as_str()).is_empty(), "{known}");
        }
        for free in [
            "*",
            "cloud.*",
            "cloud.spot.*",
            "custom.spot.interrupt",
            "custom.*",
            "fleet.leader.changed",
            "system.disk.pressure",
        ] {
            assert!(warnings(free).is_empty(), "{free}");
        }
    }
}
