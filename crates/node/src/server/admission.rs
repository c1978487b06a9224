//! Admission: so many calls at once, and the rest is refused at once with the time to come back. A queue in front of
//! an overloaded server only makes everybody late.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use apiary_core::ErrorKind;
use apiary_proto::ClientError;
use futures::future::{BoxFuture, FutureExt, ready};
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::{Status, body::Body};

use super::{ServerPolicy, body::GuardedBody};

/// When a refused caller may try again, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// Asked by those who must know whether the server lives, busy or not.
const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Debug, Clone)]
pub(super) struct AdmissionLayer {
    places: Arc<Semaphore>,
    calls_max: usize,
}

impl AdmissionLayer {
    pub(super) fn new(policy: &ServerPolicy) -> Self {
        Self { places: Arc::new(Semaphore::new(policy.calls_max)), calls_max: policy.calls_max }
    }
}

impl<S> tower::Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S> tower::Service<Request<Body>> for Admission<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with(HEALTH) {
            return self.inner.call(request).boxed();
        }
        let Ok(place) = Arc::clone(&self.layer.places).try_acquire_owned() else {
            let message = format!("this node answers {} calls at once and has no place left", self.layer.calls_max);
            let error = ClientError::new(ErrorKind::Overloaded, message).retry_after_ms(RETRY_AFTER_MS);
            return ready(Ok(Status::from(error).into_http())).boxed();
        };
        let answer = self.inner.call(request);
        // A stream keeps its place until its last frame.
        async move { Ok(answer.await?.map(|body| Body::new(GuardedBody::placed(body, place)))) }.boxed()
    }
}
