//! A conversation in SMTP over one connection.
//!
//! Inputs: commands, a [`Patience`]. Outputs: replies. Must never wait beyond the patience it was given, nor once the call is
//! cancelled, not even for a server that sends a byte now and then.
//!
//! The library makes the commands and reads the replies. Its own connection is not used: it waits for whole replies, with a
//! limit for each read, and nobody can end that.

use crate::fault::Fault;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::commands::{Auth, Ehlo, Noop, Quit, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, ServerInfo};
use lettre::transport::smtp::response::Response;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a wait looks whether it should end.
pub(crate) const SLICE: Duration = Duration::from_millis(25);
/// Bytes a reply may have; the longest sensible one, to EHLO, has some hundred.
const MAX_REPLY_BYTES: usize = 16 << 10;
/// Longest time for a connection to be made: this a cancel cannot interrupt.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest time for saying good-bye.
const LEAVE_LIMIT: Duration = Duration::from_millis(100);
/// Rounds of a login; LOGIN takes two.
const MAX_CHALLENGES: usize = 4;

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'p> {
    /// Until then.
    pub(crate) until: Instant,
    /// And until this is true.
    pub(crate) is_cancelled: &'p dyn Fn() -> bool,
}

impl Patience<'_> {
    /// The time left.
    ///
    /// # Errors
    /// That there is none, or that the call was cancelled.
    pub(crate) fn left(&self) -> Result<Duration, Fault> {
        if (self.is_cancelled)() {
            return Err(Fault::Cancelled);
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Fault::OutOfTime) } else { Ok(left) }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While it is changed from one to the other.
    None,
}

/// One connection to a server.
pub(crate) struct Dialog {
    stream: Stream,
    /// What was read and does not belong to a reply yet.
    pending: Vec<u8>,
    /// What the server can do.
    info: ServerInfo,
    /// No command is on its way, and no message.
    is_at_rest: bool,
    /// Whether the server runs on this machine, as far as the addresses tell.
    pub(crate) is_local: bool,
}

