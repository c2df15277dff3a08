//! Keeping secrets out of everything that is shown.
//!
//! Responsibilities: telling what in a configuration is a secret, and blacking it out of texts and of shown configurations.
//! Inputs: configurations, resolved [`Secret`]s, texts on their way to a log or a reply. Outputs: the same without the secrets.
//! Must never keep a secret where `Debug` or `Display` could show it.

use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::secret::{Secret, is_reference};

/// What is shown in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shortest secret that is looked for in texts, bytes: shorter ones would black out ordinary words.
const SECRET_BYTES_MIN: usize = 4;

/// Shortest line that is looked for on its own, bytes, of a secret of several lines: logs show such a secret line by line.
const LINE_BYTES_MIN: usize = 16;

/// Parts of keys whose values are secrets; compared without case, `-` and `_`.
const SECRET_KEYS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "authkey",
    "encryptionkey",
    "privatekey",
    "signingkey",
    "authorization",
    "bearer",
    "cookie",
    "connectionstring",
    "dsn",
    "routingkey",
    "webhook",
    "signature",
];

/// Ends of keys that speak of a secret but hold something about it.
const ABOUT_A_SECRET: [&str; 10] =
    ["_file", "_path", "_name", "_channel", "_ttl", "_seconds", "_ms", "_length", "_count", "_bytes"];

/// Whether the value under this key is to be taken for a secret.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    speaks_of_secret(&key) && !ABOUT_A_SECRET.iter().any(|end| key.ends_with(end))
}

/// Whether the text has a word for a secret in it.
pub(super) fn speaks_of_secret(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect();
    SECRET_KEYS.iter().any(|part| plain.contains(part))
}

/// Whether the text is an address or connection string with a password inside.
pub fn carries_password(text: &str) -> bool {
    !passwords_in(text).is_empty()
}

/// A configuration fit to be shown: every text that is a secret by its key, or that carries a password, is `[redacted]`.
/// References (`{"credential": NAME}`) stay: they name a secret without being one.
pub fn redacted_config(config: &Value) -> Value {
    redact(config, false)
}

fn redact(value: &Value, is_secret: bool) -> Value {
    match value {
        _ if is_reference(value) => value.clone(),
        Value::String(text) if !text.is_empty() && (is_secret || carries_password(text)) => REDACTED.into(),
        Value::Number(_) if is_secret => REDACTED.into(),
        Value::Array(items) => items.iter().map(|item| redact(item, is_secret)).collect(),
        Value::Object(members) => {
            let redacted = members.iter().map(|(key, member)| {
                let member = redact(member, is_secret || is_secret_key(key));
                (key.clone(), member)
            });
            Value::Object(redacted.collect())
        }
        other => other.clone(),
    }
}

/// Blacks out known secrets. Cheap to clone; any thread may use it.
#[derive(Clone, Default)]
pub struct Scrubber {
    needles: Arc<BTreeSet<String>>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber of {} texts", self.needles.len())
    }
}

impl Scrubber {
    /// Knows the resolved secrets and those written into the configurations themselves: texts under keys that speak of secrets,
    /// and passwords inside addresses and connection strings.
    pub fn new<'v>(secrets: &[Secret], configs: impl IntoIterator<Item = &'v Value>) -> Self {
        let mut found = BTreeSet::new();
        for secret in secrets {
            add_secret(secret.expose(), &mut found);
        }
        for config in configs {
            collect(config, false, &mut found);
        }
        let long = found.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        Self { needles: Arc::new(long.flat_map(forms).collect()) }
    }

    /// Knows what either of the two knows.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { needles: Arc::new(self.needles.union(&other.needles).cloned().collect()) }
    }

    /// The same as [`Self::scrub`] for a text whose end was cut off: the beginning of a secret there goes, too.
    pub fn scrub_cut(&self, text: &str) -> String {
        let begun = |needle: &String| {
            let beginnings = (SECRET_BYTES_MIN..needle.len()).rev().filter_map(|length| needle.get(..length));
            beginnings.map(str::len).find(|length| text.ends_with(&needle[..*length]))
        };
        let begun = self.needles.iter().filter_map(begun).max();
        let end = if begun.is_some() { REDACTED } else { "" };
        format!("{}{end}", self.scrub(&text[..text.len() - begun.unwrap_or(0)]))
    }

    /// The text with every secret replaced by `[redacted]`; borrowed when it holds none.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans: Vec<(usize, usize)> = self.needles.iter().flat_map(|needle| spans_of(text, needle)).collect();
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        // Overlapping secrets become one black bar: replacing them one after the other would leave the ends of some.
        spans.sort_unstable();
        let mut clean = String::with_capacity(text.len());
        let mut shown_to = 0;
        for (start, end) in spans {
            if start >= shown_to {
                clean.push_str(&text[shown_to..start]);
                clean.push_str(REDACTED);
            }
            shown_to = shown_to.max(end);
        }
        clean.push_str(&text[shown_to..]);
        Cow::Owned(clean)
    }
}

