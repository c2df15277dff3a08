//! An HTTP receiver, plain or with TLS, that answers every request with `ok`.
//! Inputs: connections. Outputs: answers, and the watch on the requests, once they are decrypted.

use crate::relay::Sockets;
use crate::watch::Watch;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use tempfile::NamedTempFile;

/// What only work contains: a connection is kept ready with HEAD.
const WORK: &[u8] = b"POST ";

/// A receiver; its threads end with the process.
pub struct Receiver {
    address: SocketAddr,
    /// Looks at requests, the moment they have been read.
    pub watch: Arc<Watch>,
    /// The certificate to trust, when it speaks TLS.
    pub authority: Option<NamedTempFile>,
    sockets: Sockets,
}

impl Receiver {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// No port, or no certificate.
    pub fn start(is_tls: bool) -> anyhow::Result<Self> {
        let (tls, authority) =
            if is_tls { tls().map(|(config, file)| (Some(config), Some(file)))? } else { (None, None) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (watch, sockets) = (Arc::new(Watch::new(WORK)), Sockets::default());
        let receiver = Self { address: listener.local_addr()?, watch: Arc::clone(&watch), authority, sockets };
        let sockets = receiver.sockets.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (watch, tls) = (Arc::clone(&watch), tls.clone());
                if sockets.add(&stream).and_then(|()| stream.set_nodelay(true)).is_ok() {
                    // A connection that breaks is part of what is measured.
                    std::thread::spawn(move || drop(serve(stream, tls, &watch)));
                }
            }
        });
        Ok(receiver)
    }

    /// The address of a page.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/work", self.address.port())
    }

    /// Closes every connection; new ones are served as before.
    pub fn cut(&self) {
        self.sockets.cut();
    }
}

fn tls() -> anyhow::Result<(Arc<rustls::ServerConfig>, NamedTempFile)> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let mut file = NamedTempFile::new()?;
    file.write_all(made.cert.pem().as_bytes())?;
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok((Arc::new(config), file))
}

fn serve(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, watch: &Watch) -> anyhow::Result<()> {
    match tls {
        None => answer(stream, watch)?,
        Some(config) => answer(rustls::StreamOwned::new(rustls::ServerConnection::new(config)?, stream), watch)?,
    }
    Ok(())
}

fn answer(mut stream: impl Read + Write, watch: &Watch) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        watch.look(&buffer[..count]);
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..count]);
        if is_whole(&request) {
            let body = if request.starts_with(b"HEAD") { "" } else { "ok" };
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}").as_bytes())?;
            stream.flush()?;
            request.clear();
        }
    }
}

/// Whether the head and all of the body have come.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_request_is_whole_with_its_body() {
        assert!(is_whole(b"HEAD / HTTP/1.1\r\n\r\n"));
        assert!(is_whole(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"));
        assert!(!is_whole(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"));
        assert!(!is_whole(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n"));
    }
}
