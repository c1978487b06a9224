//! Authentication: who calls, and whether that one may.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use apiary_core::{ErrorKind, NodeId};
use apiary_proto::ClientError;
use apiary_swarm::ColonySecret;
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::{Status, body::Body};

use super::ServerPolicy;
use crate::peer::{Caller, verify};

/// The node that a call came from; stands in the request's extensions when the call carried a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(pub NodeId);

#[derive(Debug, Clone)]
pub(super) struct AuthLayer {
    secret: Arc<ColonySecret>,
    node_only: &'static [&'static str],
}

impl AuthLayer {
    pub(super) fn new(policy: &ServerPolicy) -> Self {
        Self { secret: Arc::new(policy.secret.clone()), node_only: policy.node_only }
    }

    /// Lets a caller in, or says why not.
    fn judge(&self, caller: Caller, path: &str) -> Result<Option<Peer>, &'static str> {
        let needs_node = self.node_only.iter().any(|prefix| path.starts_with(prefix));
        match caller {
            Caller::Node(node) => Ok(Some(Peer(node))),
            Caller::Impostor => Err("this node's proof does not hold: it knows another colony's secret"),
            Caller::Anybody if needs_node => Err("only nodes of the colony may call this service"),
            Caller::Anybody => Ok(None),
        }
    }
}

impl<S> tower::Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> tower::Service<Request<Body>> for Auth<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let caller = verify(request.headers(), &self.layer.secret, path);
        match self.layer.judge(caller, path) {
            Ok(peer) => {
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                Either::Left(self.inner.call(request))
            }
            Err(why) => {
                let refusal = Status::from(ClientError::new(ErrorKind::Unauthenticated, why));
                Either::Right(ready(Ok(refusal.into_http())))
            }
        }
    }
}
