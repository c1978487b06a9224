//! What goes wrong with a request, in S3's words and on the wire.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apiary_core::SeededRng;
use apiary_faults::{Fault, Op, Plan};
use bytes::Bytes;
use futures::stream;
use s3s::{Body, S3Result, dto::StreamingBlob, s3_error};

/// Pieces of a slow body.
const PIECES: usize = 8;

/// The script of one store.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Plan>);

/// What one request meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met(Option<Fault>);

impl Faults {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn meet(&self, op: Op, key: &str) -> Met {
        Met(self.plan().meet(op, key, &SeededRng::new(0)))
    }
}

/// Ends the connection without an answer: whoever serves it ends with it.
fn cut() -> ! {
    std::panic::resume_unwind(Box::new("the connection is cut"))
}

#[expect(clippy::disallowed_methods, reason = "a store of its own, on a clock of its own")]
async fn wait(how_long: Duration) {
    tokio::time::sleep(how_long).await;
}

impl Met {
    /// What comes before the store acts.
    pub(super) async fn before(self) -> S3Result<()> {
        match self.0 {
            Some(Fault::Error) => Err(s3_error!(InternalError, "scripted")),
            Some(Fault::Unavailable) => Err(s3_error!(SlowDown, "scripted")),
            Some(Fault::BareConflict) => Err(s3_error!(ConditionalRequestConflict, "scripted")),
            Some(Fault::BarePrecondition) => Err(s3_error!(PreconditionFailed, "scripted")),
            Some(Fault::Denied) => Err(s3_error!(AccessDenied, "scripted")),
            Some(Fault::Hang | Fault::LateAndHang(_) | Fault::Late(_)) => cut(),
            Some(Fault::Slow(how_long)) => {
                wait(how_long).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What comes when the store has acted.
    pub(super) async fn after(self) -> S3Result<()> {
        match self.0 {
            Some(Fault::AppliedThenError) => Err(s3_error!(InternalError, "scripted")),
            Some(Fault::AppliedThenExists) => Err(s3_error!(PreconditionFailed, "scripted")),
            Some(Fault::AppliedThenTimeout | Fault::AppliedThenHang) => cut(),
            _ => Ok(()),
        }
    }

    /// The body of an answer, as it goes out. One that is cut short was announced in full.
    pub(super) fn body(self, whole: Bytes) -> StreamingBlob {
        match self.0 {
            Some(Fault::Truncated) => {
                let half = whole.slice(..whole.len() / 2);
                let broken = || std::io::Error::other("the connection is cut");
                StreamingBlob::wrap(stream::iter([Ok(half), Err(broken())]))
            }
            Some(Fault::Flipped) if !whole.is_empty() => {
                let mut body = whole.to_vec();
                body[whole.len() / 2] ^= 1;
                StreamingBlob::from(Body::from(Bytes::from(body)))
            }
            Some(Fault::Slow(how_long)) if !whole.is_empty() => {
                let size = whole.len().div_ceil(PIECES);
                let pieces: Vec<Bytes> =
                    (0..whole.len()).step_by(size).map(|at| whole.slice(at..whole.len().min(at + size))).collect();
                let (send, receive) = futures::channel::mpsc::unbounded();
                // Ends with its pieces, or when nobody reads any more.
                tokio::spawn(async move {
                    for piece in pieces {
                        wait(how_long / PIECES as u32).await;
                        if send.unbounded_send(Ok::<_, Infallible>(piece)).is_err() {
                            return;
                        }
                    }
                });
                StreamingBlob::wrap(receive)
            }
            _ => StreamingBlob::from(Body::from(whole)),
        }
    }
}