/// Every place of `needle`, overlapping ones included ("aa" twice in "aaa").
fn spans_of(text: &str, needle: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(needle) {
        let start = from + at;
        spans.push((start, start + needle.len()));
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    spans
}

/// The ways in which a program may write a secret: as it is, and escaped for JSON with and without letters beyond ASCII.
fn forms(secret: String) -> Vec<String> {
    let quoted = Value::from(secret.as_str()).to_string();
    let escaped = quoted[1..quoted.len() - 1].to_owned();
    let mut ascii = String::new();
    for c in escaped.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    let slashes = escaped.replace('/', "\\/");
    vec![secret, escaped, ascii, slashes]
}

fn collect(value: &Value, is_secret: bool, found: &mut BTreeSet<String>) {
    match value {
        _ if is_reference(value) => {}
        Value::String(text) if is_secret || carries_password(text) => add_secret(text, found),
        Value::Number(number) if is_secret => add_secret(&number.to_string(), found),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_secret, found)),
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| collect(member, is_secret || is_secret_key(key), found));
        }
        _ => {}
    }
}

fn add_secret(text: &str, found: &mut BTreeSet<String>) {
    found.insert(text.trim().to_owned());
    found.extend(passwords_in(text));
    // "Bearer abc": servers repeat the second word alone.
    if let Some(("Bearer" | "Basic" | "bearer" | "basic", rest)) = text.trim().split_once(' ') {
        found.insert(rest.trim().to_owned());
    }
    if text.trim().contains('\n') {
        found.extend(text.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN).map(str::to_owned));
    }
}

/// The passwords inside an address or connection string: `scheme://user:PASSWORD@host`, `https://TOKEN@host`,
/// `user:PASSWORD@tcp(host)/db` (Go's MySQL driver), `password=PASSWORD` among words (libpq), after `;` (ADO.NET, JDBC) or in
/// a query. The password of a URL is given as written and with its percent signs decoded.
fn passwords_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let userinfo = match text.split_once("://") {
        Some((scheme, rest)) => {
            // A stray `/` in a password is common for databases; in a web address an `@` after the host means nothing.
            let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            let reach = if is_web { rest.find(['/', '?', '#']).unwrap_or(rest.len()) } else { rest.len() };
            let userinfo = rest[..reach].rsplit_once('@').map(|(userinfo, _)| userinfo);
            match userinfo
                .map(|userinfo| userinfo.split_once(':').map_or((userinfo, is_web), |(_, after)| (after, true)))
            {
                Some((password, true)) => Some(password),
                _ => None,
            }
        }
        None if text.contains(char::is_whitespace) => None,
        None => text.rsplit_once('@').and_then(|(userinfo, _)| userinfo.split_once(':')).map(|(_, password)| password),
    };
    if let Some(password) = userinfo.filter(|password| !password.is_empty()) {
        found.extend([password.to_owned(), percent_decoded(password)]);
    }
    found.extend(assigned_passwords(text));
    found
}

/// The values of `key=value` pairs whose key speaks of a secret.
fn assigned_passwords(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let key = text[..at].trim_end().rsplit([' ', ';', '&', '?', ',', '\t', '\n']).next().unwrap_or_default();
        let rest = text[at + 1..].trim_start();
        if !is_secret_key(key) || rest.is_empty() {
            continue;
        }
        let value = match rest.strip_prefix(['\'', '"']) {
            Some(quoted) => quoted.split(&rest[..1]).next().unwrap_or_default(),
            None => rest.split([' ', ';', '&', '#', '\t', '\n']).next().unwrap_or_default(),
        };
        if !value.is_empty() {
            found.extend([value.to_owned(), percent_decoded(value)]);
        }
    }
    found
}

