//! HTTP/1.1 on a bare TCP stream, so that the faults can break every rule of it.
//!
//! Responsibilities: read one request off a stream, lay out one reply. Inputs: bytes from a client, a [`Reply`]. Outputs:
//! an [`Incoming`] request, the bytes of the reply's head. Parsing is the httparse library's; this file only finds the
//! bytes. It must never decide what to answer.

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Larger heads are refused: metadata clients send a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Larger bodies are refused: only control requests have one.
const MAX_BODY_BYTES: usize = 1024 * 1024;
const MAX_HEADERS: usize = 64;

/// One request as it came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// As sent: `GET`, `PUT`…
    pub(crate) method: String,
    /// The path without its query.
    pub(crate) path: String,
    /// What follows the question mark, as sent; empty without one.
    pub(crate) query: String,
    headers: Vec<(String, String)>,
    /// Empty unless `Content-Length` announced one.
    pub(crate) body: Vec<u8>,
    /// The client asked to close the connection after this exchange.
    pub(crate) close: bool,
}

impl Incoming {
    /// The values of a parameter of the query, decoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(have, _)| have == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// The first of them.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }

    /// Whether any parameter is given twice.
    pub(crate) fn has_repeated_parameter(&self) -> bool {
        let mut names: Vec<_> = url::form_urlencoded::parse(self.query.as_bytes()).map(|(name, _)| name).collect();
        let given = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() < given
    }

    /// The first header of that name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The client went away, or the stream failed.
    Closed,
    /// What came is not a request this service understands; the text says why.
    Malformed(&'static str),
}

/// One reply, before any fault touches it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Beyond those every reply has.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: content_type.to_owned(), headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The status line and headers, ready to send.
    ///
    /// The field names are those of replies recorded from the AWS service in 2022 and 2023; `server` is whose. Without
    /// `content_length` the body runs until the connection closes.
    pub(crate) fn head(
        &self,
        content_length: Option<usize>,
        keep_alive: bool,
        server: Option<&str>,
        now: Timestamp,
    ) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut field = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        for (name, value) in &self.headers {
            field(name, value);
        }
        if let Some(length) = content_length {
            field("Content-Length", &length.to_string());
        }
        field("Content-Type", &self.content_type);
        field("Date", &http_date(now));
        if let Some(server) = server {
            field("Server", server);
        }
        if !keep_alive {
            field("Connection", "close");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// The reason phrase of a status. 405 says "Not Allowed", as recorded from the real service.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        410 => "Gone",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

/// A time as HTTP headers write it (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads one request. `buffer` keeps what came beyond it, for the next call on the same connection.
pub(crate) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Incoming, ReadError> {
    loop {
        if let Some((mut incoming, head_bytes, body_bytes)) = parse_head(buffer)? {
            let whole = head_bytes + body_bytes;
            if wants_continue(&incoming) && buffer.len() < whole {
                let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
                stream.write_all(go_on).await.map_err(|_| ReadError::Closed)?;
            }
            while buffer.len() < whole {
                fill(stream, buffer).await?;
            }
            let rest = buffer.split_off(whole);
            incoming.body = buffer.split_off(head_bytes);
            *buffer = rest;
            return Ok(incoming);
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(ReadError::Malformed("the request head is too large"));
        }
        fill(stream, buffer).await?;
    }
}

/// curl asks before it sends a larger body, and waits a second when nobody answers.
fn wants_continue(incoming: &Incoming) -> bool {
    incoming.header("Expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
    match stream.read_buf(buffer).await {
        Ok(count) if count > 0 => Ok(()),
        Ok(_) | Err(_) => Err(ReadError::Closed),
    }
}

/// The request at the start of `bytes` with the length of its head and of its body, or nothing when it is not whole yet.
fn parse_head(bytes: &[u8]) -> Result<Option<(Incoming, usize, usize)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ReadError::Malformed("not an HTTP/1 request")),
    };
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned()))
        .collect();
    let mut incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
        close: false,
    };
    if incoming.header("Transfer-Encoding").is_some() {
        return Err(ReadError::Malformed("a chunked request body is not supported"));
    }
    let connection = incoming.header("Connection").unwrap_or_default().to_ascii_lowercase();
    incoming.close = connection == "close" || (request.version == Some(0) && connection != "keep-alive");
    let body_bytes = match incoming.header("Content-Length") {
        None => 0,
        Some(length) => match length.parse::<usize>() {
            Ok(length) if length <= MAX_BODY_BYTES => length,
            _ => return Err(ReadError::Malformed("the request body is too large or its length is not a number")),
        },
    };
    Ok(Some((incoming, head_bytes, body_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_parsed_only_when_its_head_is_whole() {
        let whole = b"GET /latest/meta-data/instance-id?x=1 HTTP/1.1\r\nHost: a\r\nX-Thing: yes \r\n\r\nrest";
        for length in 0..whole.len() - 4 {
            assert!(parse_head(&whole[..length]).expect("a prefix of a good request").is_none());
        }
        let (incoming, head_bytes, body_bytes) = parse_head(whole).expect("good").expect("whole");
        assert_eq!((incoming.method.as_str(), incoming.path.as_str()), ("GET", "/latest/meta-data/instance-id"));
        assert_eq!((incoming.query.as_str(), incoming.parameter("x").as_deref()), ("x=1", Some("1")));
        assert_eq!(incoming.header("x-thing"), Some("yes"));
        assert_eq!((head_bytes, body_bytes), (whole.len() - 4, 0));
        assert!(!incoming.close);
    }

    #[test]
    fn an_http_1_0_client_closes_unless_it_says_keep_alive() {
        let plain = parse_head(b"GET / HTTP/1.0\r\n\r\n").expect("good").expect("whole");
        assert!(plain.0.close);
        let kept = parse_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("good").expect("whole");
        assert!(!kept.0.close);
    }

    #[test]
    fn an_absurd_body_length_is_refused() {
        for length in ["99999999999999999999", "1048577", "-1", "ten"] {
            let request = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            assert!(parse_head(request.as_bytes()).is_err(), "{length} was accepted");
        }
    }

    #[test]
    fn http_dates_are_those_of_the_standard() {
        let time = Timestamp::from_second(784_111_777).expect("a valid second");
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
