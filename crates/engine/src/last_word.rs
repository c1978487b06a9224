//! An attempt's words on the board, the claim and the end, said until the store has heard them.
//!
//! A claim that nobody knows of, or an attempt that ends without a word, is the worst of all: its worker is alive, so
//! nobody declares it lost, and the query waits for what no one works on. A store that is away for a minute must not
//! cost ten.

use std::time::Duration;

use apiary_bucket::Bucket;
use apiary_core::ErrorKind;
use apiary_swarm::SwarmError;
use tokio_util::sync::CancellationToken;

/// How often it is said: with the waits, about two minutes of a store that fails at once.
const TRIES_MAX: u32 = 8;

/// The first wait; it doubles up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `say` until the store answers, the query is over, or [`TRIES_MAX`] tries are used up. Saying the same twice is
/// saying it once: a create knows its own body.
pub(crate) async fn insist<F: Future<Output = Result<bool, SwarmError>>>(
    bucket: &Bucket,
    cancel: &CancellationToken,
    say: impl Fn() -> F,
) -> Result<bool, SwarmError> {
    let mut wait = WAIT_FIRST;
    for _ in 1..TRIES_MAX {
        match say().await {
            Err(error) if is_passing(&error) && !cancel.is_cancelled() => {
                tracing::warn!(%error, wait_s = wait.as_secs(), "an attempt's word is not on the board yet; trying again");
            }
            said => return said,
        }
        tokio::select! {
            () = bucket.clock().sleep(wait) => {}
            () = cancel.cancelled() => {}
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
    say().await
}

/// Whether the store may hear it later, or has heard it already.
fn is_passing(error: &SwarmError) -> bool {
    matches!(error.kind(), ErrorKind::Storage | ErrorKind::OutcomeUnknown)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn said(failures: u32, error: impl Fn() -> SwarmError, cancel: &CancellationToken) -> (bool, u32) {
        let (bucket, tries) = (Bucket::in_memory(), Cell::new(0));
        let say = || {
            tries.set(tries.get() + 1);
            let answer = if tries.get() > failures { Ok(true) } else { Err(error()) };
            async { answer }
        };
        (insist(&bucket, cancel, say).await.is_ok(), tries.get())
    }

    fn unknown() -> SwarmError {
        apiary_bucket::BucketError::OutcomeUnknown { key: "k".into(), why: "no answer".into() }.into()
    }

    #[tokio::test]
    async fn a_store_that_comes_back_hears_it() {
        assert_eq!(said(1, unknown, &CancellationToken::new()).await, (true, 2));
    }

    #[tokio::test]
    async fn what_no_store_can_help_with_is_said_once() {
        let newer = || SwarmError::Format { key: "k".into(), found: 2, known: 1 };
        assert_eq!(said(1, newer, &CancellationToken::new()).await, (false, 1));
    }

    #[tokio::test]
    async fn nobody_insists_once_the_query_is_over() {
        let over = CancellationToken::new();
        over.cancel();
        assert_eq!(said(9, unknown, &over).await, (false, 1));
    }
}