/// `%40` as `@` and so on; bytes that are no UTF-8 afterwards leave the text as it was.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%').and_then(|pair| str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn passwords_are_found_in_every_usual_connection_string() {
        for (text, password) in [
            ("user:pass@tcp(localhost:3306)/db", "pass"),
            ("postgres://app:p%40ss@db:5432/x", "p@ss"),
            ("redis://:hunter2@localhost:6379/0", "hunter2"),
            ("mysql://root:a/b@c@localhost/db", "a/b@c"),
            ("https://ghp_abc123@example.org/repo", "ghp_abc123"),
            ("host=db user=app password=hunter2 sslmode=require", "hunter2"),
            ("host=db password = 'two words'", "two words"),
            ("Server=db;Password=hunter2;Encrypt=yes", "hunter2"),
            ("https://example.org/hook?api_key=hunter2&x=1", "hunter2"),
            ("--password=hunter2", "hunter2"),
        ] {
            assert!(passwords_in(text).iter().any(|found| found == password), "{text}: {:?}", passwords_in(text));
        }
        for text in [
            "http://localhost:8080/checkpoint",
            "http://localhost:8080/@8080/x",
            "postgres://app@db/x",
            "me@example.org",
            "10:30 call @bob",
            "#cloud-events",
            "a=b",
        ] {
            assert_eq!(passwords_in(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_key_is_secret_by_its_words_but_not_when_it_holds_a_fact_about_a_secret() {
        for key in
            ["password", "DB-Password", "apiKey", "webhook_url", "slackToken", "connection_string", "client_secret"]
        {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["channel", "password_file", "token-ttl", "webhook_timeout_ms", "secret_name", "app_endpoint", "key"]
        {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_shown_configuration_keeps_references_and_drops_secrets() {
        let config = json!({
            "connection_string": "user:pass@tcp(localhost:3306)/db", "url": "redis://u:hunter2@h", "channel": "#a",
            "password": {"credential": "db"}, "tokens": ["one", {"x": "two"}], "pwd": 1234, "use_token": true, "secret": ""
        });
        let shown = json!({
            "connection_string": REDACTED, "url": REDACTED, "channel": "#a", "password": {"credential": "db"},
            "tokens": [REDACTED, {"x": REDACTED}], "pwd": REDACTED, "use_token": true, "secret": ""
        });
        assert_eq!(redacted_config(&config), shown);
    }

    #[test]
    fn a_text_is_scrubbed_of_secrets_however_they_are_written() {
        let config = json!({"dsn": "user:pässword@tcp(h)/db", "token": "a\"b\\c/d", "headers": {"Authorization": "Bearer zzzz"}});
        let scrubber = Scrubber::new(&[], [&config]);
        let clean = |text: &str| scrubber.scrub(text).into_owned();
        assert_eq!(clean("cannot reach user:pässword@tcp(h)/db now"), "cannot reach [redacted] now");
        assert_eq!(clean("wrong password 'pässword'"), "wrong password '[redacted]'");
        assert_eq!(clean(r#"{"p": "p\u00e4ssword"}"#), r#"{"p": "[redacted]"}"#);
        assert_eq!(clean(r#"a"b\c/d"#), REDACTED);
        assert_eq!(clean(&json!("a\"b\\c/d").to_string()), r#""[redacted]""#);
        assert_eq!(clean(r#""a\"b\\c\/d""#), r#""[redacted]""#);
        assert_eq!(clean("got zzzz"), "got [redacted]");
        assert!(matches!(scrubber.scrub("nothing here"), Cow::Borrowed("nothing here")));
        assert_eq!(format!("{scrubber:?}").matches("ssword").count(), 0);
    }

    #[test]
    fn overlapping_secrets_leave_no_end_behind() {
        let config = json!({"password": "abcdef", "token": "efgh", "secret": "aaaa"});
        let scrubber = Scrubber::new(&[], [&config]);
        assert_eq!(scrubber.scrub("x abcdefgh y"), "x [redacted] y");
        assert_eq!(scrubber.scrub("aaaaaa"), REDACTED);
    }

    #[test]
    fn the_beginning_of_a_secret_at_a_cut_is_hidden() {
        let scrubber = Scrubber::new(&[], [&json!({"dsn": "user:pässword@tcp(h)/db"})]);
        for (cut, clean) in [
            ("cannot reach user:päs", "cannot reach [redacted]"),
            ("wrong 'pässwor", "wrong '[redacted]"),
            ("pässword is not pä", "[redacted] is not pä"),
            ("no user", "no [redacted]"),
            ("no use", "no use"),
        ] {
            assert_eq!(scrubber.scrub_cut(cut), clean);
        }
    }

    #[test]
    fn a_very_short_secret_is_hidden_under_its_key_only() {
        let config = json!({"password": "abc"});
        assert_eq!(Scrubber::new(&[], [&config]).scrub("abcd"), "abcd");
        assert_eq!(redacted_config(&config), json!({"password": REDACTED}));
    }

    proptest! {
        #[test]
        fn a_scrubbed_text_holds_no_secret(before in ".{0,20}", secret in "[A-Z0-9/\"é]{4,12}", after in ".{0,20}") {
            let config = json!({"password": secret});
            let scrubber = Scrubber::new(&[], [&config]);
            let clean = scrubber.scrub(&format!("{before}{secret}{after}")).into_owned();
            prop_assert!(!clean.contains(&secret), "{clean}");
        }

        #[test]
        fn no_text_makes_the_search_for_passwords_panic(text in "[a-z:/@%=;'\" é?&#]{0,40}") {
            let found = passwords_in(&text);
            prop_assert!(found.iter().all(|password| !password.is_empty()));
        }
    }
}
