//! Deadlines: a call ends when its caller stops waiting (`grpc-timeout`), and after the server's own limit at the
//! latest. A stream that is still running then ends with the status that says so.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apiary_core::{Clock, ErrorKind, units};
use apiary_proto::ClientError;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tonic::{Status, body::Body};

use super::{ServerPolicy, body::GuardedBody};

#[derive(Debug, Clone)]
pub(super) struct DeadlineLayer {
    call_max: Duration,
    clock: Arc<dyn Clock>,
}

impl DeadlineLayer {
    pub(super) fn new(policy: &ServerPolicy) -> Self {
        Self { call_max: policy.call_max, clock: Arc::clone(&policy.clock) }
    }
}

/// The caller's patience: up to eight digits and a unit, as the gRPC protocol writes it.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

fn late(limit: Duration) -> Status {
    let message = format!("the call took longer than the {} it was given", units::duration(limit));
    Status::from(ClientError::new(ErrorKind::Timeout, message))
}

impl<S> tower::Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Deadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S> tower::Service<Request<Body>> for Deadline<S>
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
        let limit = patience(request.headers()).unwrap_or(self.layer.call_max).min(self.layer.call_max);
        let clock = Arc::clone(&self.layer.clock);
        let end = clock.monotonic() + limit;
        let answer = self.inner.call(request);
        Box::pin(async move {
            tokio::select! {
                biased;
                answered = answer => {
                    let left = clock.sleep(end.saturating_sub(clock.monotonic()));
                    Ok(answered?.map(|body| Body::new(GuardedBody::timed(body, left, late(limit)))))
                }
                () = clock.sleep(limit) => Ok(late(limit).into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        patience(&headers)
    }

    #[test]
    fn patience_is_read_in_every_unit() {
        let read: Vec<_> = ["2H", "3M", "4S", "5m", "6u", "7n"].iter().map(|text| read(text).unwrap()).collect();
        let nanos: Vec<_> = read.iter().map(Duration::as_nanos).collect();
        assert_eq!(nanos, [7_200_000_000_000, 180_000_000_000, 4_000_000_000, 5_000_000, 6_000, 7]);
    }

    #[test]
    fn nonsense_is_no_patience_at_all() {
        for bad in ["", "S", "5", "-1S", "123456789S", "5x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
