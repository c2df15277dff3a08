//! One connection to the server.
//!
//! Inputs: a [`Target`] and how long things may take. Outputs: rows as text, and [`Fault`]s that tell a
//! refused statement from a lost connection. Must never wait longer than it was told to, and must never
//! show the password.

use crate::dsn::{Address, Target};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Row, Value};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, connect, shutdown, socket};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`, `ER_ACCESS_DENIED_ERROR`, `ER_DBACCESS_DENIED_ERROR`: the account
/// may not do this (MariaDB and MySQL share these numbers).
const DENIED: [u16; 3] = [1227, 1045, 1044];

/// A connection that waits idle for days must not be closed by the server; this is the largest value
/// it accepts, in seconds.
const KEEP_OPEN: &str = "SET SESSION wait_timeout=31536000";

/// A timeout of zero means none to the kernel.
const SHORTEST: Duration = Duration::from_millis(1);

/// What went wrong between us and the server.
#[derive(Debug, Error)]
pub enum Fault {
    /// No usable connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Why, in words of the system or of the server.
        reason: String,
    },
    /// The connection ended or stayed silent in the middle of a statement.
    #[error("lost the connection to the server: {0}")]
    Lost(String),
    /// The server answered, with a refusal.
    #[error("{message} (error {code})")]
    Refused {
        /// The server's error number.
        code: u16,
        /// The server's text.
        message: String,
    },
}

impl Fault {
    /// Whether the account lacks a privilege.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if DENIED.contains(code))
    }
}

impl From<mysql::Error> for Fault {
    fn from(error: mysql::Error) -> Self {
        match error {
            mysql::Error::MySqlError(e) => Self::Refused { code: e.code, message: e.message },
            mysql::Error::IoError(e) => Self::Lost(reason_of(&e)),
            other => Self::Lost(other.to_string()),
        }
    }
}

/// Lets another thread cut the connection that is in use. Any thread.
#[derive(Default)]
pub struct Alarm(Mutex<Option<Sender<()>>>);

impl Alarm {
    /// Cuts the connection in use, if there is one. Does not block.
    pub fn ring(&self) {
        if let Some(bell) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listens any more: the work has just ended by itself.
            let _ = bell.send(());
        }
    }

    fn arm(&self, bell: Option<Sender<()>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bell;
    }
}

/// An open, authenticated connection.
pub struct Link {
    conn: Conn,
}

impl Link {
    /// Connects and logs in. `patience` bounds the time until the server first speaks, `silence` every
    /// single wait for it afterwards; the driver fixes that one here, so it has to suit the longest
    /// statement, and a frozen server must be found out before.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn open(target: &Target, patience: Duration, silence: Duration) -> Result<Self, Fault> {
        let fault = |reason: String| Fault::Connect { address: target.address.to_string(), reason };
        greets(&target.address, patience).map_err(|e| fault(reason_of(&e)))?;
        let silence = Some(silence.max(SHORTEST));
        let options = OptsBuilder::new()
            .user(target.user.as_deref())
            .pass(target.password.as_deref())
            .prefer_socket(false)
            .tcp_nodelay(true)
            .tcp_connect_timeout(Some(patience.max(SHORTEST)))
            .read_timeout(silence)
            .write_timeout(silence)
            // Asking the server for it would be one more round trip.
            .max_allowed_packet(Some(1 << 24))
            .init(vec![KEEP_OPEN]);
        let options = match &target.address {
            Address::Tcp(host, port) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                options.ip_or_hostname(Some(host)).tcp_port(*port)
            }
            Address::Unix(path) => options.socket(Some(path.to_string_lossy())),
        };
        let conn = Conn::new(options).map_err(|e| match Fault::from(e) {
            Fault::Lost(reason) => fault(reason),
            refused => refused,
        })?;
        Ok(Self { conn })
    }

    /// Runs `work`; when it lasts longer than `limit`, or the alarm rings, the connection is cut, which
    /// ends whatever statement waits for the server. The link is of no use after that.
    pub fn guarded<R>(
        &mut self,
        limit: Duration,
        alarm: &Alarm,
        work: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Fault> {
        let descriptor = self.conn.as_raw_fd();
        let (bell, heard) = mpsc::channel();
        let watch = move || {
            // Disconnected means that the work is over; anything else that its time is. The descriptor
            // is open until then, because the connection is borrowed for the whole scope.
            if heard.recv_timeout(limit) != Err(RecvTimeoutError::Disconnected) {
                // A connection that is already down cannot be cut, which is as good.
                let _ = shutdown(descriptor, Shutdown::Both);
            }
        };
        thread::scope(|scope| {
            thread::Builder::new()
                .name("mysql-watch".to_owned())
                .spawn_scoped(scope, watch)
                .map_err(|e| Fault::Lost(format!("cannot start a thread: {e}")))?;
            alarm.arm(Some(bell));
            let result = work(self);
            // Drops the only sender: the watch ends.
            alarm.arm(None);
            Ok(result)
        })
    }

    /// Whether the server still answers on this connection.
    pub fn is_alive(&mut self) -> bool {
        self.conn.ping().is_ok()
    }

    /// Runs a statement that returns no rows.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn run(&mut self, sql: &str) -> Result<(), Fault> {
        Ok(self.conn.query_drop(sql)?)
    }

    /// The columns of the first row by their names in lower case; NULL columns are left out. Empty when
    /// there is no row.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn first_row(&mut self, sql: &str) -> Result<HashMap<String, String>, Fault> {
        let Some(row) = self.conn.query_first::<Row, _>(sql)? else { return Ok(HashMap::new()) };
        let names = row.columns();
        let named = names.iter().enumerate();
        Ok(named.filter_map(|(i, c)| Some((c.name_str().to_lowercase(), text(row.as_ref(i)?)?))).collect())
    }

    /// Rows of name and value, names in lower case.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn pairs(&mut self, sql: &str) -> Result<HashMap<String, String>, Fault> {
        let rows = self.conn.query::<Row, _>(sql)?;
        Ok(rows.iter().filter_map(|row| Some((text(row.as_ref(0)?)?.to_lowercase(), text(row.as_ref(1)?)?))).collect())
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        Value::Date(..) | Value::Time(..) => None,
    }
}

/// Connects without logging in and waits for the first byte of the server's greeting, which it sends
/// unasked. A frozen server keeps its port open, and says nothing.
///
/// # Errors
/// Why there was no greeting within `patience`.
pub fn greets(address: &Address, patience: Duration) -> io::Result<()> {
    let patience = patience.max(SHORTEST);
    let mut byte = [0];
    match address {
        Address::Unix(path) => {
            let mut stream = connect_unix(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.read_exact(&mut byte)
        }
        Address::Tcp(host, port) => {
            let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, patience) {
                    Ok(mut stream) => {
                        stream.set_read_timeout(Some(patience))?;
                        return stream.read_exact(&mut byte);
                    }
                    Err(e) => last = e,
                }
            }
            Err(last)
        }
    }
}

/// Connecting to a unix socket has no timeout: with a full queue of a frozen server it would block for
/// good. A non-blocking connect is refused instead (connect(2): EAGAIN).
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    connect(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(made);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The kernel has one error for a timeout and for a full queue.
fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server did not answer in time".to_owned(),
        ErrorKind::UnexpectedEof => "the server closed the connection at once".to_owned(),
        _ => error.to_string(),
    }
}