impl Dialog {
    /// Connects to the first address that answers. With `tls` the server's first word is already encrypted.
    pub(crate) fn connect(addresses: &[SocketAddr], tls: Option<&Tls>, patience: Patience<'_>) -> Result<Self, Fault> {
        let mut last = Fault::Unreachable("the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect_timeout(address, patience.left()?.min(MAX_CONNECT_TIME)) {
                Ok(stream) => {
                    let sliced = stream.set_read_timeout(Some(SLICE)).and(stream.set_write_timeout(Some(SLICE)));
                    sliced.and(stream.set_nodelay(true)).map_err(|error| Fault::of_io(&error))?;
                    let ours = stream.local_addr().ok().map(|ours| ours.ip());
                    let mut dialog = Self {
                        stream: Stream::Plain(stream),
                        pending: Vec::new(),
                        info: ServerInfo::default(),
                        is_at_rest: false,
                        is_local: address.ip().is_loopback() || ours == Some(address.ip()),
                    };
                    if let Some(tls) = tls {
                        dialog.encrypt(tls)?;
                    }
                    let greeting = dialog.reply(patience)?;
                    return if greeting.is_positive() {
                        Ok(dialog)
                    } else {
                        Err(Fault::refused("connecting", &greeting))
                    };
                }
                Err(error) => last = Fault::Unreachable(error.to_string()),
            }
        }
        Err(last)
    }

    /// Says who we are, and hears what the server can do.
    pub(crate) fn hello(&mut self, name: &ClientId, patience: Patience<'_>) -> Result<(), Fault> {
        let reply = self.must("EHLO", Ehlo::new(name.clone()), patience)?;
        // The library panics at a line of spaces.
        let lines = reply.message().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        self.info = ServerInfo::from_response(&Response::new(reply.code(), lines))
            .map_err(|error| Fault::Unfit(error.to_string()))?;
        Ok(())
    }

    /// Encrypts what follows.
    pub(crate) fn start_tls(&mut self, tls: &Tls, name: &ClientId, patience: Patience<'_>) -> Result<(), Fault> {
        if !self.info.supports_feature(Extension::StartTls) {
            return Err(Fault::Tls("the server offers no STARTTLS; set security to tls or none".to_owned()));
        }
        self.must("STARTTLS", Starttls, patience)?;
        if !self.pending.is_empty() {
            // Somebody on the way may have put words into the server's mouth, to be taken for encrypted ones.
            return Err(Fault::Tls("the server talked on before the encryption began".to_owned()));
        }
        self.encrypt(tls)?;
        self.hello(name, patience)
    }

    /// Logs in.
    pub(crate) fn log_in(&mut self, credentials: &Credentials, patience: Patience<'_>) -> Result<(), Fault> {
        let unfit = |error: lettre::transport::smtp::Error| Fault::Unfit(format!("cannot log in: {error}"));
        let Some(mechanism) = self.info.get_auth_mechanism(DEFAULT_MECHANISMS) else {
            return Err(Fault::Unfit("the server offers neither of the logins PLAIN and LOGIN here".to_owned()));
        };
        let first = Auth::new(mechanism, credentials.clone(), None).map_err(unfit)?;
        let mut reply = self.must("AUTH", first, patience)?;
        for _ in 0..MAX_CHALLENGES {
            if !reply.has_code(334) {
                return Ok(());
            }
            let next = Auth::new_from_response(mechanism, credentials.clone(), &reply).map_err(unfit)?;
            reply = self.must("AUTH", next, patience)?;
        }
        Err(Fault::Unfit("the server's login does not end".to_owned()))
    }

    /// Whether the server is still there.
    pub(crate) fn is_alive(&mut self, patience: Patience<'_>) -> bool {
        self.must("NOOP", Noop, patience).is_ok()
    }

    pub(crate) fn supports(&self, extension: Extension) -> bool {
        self.info.supports_feature(extension)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Sends a command and reads the reply to it, whatever it says.
    pub(crate) fn ask(&mut self, command: impl Display, patience: Patience<'_>) -> Result<Response, Fault> {
        self.exchange(command.to_string().as_bytes(), patience)
    }

    /// The same; a no is a fault.
    pub(crate) fn must(
        &mut self,
        doing: &'static str,
        command: impl Display,
        patience: Patience<'_>,
    ) -> Result<Response, Fault> {
        let reply = self.ask(command, patience)?;
        if reply.is_positive() { Ok(reply) } else { Err(Fault::refused(doing, &reply)) }
    }

    /// Sends a message's bytes, after the server said 354, and reads the reply.
    pub(crate) fn message(&mut self, message: &[u8], patience: Patience<'_>) -> Result<Response, Fault> {
        self.exchange(&transparent(message), patience)
    }

    fn exchange(&mut self, bytes: &[u8], patience: Patience<'_>) -> Result<Response, Fault> {
        self.is_at_rest = false;
        self.write(bytes, patience)?;
        let reply = self.reply(patience)?;
        // After 354 the server takes whatever comes for the message.
        self.is_at_rest = !reply.has_code(354);
        Ok(reply)
    }

    fn encrypt(&mut self, tls: &Tls) -> Result<(), Fault> {
        let session = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone())
            .map_err(|error| Fault::Tls(error.to_string()))?;
        self.stream = match std::mem::replace(&mut self.stream, Stream::None) {
            Stream::Plain(stream) => Stream::Tls(Box::new(StreamOwned::new(session, stream))),
            other => other,
        };
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], patience: Patience<'_>) -> Result<(), Fault> {
        loop {
            patience.left()?;
            let done = match &mut self.stream {
                Stream::Plain(stream) if !bytes.is_empty() => stream.write(bytes),
                Stream::Tls(stream) if !bytes.is_empty() => stream.write(bytes),
                Stream::Plain(stream) => stream.flush().map(|()| 0),
                Stream::Tls(stream) => stream.flush().map(|()| 0),
                Stream::None => return Err(Fault::Broken("it is closed".to_owned())),
            };
            match done {
                Ok(_) if bytes.is_empty() => return Ok(()),
                Ok(0) => return Err(Fault::Broken("it takes nothing more".to_owned())),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_slice_over(&error) => {}
                Err(error) => return Err(Fault::of_io(&error)),
            }
        }
    }

    /// Reads one reply, of one line or several.
    fn reply(&mut self, patience: Patience<'_>) -> Result<Response, Fault> {
        let mut text = String::new();
        loop {
            let line = self.line(patience)?;
            let (code, rest) = line.split_at_checked(3).unwrap_or((line.as_str(), ""));
            let is_last = !rest.starts_with('-');
            // Some servers leave the space out where no text follows.
            text += &if rest.is_empty() { format!("{code} \r\n") } else { format!("{line}\r\n") };
            if is_last {
                let reply = text.parse();
                return reply
                    .map_err(|_: lettre::transport::smtp::Error| Fault::Unfit("it does not speak SMTP".to_owned()));
            }
            if text.len() > MAX_REPLY_BYTES {
                return Err(Fault::Unfit("its reply is too long".to_owned()));
            }
        }
    }

    /// Reads a line, without its end.
    fn line(&mut self, patience: Patience<'_>) -> Result<String, Fault> {
        let mut bytes = [0; 2048];
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.pending.len() > MAX_REPLY_BYTES {
                return Err(Fault::Unfit("its reply is too long".to_owned()));
            }
            patience.left()?;
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut bytes),
                Stream::Tls(stream) => stream.read(&mut bytes),
                Stream::None => return Err(Fault::Broken("it is closed".to_owned())),
            };
            match read {
                Ok(0) => return Err(Fault::Broken("the server closed it".to_owned())),
                Ok(count) => self.pending.extend(bytes.iter().take(count)),
                Err(error) if is_slice_over(&error) => {}
                Err(error) => return Err(Fault::of_io(&error)),
            }
        }
    }
}

