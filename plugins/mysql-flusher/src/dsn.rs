//! Connection strings.
//!
//! Inputs: the Go driver's form `user:pass@tcp(host:port)/db?timeout=5s` (the form of
//! github.com/go-sql-driver/mysql, which most deployments already have at hand) or a `mysql://` URL.
//! Outputs: a [`Target`]. Pure. Must never put any part of the input into an error: whatever is
//! misplaced in a malformed string may be the password.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use url::{Url, form_urlencoded};

/// Port of the protocol, used when none is given.
pub const DEFAULT_PORT: u16 = 3306;

/// Options of the Go driver that shape how an application reads its rows; they mean nothing here, and a
/// string copied from an application should work.
const IGNORED: &[&str] = &[
    "allowAllFiles",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "compress",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "rejectReadOnly",
    "serverPubKey",
    "timeTruncate",
    "writeTimeout",
];

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address (IPv6 without brackets) and port.
    Tcp(String, u16),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server and how to log in to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// Account; the driver's default (none) when absent.
    pub user: Option<String>,
    /// Password; a secret.
    pub password: Option<String>,
    /// Longest time to connect, if the string says.
    pub timeout: Option<Duration>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}, ...)", self.address)
    }
}

/// Why a connection string cannot be used. Names only what the reader knows by itself.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DsnError {
    /// Nothing there.
    #[error("connection_string is empty")]
    Empty,
    /// The Go form needs a slash even without a database.
    #[error("connection_string has no '/' before the database name: user:pass@tcp(host:3306)/db")]
    NoSlash,
    /// Something other than tcp or unix stands before the parenthesis.
    #[error("connection_string: only tcp(host:port) and unix(/path) are known")]
    Protocol,
    /// The parenthesis after the protocol is not closed before the slash.
    #[error("connection_string: the address must end with ')' right before '/'")]
    Parenthesis,
    /// The port is no number from 1 to 65535, or an IPv6 address lacks its brackets.
    #[error("connection_string: the address is not host:port with a port from 1 to 65535 (IPv6 in brackets)")]
    Port,
    /// A unix socket needs an absolute path.
    #[error("connection_string: a unix socket needs an absolute path")]
    Socket,
    /// An option that is not known.
    #[error("connection_string: unknown option after '?' (known: timeout, tls, socket in a URL)")]
    Option,
    /// `timeout` is no duration.
    #[error("connection_string: timeout must be a positive duration such as 5s or 500ms")]
    Timeout,
    /// This build has no TLS.
    #[error("connection_string asks for TLS, which this plugin does not have: use a unix socket or 127.0.0.1")]
    Tls,
    /// Not a URL.
    #[error("connection_string is not a valid mysql:// URL: mysql://user:pass@host:3306/db")]
    Url,
}

/// Reads a connection string.
///
/// # Errors
/// What is wrong with it, without any part of it.
pub fn parse(text: &str) -> Result<Target, DsnError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DsnError::Empty);
    }
    if text.starts_with("mysql://") || text.starts_with("mariadb://") { parse_url(text) } else { parse_go(text) }
}

fn parse_go(text: &str) -> Result<Target, DsnError> {
    // As the Go driver does: the last slash starts the database, the last '@' before it ends the
    // password, so that both may stand inside the password.
    let (login_and_address, tail) = text.rsplit_once('/').ok_or(DsnError::NoSlash)?;
    // The slash of a unix path is not the one meant; it happens when the one after ')' was forgotten.
    if tail.contains(')') && login_and_address.rsplit_once('@').is_some_and(|(_, a)| a.contains('(')) {
        return Err(DsnError::NoSlash);
    }
    let (login, address) = login_and_address.rsplit_once('@').unwrap_or(("", login_and_address));
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let mut target = Target {
        address: parse_go_address(address)?,
        user: non_empty(user),
        password: password.and_then(non_empty),
        timeout: None,
    };
    if let Some((_, options)) = tail.split_once('?') {
        target.apply_options(options, false)?;
    }
    Ok(target)
}

fn parse_go_address(text: &str) -> Result<Address, DsnError> {
    if text.is_empty() {
        return Ok(Address::Tcp("127.0.0.1".to_owned(), DEFAULT_PORT));
    }
    let (protocol, address) = match text.split_once('(') {
        Some((protocol, rest)) => (protocol, rest.strip_suffix(')').ok_or(DsnError::Parenthesis)?),
        None => (text, ""),
    };
    match protocol {
        "tcp" => parse_host_port(address),
        "unix" => socket(address),
        _ => Err(DsnError::Protocol),
    }
}

fn parse_host_port(text: &str) -> Result<Address, DsnError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(DsnError::Port)?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(DsnError::Port)?) })
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| DsnError::Port)?;
    if port == 0 {
        return Err(DsnError::Port);
    }
    Ok(Address::Tcp(if host.is_empty() { "127.0.0.1".to_owned() } else { host.to_owned() }, port))
}

fn parse_url(text: &str) -> Result<Target, DsnError> {
    let url = Url::parse(text).map_err(|_| DsnError::Url)?;
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(DEFAULT_PORT);
    if port == 0 {
        return Err(DsnError::Port);
    }
    let mut target = Target {
        address: Address::Tcp(non_empty(host).unwrap_or_else(|| "127.0.0.1".to_owned()), port),
        user: non_empty(&percent_decoded(url.username())),
        password: url.password().map(percent_decoded).as_deref().and_then(non_empty),
        timeout: None,
    };
    target.apply_options(url.query().unwrap_or_default(), true)?;
    Ok(target)
}

