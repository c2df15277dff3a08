//! QMP: one connection to the monitor of a QEMU.
//!
//! Inputs: a socket, commands. Outputs: answers, or what QEMU said. Lines of JSON as the protocol has them, read with
//! `serde_json`. The crate `qapi` would be the library for it; it reads events and answers as types of one version of
//! QEMU, so that a newer QEMU's are refused as a whole, and it panics when the other side hangs up (see the README). Must
//! never wait beyond its clock, nor take another command's answer for its own.

use crate::clock::{Clock, SLICE};
use crate::process::Process;
use cloudsnooze_plugin::{Code, Error};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with, sockopt,
};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// From connecting to the greeting. A monitor talks to one client at a time: others are left waiting.
const GREETING: Duration = Duration::from_secs(2);
/// One command that is not long by its nature.
const COMMAND: Duration = Duration::from_secs(5);
/// A longer line is no answer of a QEMU.
const LINE_BYTES: usize = 16 << 20;

/// A version of QEMU: major, minor.
pub(crate) type Version = (u64, u64);

/// The connection.
pub(crate) struct Monitor {
    stream: UnixStream,
    unread: Vec<u8>,
    next_id: u64,
    pub(crate) version: Version,
    /// None: another than QEMU opened the socket.
    pub(crate) process: Option<Process>,
}

impl Monitor {
    /// Connects and greets; None when nobody listens there.
    ///
    /// # Errors
    /// Somebody does, who does not answer as a QEMU would.
    pub(crate) fn connect(path: &Path, clock: &Clock) -> Result<Option<Self>, Error> {
        let clock = clock.within(GREETING);
        let failed = |error: io::Error| {
            let code = if error.kind() == ErrorKind::PermissionDenied { Code::Denied } else { Code::Io };
            Error::from(error).code(code).context(format_args!("connect to {}", path.display()))
        };
        let Some(stream) = reach(path, &clock).map_err(failed)? else { return Ok(None) };
        stream.set_read_timeout(Some(SLICE)).map_err(failed)?;
        stream.set_write_timeout(Some(GREETING)).map_err(failed)?;
        let peer =
            sockopt::socket_peercred(&stream).ok().and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok());
        let mut monitor =
            Self { stream, unread: Vec::new(), next_id: 1, version: (0, 0), process: peer.and_then(Process::qemu) };
        let greeting = monitor.message("the greeting", &clock).map_err(|error| {
            let hint = if error.kind() == Code::Deadline { " (is another client connected to it?)" } else { "" };
            Error::new(format!("{}: {error}{hint}", path.display())).code(error.kind())
        })?;
        let part = |name: &str| greeting["QMP"]["version"]["qemu"][name].as_u64();
        let (Some(major), Some(minor)) = (part("major"), part("minor")) else {
            return Err(Error::new(format!("{} is no QMP monitor", path.display())).code(Code::State));
        };
        monitor.version = (major, minor);
        monitor.execute("qmp_capabilities", &Value::Null, &clock)?;
        Ok(Some(monitor))
    }

    /// Has a command executed, and gives what it returns.
    ///
    /// # Errors
    /// What QEMU said, or that it said nothing in time.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value, clock: &Clock) -> Result<Value, Error> {
        self.execute_long(command, arguments, &clock.within(COMMAND))
    }

    /// The same for a command that may take all the time there is.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub(crate) fn execute_long(&mut self, command: &str, arguments: &Value, clock: &Clock) -> Result<Value, Error> {
        let (id, line) = self.line(command, arguments);
        self.stream.write_all(&line).map_err(|error| lost(command, error))?;
        self.answer(command, id, clock)
    }

    /// The same with a descriptor beside the command.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub(crate) fn execute_with(
        &mut self,
        command: &str,
        arguments: &Value,
        file: &File,
        clock: &Clock,
    ) -> Result<Value, Error> {
        let (id, line) = self.line(command, arguments);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        if !beside.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(Error::new(format!("{command}: no room for a descriptor")));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(&line)], &mut beside, SendFlags::NOSIGNAL);
        let sent = sent.map_err(|error| lost(command, error.into()))?;
        self.stream.write_all(line.get(sent..).unwrap_or_default()).map_err(|error| lost(command, error))?;
        self.answer(command, id, &clock.within(COMMAND))
    }

    fn line(&mut self, command: &str, arguments: &Value) -> (u64, Vec<u8>) {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            request["arguments"] = arguments.clone();
        }
        (id, format!("{request}\n").into_bytes())
    }

    fn answer(&mut self, command: &str, id: u64, clock: &Clock) -> Result<Value, Error> {
        loop {
            let mut message = self.message(command, clock)?;
            // Events, and answers that nobody waited for any more.
            if message["id"] != json!(id) {
                continue;
            }
            if let Some(said) = message["error"]["desc"].as_str() {
                return Err(Error::new(format!("{command}: {said}")).code(Code::State));
            }
            return Ok(message["return"].take());
        }
    }

    /// The next message, whatever it is.
    fn message(&mut self, waiting_for: &str, clock: &Clock) -> Result<Value, Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| Error::new(format!("{waiting_for}: not QMP: {error}")).code(Code::State));
            }
            if self.unread.len() > LINE_BYTES {
                return Err(Error::new(format!("{waiting_for}: the monitor writes without end")).code(Code::State));
            }
            clock.go_on(waiting_for)?;
            let mut piece = [0; 16_384];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(lost(waiting_for, ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.unread.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(waiting_for, error)),
            }
        }
    }
}

