//! One answer over HTTP/1.1, from the bytes that have come so far.
//!
//! Inputs: bytes, whether more can come. Outputs: the answer, "not yet", or why it never will be one. Pure.
//! Must never panic or take more than [`BODY_BYTES_MAX`], whatever the bytes are; where a length can be
//! read in two ways the answer is refused (RFC 9112, 6.3).

use super::imds::FetchError;
use crate::normalise::deadline::rfc1123_ns;
use httparse::{EMPTY_HEADER, Header, Response, Status};

/// Longest body read, bytes. The longest document known, the deletion of a scale set of a hundred machines that Azure lists
/// with an event each, is a quarter of it.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Longest head read, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most headers read.
const HEADERS_MAX: usize = 64;

/// The header in which EC2 says how long a token lives.
pub const EC2_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The same header of Alibaba's service.
pub const ALIBABA_TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";

/// A complete answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The status; 200 once the client has handed it out.
    pub status: u16,
    /// The body, at most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// How long the service says that a token it gave will live, seconds.
    pub token_ttl_seconds: Option<i64>,
    /// The header `ETag`: what to name to be told of another value only.
    pub etag: Option<String>,
    /// The header `Metadata-Flavor`, by which Google's metadata server says that it is one.
    pub metadata_flavor: Option<String>,
    pub(super) date: Option<String>,
}

impl Found {
    /// The service's clock when it answered (header `Date`), nanoseconds since 1970 UTC.
    pub fn date_ns(&self) -> Option<i64> {
        rfc1123_ns(self.date.as_deref()?)
    }
}

/// What the bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The answer, and whether the connection may be used again.
    Whole {
        /// The answer.
        found: Found,
        /// Whether the connection may be used again.
        can_be_kept: bool,
    },
    /// The beginning of one.
    Part,
}

/// How the end of the body is found.
enum Length {
    Known(usize),
    Chunked,
    UntilTheEnd,
}

/// Reads an answer. `is_end`: no more bytes will come.
///
/// # Errors
/// `Malformed` or `TooLarge`.
pub fn parse(mut bytes: &[u8], is_end: bool) -> Result<Parsed, FetchError> {
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let head = match response.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if bytes.len() > HEAD_BYTES_MAX => return Err(FetchError::TooLarge),
            Ok(Status::Partial) => return Ok(Parsed::Part),
            Err(_) => return Err(FetchError::Malformed),
        };
        let status = response.code.unwrap_or(0);
        let rest = bytes.get(head..).unwrap_or_default();
        // An interim answer: the real one follows (RFC 9110, 15.2).
        if (100..200).contains(&status) {
            bytes = rest;
            continue;
        }
        let is_1_1 = response.version == Some(1);
        let length = length(status, response.headers)?;
        let Some((body, used)) = body(&length, rest, is_end)? else { return Ok(Parsed::Part) };
        let says = |word: &str| {
            let all = texts(response.headers, "connection").flat_map(|text| text.split(','));
            all.map(str::trim).any(|said| said.eq_ignore_ascii_case(word))
        };
        let stays = if is_1_1 { !says("close") } else { says("keep-alive") };
        let first = |name| texts(response.headers, name).next();
        return Ok(Parsed::Whole {
            // Bytes behind the answer belong to nothing that was asked.
            can_be_kept: stays && used == rest.len() && !matches!(length, Length::UntilTheEnd),
            found: Found {
                status,
                body,
                token_ttl_seconds: [EC2_TTL_HEADER, ALIBABA_TTL_HEADER]
                    .into_iter()
                    .find_map(|name| first(name)?.trim().parse().ok()),
                etag: first("etag").map(|text| text.trim().to_owned()),
                metadata_flavor: first("metadata-flavor").map(|text| text.trim().to_owned()),
                date: first("date").map(str::to_owned),
            },
        });
    }
}

/// The values of a header that are text.
fn texts<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| std::str::from_utf8(header.value).ok())
}

fn length(status: u16, headers: &[Header<'_>]) -> Result<Length, FetchError> {
    if matches!(status, 204 | 304) {
        return Ok(Length::Known(0));
    }
    let mut coding = texts(headers, "transfer-encoding");
    let mut lengths = texts(headers, "content-length").flat_map(|text| text.split(',')).map(str::trim);
    match (coding.next(), lengths.next()) {
        (Some(coding), None) if coding.trim().eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
        (Some(_), _) => Err(FetchError::Malformed),
        (None, None) => Ok(Length::UntilTheEnd),
        (None, Some(first)) => {
            let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number || lengths.any(|other| other != first) {
                return Err(FetchError::Malformed);
            }
            // A number too long to read is too large as well.
            first.parse().ok().filter(|n| *n <= BODY_BYTES_MAX).map(Length::Known).ok_or(FetchError::TooLarge)
        }
    }
}

/// The body and how many bytes it took; None when it is not all there.
fn body(length: &Length, rest: &[u8], is_end: bool) -> Result<Option<(Vec<u8>, usize)>, FetchError> {
    match length {
        Length::Known(n) => Ok(rest.get(..*n).map(|body| (body.to_vec(), *n))),
        Length::Chunked => chunks(rest),
        Length::UntilTheEnd if rest.len() > BODY_BYTES_MAX => Err(FetchError::TooLarge),
        Length::UntilTheEnd => Ok(is_end.then(|| (rest.to_vec(), rest.len()))),
    }
}

/// A body in chunks (RFC 9112, 7.1); what trails the last one is passed over.
fn chunks(rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, FetchError> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let here = rest.get(at..).unwrap_or_default();
        let (head, size) = match httparse::parse_chunk_size(here) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) if here.len() > HEAD_BYTES_MAX => return Err(FetchError::TooLarge),
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(FetchError::Malformed),
        };
        let size = usize::try_from(size).ok().filter(|n| body.len() + n <= BODY_BYTES_MAX);
        let size = size.ok_or(FetchError::TooLarge)?;
        if size == 0 {
            return trailer(rest, at + head).map(|end| end.map(|end| (body, end)));
        }
        let Some(chunk) = here.get(head..head + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        match here.get(head + size..head + size + 2) {
            Some(b"\r\n") => at += head + size + 2,
            Some(_) => return Err(FetchError::Malformed),
            None => return Ok(None),
        }
    }
}

