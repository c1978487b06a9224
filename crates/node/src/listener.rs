//! Where a server listens: a TCP address, or a channel inside this process.

use std::{io, net::SocketAddr};

use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc};
use tonic::transport::{Channel, Endpoint};

use crate::{NodeError, Result};

/// Bytes under way in each direction of a connection inside the process: some batches.
const DUPLEX_BYTES: usize = 1024 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

/// Where a server listens.
#[derive(Debug)]
pub enum Listener {
    /// A TCP address.
    Tcp(TcpListener),
    /// Connections from inside this process.
    Memory(mpsc::Receiver<DuplexStream>),
}

impl Listener {
    /// Listens on `address`, `host:port`; port 0 takes any free one. Says so if the port is taken.
    pub async fn bind(address: &str) -> Result<Self> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self::Tcp(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(NodeError::PortInUse { address: address.to_owned() })
            }
            Err(error) => Err(NodeError::Bind { address: address.to_owned(), why: error.to_string() }),
        }
    }

    /// A server inside this process, and the channel that leads to it. The channel connects again when the server
    /// dropped a connection, and fails when the listener is gone.
    #[must_use]
    pub fn memory() -> (Self, Channel) {
        let (accept, incoming) = mpsc::channel::<DuplexStream>(BACKLOG);
        let connect = tower::service_fn(move |_| {
            let accept = accept.clone();
            async move {
                let (client, server) = tokio::io::duplex(DUPLEX_BYTES);
                let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the server inside has ended");
                accept.send(server).await.map_err(gone)?;
                Ok::<_, io::Error>(TokioIo::new(client))
            }
        });
        // The authority means nothing: every connection goes to the one server.
        let channel = Endpoint::from_static("http://inside.invalid").connect_with_connector_lazy(connect);
        (Self::Memory(incoming), channel)
    }

    /// The address it is bound to; none inside the process.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Memory(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp(_) => self.local_addr().is_some_and(|address| address.ip().is_loopback()),
            Self::Memory(_) => true,
        }
    }

    /// The address for people.
    #[must_use]
    pub fn shown(&self) -> String {
        self.local_addr().map_or("a channel inside the process".to_owned(), |address| address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_a_clear_error() {
        let first = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let error = Listener::bind(&address).await.unwrap_err();
        assert!(error.to_string().contains(&address) && error.hint().unwrap().contains("--listen"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_is_a_clear_error() {
        assert!(matches!(Listener::bind("203.0.113.7:0").await, Err(NodeError::Bind { .. })));
    }

    #[tokio::test]
    async fn the_loopback_and_the_inside_are_private() {
        assert!(Listener::bind("127.0.0.1:0").await.unwrap().is_private());
        assert!(!Listener::bind("0.0.0.0:0").await.unwrap().is_private());
        assert!(Listener::memory().0.is_private());
    }
}