fn lost(doing: &str, error: io::Error) -> Error {
    let has_hung_up =
        [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind());
    let said = if has_hung_up { "QEMU hung up".to_owned() } else { error.to_string() };
    Error::new(format!("{doing}: {said}")).code(Code::Io)
}

/// A socket that is connected; None when nobody listens. Unlike the standard library's, it does not wait for a listener
/// whose queue is full.
fn reach(path: &Path, clock: &Clock) -> io::Result<Option<UnixStream>> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect(&socket, &address).map_err(io::Error::from) {
            Ok(()) => break,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                clock.go_on("a place in its queue").map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
                clock.pause();
            }
            Err(error) => return Err(error),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(Some(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    const GREETS: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}"#;

    fn clock() -> Clock {
        Clock::apart(Duration::from_secs(30))
    }

    /// A monitor that says this; what it was told is given back when the client has gone.
    fn played(says: &'static [&'static str]) -> (tempfile::TempDir, thread::JoinHandle<Vec<String>>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("qmp")).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut told = Vec::new();
            for (at, say) in says.iter().enumerate() {
                if at > 0 {
                    told.extend(lines.next().and_then(Result::ok));
                }
                writeln!(stream, "{say}").unwrap();
            }
            told
        });
        (dir, thread)
    }

    #[test]
    fn events_and_late_answers_are_passed_over_and_errors_are_told() {
        let (dir, thread) = played(&[
            GREETS,
            r#"{"return": {}, "id": 1}"#,
            "{\"event\": \"STOP\", \"data\": {}}\n{\"return\": 7, \"id\": 1}\n{\"return\": {\"status\": \"paused\"}, \"id\": 2}",
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}, "id": 3}"#,
        ]);
        let mut monitor = Monitor::connect(&dir.path().join("qmp"), &clock()).unwrap().unwrap();
        assert_eq!((monitor.version, monitor.process), ((7, 2), None), "this process is no QEMU");
        assert_eq!(monitor.execute("query-status", &Value::Null, &clock()).unwrap()["status"], "paused");
        let error = monitor.execute("x", &json!({"a": 1}), &clock()).unwrap_err();
        assert_eq!((error.message(), error.kind()), ("x: no such thing", Code::State));
        let error = monitor.execute("y", &Value::Null, &clock()).unwrap_err();
        assert_eq!(error.message(), "y: QEMU hung up");
        let told = thread.join().unwrap();
        assert!(told[0].contains("qmp_capabilities") && told[2].contains(r#""arguments":{"a":1}"#), "{told:?}");
    }

    #[test]
    fn who_is_not_there_or_does_not_greet_is_no_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        assert!(Monitor::connect(&path, &clock()).unwrap().is_none());
        let listener = UnixListener::bind(&path).unwrap();
        let error = Monitor::connect(&path, &clock().within(Duration::from_millis(100))).err().unwrap();
        assert!(error.message().contains("is another client connected"), "{error}");
        drop(listener);
        assert!(Monitor::connect(&path, &clock()).unwrap().is_none(), "left behind by one that ended");
        let (dir, thread) = played(&["SSH-2.0-x"]);
        let error = Monitor::connect(&dir.path().join("qmp"), &clock()).err().unwrap();
        assert!(error.message().contains("not QMP"), "{error}");
        thread.join().unwrap();
    }
}
