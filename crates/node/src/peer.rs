//! Channels between nodes, and the proof that a caller belongs to the colony.
//!
//! A node signs each call with the colony's secret: HMAC-SHA256 over the method's path, its own id and a nonce. The
//! secret itself never travels. This keeps strangers out; it does not hide what is said, which is what TLS is for.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apiary_core::{NodeId, Rng};
use apiary_swarm::ColonySecret;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Request, Response};
use sha2::Sha256;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint, Error as TransportError},
};

use crate::{NodeError, Result};

const NODE: &str = "apiary-node";
const NONCE: &str = "apiary-nonce";
const PROOF: &str = "apiary-proof";

/// What is signed begins with this: the secret may come to sign other things.
const PURPOSE: &str = "apiary node call 1";

/// How long a connection to a node may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How often a silent connection is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a node may take to answer that.
const KEEP_ALIVE_ANSWER_MAX: Duration = Duration::from_secs(5);

fn mac(secret: &ColonySecret, path: &str, node: &str, nonce: &str) -> Option<Hmac<Sha256>> {
    // HMAC takes a key of any length: this is always there.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).ok()?;
    for part in [PURPOSE, path, node, nonce] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    Some(mac)
}

/// Adds the proof to a call's headers.
pub(crate) fn sign(headers: &mut HeaderMap, secret: &ColonySecret, path: &str, node: &NodeId, nonce: u64) {
    let nonce = format!("{nonce:016x}");
    let Some(mac) = mac(secret, path, node.as_str(), &nonce) else { return };
    let proof = hex::encode(mac.finalize().into_bytes());
    for (name, value) in [(NODE, node.as_str()), (NONCE, nonce.as_str()), (PROOF, proof.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// Who called, by its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// No proof: a client.
    Anybody,
    /// A node of the colony.
    Node(NodeId),
    /// A proof that does not hold.
    Impostor,
}

/// Checks a call's proof, in constant time where it matters.
pub(crate) fn verify(headers: &HeaderMap, secret: &ColonySecret, path: &str) -> Caller {
    if ![NODE, NONCE, PROOF].iter().any(|name| headers.contains_key(*name)) {
        return Caller::Anybody;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let checked = || {
        let node = NodeId::new(text(NODE)?).ok()?;
        let proof = hex::decode(text(PROOF)?).ok()?;
        mac(secret, path, node.as_str(), text(NONCE)?)?.verify_slice(&proof).ok()?;
        Some(node)
    };
    checked().map_or(Caller::Impostor, Caller::Node)
}

/// A channel on which a node signs every call. Cheap to clone.
#[derive(Clone)]
pub struct PeerChannel {
    channel: Channel,
    me: NodeId,
    secret: ColonySecret,
    rng: Arc<dyn Rng>,
}

impl fmt::Debug for PeerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerChannel").field("me", &self.me).finish_non_exhaustive()
    }
}

impl PeerChannel {
    /// Signs the calls on any channel, also on one inside the process.
    #[must_use]
    pub fn over(channel: Channel, me: &NodeId, secret: &ColonySecret, rng: &Arc<dyn Rng>) -> Self {
        Self { channel, me: me.clone(), secret: secret.clone(), rng: Arc::clone(rng) }
    }
}

impl tower::Service<Request<Body>> for PeerChannel {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = <Channel as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        tower::Service::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        sign(request.headers_mut(), &self.secret, &path, &self.me, self.rng.next_u64());
        tower::Service::call(&mut self.channel, request)
    }
}

/// A channel to the node at `address`, `host:port`, on which `me` proves that it belongs to the colony. Connects when
/// first used, and again after a failure; a silent connection is tried every 10 s.
pub fn node_channel(address: &str, me: &NodeId, secret: &ColonySecret, rng: &Arc<dyn Rng>) -> Result<PeerChannel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|why| NodeError::Unreachable { address: address.to_owned(), why: why.to_string() })?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true);
    Ok(PeerChannel::over(endpoint.connect_lazy(), me, secret, rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/apiary.v1.TaskService/Nudges";

    fn signed(secret: [u8; 32]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        sign(&mut headers, &ColonySecret::of(secret), PATH, &NodeId::new("pi-1").unwrap(), 42);
        headers
    }

    #[test]
    fn a_node_of_the_colony_is_known() {
        let caller = verify(&signed([7; 32]), &ColonySecret::of([7; 32]), PATH);
        assert_eq!(caller, Caller::Node(NodeId::new("pi-1").unwrap()));
    }

    #[test]
    fn a_proof_by_another_secret_or_for_another_method_does_not_hold() {
        assert_eq!(verify(&signed([8; 32]), &ColonySecret::of([7; 32]), PATH), Caller::Impostor);
        assert_eq!(verify(&signed([7; 32]), &ColonySecret::of([7; 32]), "/other"), Caller::Impostor);
    }

    #[test]
    fn a_proof_cannot_be_lent_to_another_node() {
        let mut headers = signed([7; 32]);
        headers.insert(NODE, HeaderValue::from_static("pi-2"));
        assert_eq!(verify(&headers, &ColonySecret::of([7; 32]), PATH), Caller::Impostor);
    }

    #[test]
    fn half_a_proof_is_none() {
        let mut headers = signed([7; 32]);
        headers.remove(PROOF);
        assert_eq!(verify(&headers, &ColonySecret::of([7; 32]), PATH), Caller::Impostor);
        assert_eq!(verify(&HeaderMap::new(), &ColonySecret::of([7; 32]), PATH), Caller::Anybody);
    }
}
