//! The store's own clock: the only one by which stored objects have an age.
//!
//! An object's last-modified time is told by the store, so an age is a difference of two times that the same store
//! told. No machine's clock is asked: one that is wrong by years changes nothing.

use bytes::Bytes;

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout,
};

impl Bucket {
    /// What time it is by the store's clock, in milliseconds since 1970; a store that tells whole seconds tells the
    /// second that has begun. 1 PUT, 1 LIST, 1 DELETE; dropping the future may leave a small object below
    /// `_apiary/probe/`.
    pub async fn store_now_ms(&self) -> Result<i64> {
        let nonce = format!("{:016x}", self.rng().next_u64());
        let (prefix, key) = (layout::probe_prefix(&nonce), layout::probe(&nonce, 0));
        let asked = async {
            self.put(&key, Bytes::from_static(b"clock")).await?;
            self.list(&prefix, None, 1).await
        };
        let listed = asked.await;
        // Whatever was answered, nothing shall stay.
        let swept = self.delete(&key).await;
        let told = listed?.first().map(|object| object.modified_ms);
        swept?;
        let invisible = || BucketError::store("list", &prefix, missing());
        told.ok_or_else(invisible)
    }
}

fn missing() -> object_store::Error {
    object_store::Error::Generic { store: "list", source: "it does not show what was just written".into() }
}