impl Drop for Dialog {
    /// Says good-bye, and does not wait for the answer.
    fn drop(&mut self) {
        if self.is_at_rest {
            let patience = Patience { until: Instant::now() + LEAVE_LIMIT, is_cancelled: &|| false };
            // It is closed in any case.
            let _said = self.write(Quit.to_string().as_bytes(), patience);
        }
    }
}

/// How to encrypt, and whom to expect.
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

fn is_slice_over(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A message as it goes over the wire (RFC 5321 4.5.2): lines end with CRLF, a line that begins with a dot gets another one,
/// and a dot alone ends it.
fn transparent(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        wire.extend(text.strip_suffix(b"\r").unwrap_or(text));
        wire.extend(b"\r\n");
    }
    wire.extend(b".\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_message_can_end_it() {
        for (message, wire) in [
            ("a\r\n.\r\nQUIT\r\n", "a\r\n..\r\nQUIT\r\n.\r\n"),
            (".a\n..b", "..a\r\n...b\r\n.\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n.\r\n"),
            ("", ".\r\n"),
        ] {
            assert_eq!(String::from_utf8(transparent(message.as_bytes())).unwrap(), wire, "{message:?}");
        }
    }

    #[test]
    fn patience_ends_with_its_time_or_a_cancel() {
        let soon = Instant::now() + Duration::from_secs(60);
        assert!(Patience { until: soon, is_cancelled: &|| false }.left().is_ok());
        assert_eq!(Patience { until: soon, is_cancelled: &|| true }.left(), Err(Fault::Cancelled));
        assert_eq!(Patience { until: Instant::now(), is_cancelled: &|| false }.left(), Err(Fault::OutOfTime));
    }
}
