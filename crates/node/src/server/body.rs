//! A response body that holds something as long as it runs: a place among the calls, or a deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, body::Body};

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct GuardedBody {
    inner: Body,
    _place: Option<OwnedSemaphorePermit>,
    deadline: Option<(Wait, Status)>,
    ended: bool,
}

impl GuardedBody {
    /// Gives the place back with its last frame, or when it is dropped.
    pub(super) fn placed(inner: Body, place: OwnedSemaphorePermit) -> Self {
        Self { inner, _place: Some(place), deadline: None, ended: false }
    }

    /// Ends with `late` when `wait` is over first.
    pub(super) fn timed(inner: Body, wait: Wait, late: Status) -> Self {
        Self { inner, _place: None, deadline: Some((wait, late)), ended: false }
    }
}

impl HttpBody for GuardedBody {
    type Data = tonic::codegen::Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let over = self.deadline.as_mut().is_some_and(|(wait, _)| wait.as_mut().poll(cx).is_ready());
        match self.deadline.take_if(|_| over) {
            None => Poll::Pending,
            Some((_, late)) => {
                self.ended = true;
                self.inner = Body::empty();
                // A status in trailers is what a gRPC client reads as the stream's own end.
                Poll::Ready(Some(Ok(Frame::trailers(late.into_http::<Body>().into_parts().0.headers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
