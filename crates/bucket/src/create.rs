//! Creating an object exactly once: the one primitive that every promise of the colony stands on.
//!
//! A store's answer to a create cannot be taken at its word. The client retries by itself and then reports "exists
//! already" for our own write; S3 answers a bare conflict though nothing was written; Azure says "precondition";
//! a timeout says nothing at all. So whatever the answer, but for a plain yes, the object is read back and compared:
//! the identity of a create is inside its body. Callers put an id into the body, unless an equal body from
//! another is as good as their own.
//!
//! This is the only file that creates objects in the bucket, but for the probe, which tests the raw primitive.

use std::{io, time::Duration};

use apiary_core::within;
use bytes::Bytes;
use object_store::{Error as StoreError, ObjectStore, PutMode, PutOptions, PutPayload};

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout::Key,
};

/// How a decided create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object holds our body.
    Mine,
    /// The object holds this other body.
    Taken(Bytes),
}

/// What one attempt to create showed.
#[derive(Debug)]
pub enum PutAnswer {
    /// The object holds our body.
    Mine,
    /// The object holds this other body.
    Taken(Bytes),
    /// Nothing is there: send the same bytes again, and no others, since the first request may still arrive.
    Absent,
    /// It could not be read back.
    Unknown(BucketError),
}

/// Attempts of [`Bucket::put_if_absent_decided`]: with its waits, some seconds of a store that answers at once.
const ATTEMPTS_MAX: u32 = 8;

/// Longest first wait between attempts; it doubles up to [`WAIT_MAX`], each wait drawn from zero to it.
const WAIT_FIRST: Duration = Duration::from_millis(50);

/// Longest wait between attempts.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// How long one decided create may take in all.
const DECIDE_MAX: Duration = Duration::from_secs(120);

impl Bucket {
    /// Creates an object and does not return before it is known whose it is. 1 PUT, and 1 GET unless the store says
    /// yes at once; more only while the store errs. An error of kind `OutcomeUnknown` is the one case in which
    /// the object may or may not be ours; after any other error it is not there. Dropping the future leaves the
    /// outcome open.
    pub async fn put_if_absent_decided(&self, key: &Key, body: Bytes) -> Result<Created> {
        let unknown = |why: String| BucketError::OutcomeUnknown { key: key.to_string(), why };
        let deadline = self.clock().monotonic() + DECIDE_MAX;
        let mut why = String::from("the store lost every attempt");
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                self.clock().sleep(self.back_off(attempt)).await;
            }
            let Some(left) = deadline.checked_sub(self.clock().monotonic()) else { break };
            match within(self.clock().as_ref(), left, self.put_if_absent_once(key, body.clone())).await {
                None => return Err(unknown(format!("no answer within {} s", DECIDE_MAX.as_secs()))),
                Some(Err(refused)) if attempt == 0 => return Err(refused),
                Some(Err(refused)) => return Err(unknown(refused.to_string())),
                Some(Ok(PutAnswer::Mine)) => return Ok(Created::Mine),
                Some(Ok(PutAnswer::Taken(body))) => return Ok(Created::Taken(body)),
                Some(Ok(PutAnswer::Absent)) => {}
                Some(Ok(PutAnswer::Unknown(error))) => why = error.to_string(),
            }
        }
        Err(unknown(why))
    }

    /// One attempt to create an object, for a protocol that decides by itself what to do next. 1 PUT, and 1 GET
    /// unless the store says yes at once. An error means that the store understood and refused, that nothing is
    /// there, and that no copy of the request is under way.
    pub async fn put_if_absent_once(&self, key: &Key, body: Bytes) -> Result<PutAnswer> {
        let path = key.to_path()?;
        let options = PutOptions::from(PutMode::Create);
        let Err(answer) = self.store.put_opts(&path, PutPayload::from_bytes(body.clone()), options).await else {
            return Ok(PutAnswer::Mine);
        };
        tracing::debug!(key = key.as_str(), %answer, "a create was not a plain yes: reading it back");
        match self.get(key).await {
            Ok(Some(found)) if found == body => Ok(PutAnswer::Mine),
            Ok(Some(found)) => Ok(PutAnswer::Taken(found)),
            Ok(None) if is_refusal(&answer) => Err(BucketError::store("create", key.as_str(), answer)),
            Ok(None) => Ok(PutAnswer::Absent),
            Err(error) => Ok(PutAnswer::Unknown(error)),
        }
    }

    fn back_off(&self, attempt: u32) -> Duration {
        let most = WAIT_FIRST.saturating_mul(1 << attempt.min(16)).min(WAIT_MAX);
        Duration::from_millis(self.rng().below(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Whether the store understood the request and will never do it. A refusal that follows a try of the client's own
/// that got no answer is none: that try may still land.
fn is_refusal(answer: &StoreError) -> bool {
    match answer {
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } | StoreError::InvalidPath { .. } => true,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } | StoreError::NotFound { .. } => {
            !was_sent_again(answer)
        }
        // The local store's own word: it knows that it wrote nothing.
        StoreError::Generic { source, .. } => {
            source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
        }
        _ => false,
    }
}

/// Whether the client had sent the request before. It keeps the number to itself but for the words of its error, in
/// which it stands if and only if it is not zero.
fn was_sent_again(answer: &StoreError) -> bool {
    answer.to_string().contains("max_retries: ")
}

#[cfg(test)]
mod tests;
