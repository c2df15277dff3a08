//! A TCP relay in front of a server that keeps its own counsel about when bytes arrive.
//! Inputs: the server's address. Outputs: a port that leads there, and the watch on what clients send.

use crate::watch::Watch;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The open sockets, to cut them.
#[derive(Clone, Default)]
pub(crate) struct Sockets(Arc<Mutex<Vec<TcpStream>>>);

impl Sockets {
    pub(crate) fn add(&self, socket: &TcpStream) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(socket.try_clone()?);
        Ok(())
    }

    /// Closes them all, as a server that restarts does.
    pub(crate) fn cut(&self) {
        for socket in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that is closed already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A relay; its threads end with the process.
pub struct Relay {
    /// Where clients connect to.
    pub address: SocketAddr,
    /// Looks at what clients send, the moment it has been read.
    pub watch: Arc<Watch>,
    sockets: Sockets,
}

impl Relay {
    /// Starts one that leads to `server`.
    ///
    /// # Errors
    /// No port.
    pub fn start(server: SocketAddr, watch: Watch) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let relay = Self { address: listener.local_addr()?, watch: Arc::new(watch), sockets: Sockets::default() };
        let (watch, sockets) = (Arc::clone(&relay.watch), relay.sockets.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that refuses closes the client's connection, which tells it.
                let _ = lead(client, server, &watch, &sockets);
            }
        });
        Ok(relay)
    }

    /// Closes every connection; new ones are led as before.
    pub fn cut(&self) {
        self.sockets.cut();
    }
}

fn lead(client: TcpStream, server: SocketAddr, watch: &Arc<Watch>, sockets: &Sockets) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        sockets.add(socket)?;
    }
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_server, to_server) = (server.try_clone()?, server);
    let watch = Arc::clone(watch);
    std::thread::spawn(move || pass_on(from_client, to_server, |bytes| watch.look(bytes)));
    std::thread::spawn(move || pass_on(from_server, to_client, |_| {}));
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The end of one side is that of the other.
    let _ = to.shutdown(Shutdown::Both);
}