/// Where a trailer section that begins at `at` ends; None when it is not all there.
fn trailer(rest: &[u8], at: usize) -> Result<Option<usize>, FetchError> {
    let section = rest.get(at..).unwrap_or_default();
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(section, &mut headers) {
        Ok(Status::Complete((length, _))) => Ok(Some(at + length)),
        Ok(Status::Partial) if section.len() > HEAD_BYTES_MAX => Err(FetchError::TooLarge),
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(FetchError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str, is_end: bool) -> (u16, String, bool) {
        match parse(text.as_bytes(), is_end) {
            Ok(Parsed::Whole { found, can_be_kept }) => {
                (found.status, String::from_utf8(found.body).expect("text"), can_be_kept)
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn the_end_of_a_body_is_found_by_length_by_chunks_or_by_the_connection() {
        let kept = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(whole(kept, false), (200, "body".into(), true));
        assert_eq!(whole(&format!("HTTP/1.1 100 Continue\r\n\r\n{kept}"), false), (200, "body".into(), true));
        let chunked = "HTTP/1.1 404 X\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nbo\r\n2\r\ndy\r\n0\r\nx: y\r\n\r\n";
        assert_eq!(whole(chunked, false), (404, "body".into(), true));
        let open = "HTTP/1.1 200 OK\r\n\r\nbody";
        assert_eq!(parse(open.as_bytes(), false), Ok(Parsed::Part));
        assert_eq!(whole(open, true), (200, "body".into(), false));
        assert_eq!(whole("HTTP/1.1 204 None\r\n\r\n", false), (204, String::new(), true));
    }

    #[test]
    fn a_connection_is_kept_only_when_both_sides_know_where_the_answer_ended() {
        let with = |line: &str, rest: &str| whole(&format!("{line}\r\nContent-Length: 1\r\n{rest}"), false).2;
        assert!(with("HTTP/1.1 200 OK", "\r\nx"));
        assert!(!with("HTTP/1.1 200 OK", "Connection: x, Close\r\n\r\nx"));
        assert!(!with("HTTP/1.0 200 OK", "\r\nx"));
        assert!(with("HTTP/1.0 200 OK", "Connection: keep-alive\r\n\r\nx"));
        assert!(!with("HTTP/1.1 200 OK", "\r\nxHTTP/1.1 200 OK"), "bytes that nobody asked for");
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused_and_long_ones_too() {
        let with = |headers: &str| parse(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(), true);
        for bad in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 2",
            "Content-Length: +1",
            "Content-Length: ",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
        ] {
            assert_eq!(with(bad), Err(FetchError::Malformed), "{bad}");
        }
        for long in [(BODY_BYTES_MAX + 1).to_string(), "9".repeat(26)] {
            assert_eq!(with(&format!("Content-Length: {long}")), Err(FetchError::TooLarge), "{long}");
        }
        let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n";
        assert_eq!(parse(endless.as_bytes(), false), Err(FetchError::TooLarge));
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n", false), Err(FetchError::Malformed));
    }

    #[test]
    fn the_headers_that_mean_something_are_read() {
        for name in [EC2_TTL_HEADER, ALIBABA_TTL_HEADER] {
            let text = format!(
                "HTTP/1.1 200 OK\r\ndate: Mon, 21 Jan 2019 09:00:43 GMT\r\n{name}: 21600\r\netag: 5f\r\n\
                 Metadata-Flavor: Google\r\ncontent-length: 0\r\n\r\n"
            );
            let Ok(Parsed::Whole { found, .. }) = parse(text.as_bytes(), false) else { panic!("not read") };
            assert_eq!((found.etag.as_deref(), found.metadata_flavor.as_deref()), (Some("5f"), Some("Google")));
            assert_eq!((found.date_ns(), found.token_ttl_seconds), (Some(1_548_061_243_000_000_000), Some(21_600)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), is_end: bool) {
            let _ = parse(&bytes, is_end);
        }

        /// However an answer is cut, it is "not yet" until its last byte, and then always the same.
        #[test]
        fn an_answer_cut_anywhere_is_a_part(body in "[ -~]{0,200}", chunk in 1_usize..50, is_chunked: bool) {
            let mut text = String::from("HTTP/1.1 200 OK\r\nDate: x\r\n");
            if is_chunked {
                text += "Transfer-Encoding: chunked\r\n\r\n";
                for part in body.as_bytes().chunks(chunk) {
                    text += &format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
                }
                text += "0\r\n\r\n";
            } else {
                text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            }
            for end in 0..text.len() {
                prop_assert_eq!(parse(&text.as_bytes()[..end], false), Ok(Parsed::Part), "cut at {}", end);
            }
            prop_assert_eq!(whole(&text, false), (200, body, true));
        }

        /// Bytes that nearly are an answer: one is changed.
        #[test]
        fn an_answer_with_one_wrong_byte_does_no_harm(at in 0_usize..90, byte: u8, is_end: bool) {
            let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: a\r\n\r\n4\r\nbody\r\n0\r\n\r\n".to_vec();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(Parsed::Whole { found, .. }) = parse(&text, is_end) {
                prop_assert!(found.body.len() <= text.len());
            }
        }
    }
}