impl Target {
    fn apply_options(&mut self, options: &str, is_url: bool) -> Result<(), DsnError> {
        for (name, value) in form_urlencoded::parse(options.as_bytes()) {
            match &*name {
                "timeout" => self.timeout = Some(go_duration(&value).ok_or(DsnError::Timeout)?),
                "socket" if is_url => self.address = socket(&value)?,
                "tls" | "ssl-mode" => accept_no_tls(&value)?,
                known if IGNORED.contains(&known) => {}
                _ => return Err(DsnError::Option),
            }
        }
        Ok(())
    }
}

/// Values with which the Go driver and the `mysql` client go on without TLS.
fn accept_no_tls(value: &str) -> Result<(), DsnError> {
    let plain = ["false", "0", "preferred", "disabled"];
    plain.iter().any(|p| value.eq_ignore_ascii_case(p)).then_some(()).ok_or(DsnError::Tls)
}

fn socket(path: &str) -> Result<Address, DsnError> {
    if path.starts_with('/') { Ok(Address::Unix(PathBuf::from(path))) } else { Err(DsnError::Socket) }
}

/// Reads the durations of Go that make sense for a timeout: `5s`, `500ms`, `1.5s`, `1m30s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let unit_seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * unit_seconds;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

/// The form decoder treats '+' and '&' as its own; in the login of a URL they are ordinary characters.
fn percent_decoded(text: &str) -> String {
    let value = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(value.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Address, DsnError, Target, parse};
    use proptest::prelude::*;
    use std::time::Duration;

    fn tcp(host: &str, port: u16, user: Option<&str>, password: Option<&str>) -> Target {
        Target {
            address: Address::Tcp(host.to_owned(), port),
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            timeout: None,
        }
    }

    #[test]
    fn the_seeds_connection_string_is_understood() {
        assert_eq!(
            parse("user:pass@tcp(localhost:3306)/db").unwrap(),
            tcp("localhost", 3306, Some("user"), Some("pass"))
        );
    }

    #[test]
    fn parts_that_are_left_out_get_the_go_drivers_defaults() {
        assert_eq!(parse("/db").unwrap(), tcp("127.0.0.1", 3306, None, None));
        assert_eq!(parse("user@tcp(db)/").unwrap(), tcp("db", 3306, Some("user"), None));
        assert_eq!(parse("user@/db").unwrap(), tcp("127.0.0.1", 3306, Some("user"), None));
        assert_eq!(parse("user@tcp([::1]:3307)/").unwrap(), tcp("::1", 3307, Some("user"), None));
    }

    #[test]
    fn a_unix_socket_is_taken_from_both_forms() {
        let socket = Address::Unix("/run/mysqld/mysqld.sock".into());
        assert_eq!(parse("u:p@unix(/run/mysqld/mysqld.sock)/db").unwrap().address, socket);
        assert_eq!(parse("mysql://u:p@localhost/db?socket=/run/mysqld/mysqld.sock").unwrap().address, socket);
        assert_eq!(parse("mysql://u@localhost/?socket=%2Frun%2Fmysqld%2Fmysqld.sock").unwrap().address, socket);
    }

    #[test]
    fn a_url_is_percent_decoded_and_plus_stays_plus() {
        let target = parse("mysql://us%40er:p%2Fa+s%26s&=@[::1]:3307/db").unwrap();
        assert_eq!(target, tcp("::1", 3307, Some("us@er"), Some("p/a+s&s&=")));
    }

    #[test]
    fn a_timeout_is_a_go_duration() {
        let timeout = |text: &str| parse(&format!("u@tcp(h)/?parseTime=true&timeout={text}")).map(|t| t.timeout);
        assert_eq!(timeout("5s"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(timeout("1m30s"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(timeout("1.5s"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(timeout("500ms"), Ok(Some(Duration::from_millis(500))));
        for wrong in ["5", "0s", "s", "-1s", "1e400s", "5d", ""] {
            assert_eq!(timeout(wrong), Err(DsnError::Timeout), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        let cases = [
            ("", DsnError::Empty),
            ("user:pass@tcp(localhost:3306)", DsnError::NoSlash),
            ("u:p@unix(/run/mysqld/mysqld.sock)", DsnError::NoSlash),
            ("u@udp(h)/", DsnError::Protocol),
            ("u@tcp(h:1/", DsnError::Parenthesis),
            ("u@tcp(h:0)/", DsnError::Port),
            ("u@tcp(h:70000)/", DsnError::Port),
            ("u@tcp(::1)/", DsnError::Port),
            ("u@unix(run/x)/", DsnError::Socket),
            ("u@unix/", DsnError::Socket),
            ("u@tcp(h)/?tls=true", DsnError::Tls),
            ("u@tcp(h)/?colour=red", DsnError::Option),
            ("mysql://u@h:x/", DsnError::Url),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_password_without_line_ends_survives_the_go_form(password in "[ -~]{1,24}", user in "[a-z]{1,8}") {
            let target = parse(&format!("{user}:{password}@tcp(h:1)/db")).unwrap();
            prop_assert_eq!(target, tcp("h", 1, Some(&user), Some(&password)));
        }

        #[test]
        fn no_text_makes_it_panic_and_no_error_or_debug_shows_the_input(text in "[a-z:@()/?=&\\[\\]0-9%]{0,60}") {
            // A marker that no message contains by itself stands wherever a password could.
            let marked = format!("u:Zq9#{text}Zq9#{text}");
            let shown = match parse(&marked) {
                Ok(mut target) => {
                    // An address is no secret; everything else must not be shown.
                    target.address = Address::Tcp(String::new(), 1);
                    format!("{target:?}")
                }
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("Zq9#"), "{shown}");
        }
    }
}
