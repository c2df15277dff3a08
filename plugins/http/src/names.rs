//! The addresses of one server, looked up ahead of need.
//!
//! Inputs: an endpoint. Outputs: its addresses, for the HTTP library, which asks for them at every request, also of one
//! that goes over a kept connection. Must never make a request wait for a name server while older addresses are known.

use crate::Endpoint;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The library's own limit.
const MAX_ADDRESSES: usize = 16;

/// Known addresses of one server; all others are looked up when they are needed. Clones share what is known.
#[derive(Clone)]
pub(crate) struct Names(Arc<Known>);

struct Known {
    endpoint: Endpoint,
    addresses: Mutex<Vec<SocketAddr>>,
    /// Looks up what is not known, within the time of the request.
    lookup: DefaultResolver,
}

impl Names {
    /// Knows nothing yet.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let known =
            Known { endpoint: endpoint.clone(), addresses: Mutex::default(), lookup: DefaultResolver::default() };
        Self(Arc::new(known))
    }

    /// Looks the name up on the calling thread. When that fails, older addresses stay.
    pub(crate) fn refresh(&self) {
        if let Ok(found) = self.0.endpoint.addresses()
            && !found.is_empty()
        {
            *self.addresses() = found;
        }
    }

    /// Forgets the addresses, for another attempt with fresh ones. False when that can bring no others.
    pub(crate) fn forget(&self) -> bool {
        self.0.endpoint.is_named() && !std::mem::take(&mut *self.addresses()).is_empty()
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let asked = uri.scheme().zip(uri.authority()).and_then(|(s, a)| DefaultResolver::host_and_port(s, a));
        if asked.is_some() && asked == self.0.endpoint.host_and_port() {
            let mut found = self.empty();
            self.addresses().iter().take(MAX_ADDRESSES).for_each(|address| found.push(*address));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.0.lookup.resolve(uri, config, timeout)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({})", self.0.endpoint)
    }
}
