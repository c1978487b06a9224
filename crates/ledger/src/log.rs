//! Reading a log forward, whatever its entries hold. Warm, that is one GET of the next version; when the log turns
//! out to be far ahead, one LIST and then many GETs at once. Every entry read is checked to follow the one before, and
//! nothing in a slot, nor its absence, is believed without knowing that the slot was not cleaned away (see `fence`).

use std::{fmt::Debug, future::Future, ops::RangeInclusive, time::Duration};

use apiary_bucket::{Bucket, Key, Listed};
use apiary_core::{TxnId, Version};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    LedgerError, Result,
    fence::{Moment, Vouch},
    header::{Head, Header, Place},
    sum,
};

/// Hits one by one before the reader asks for a list: a writer that lost a few races needs none.
const HITS_MAX: u32 = 4;

/// Entries read at once: enough to hide a store's round trip, few enough to hold in memory.
pub(crate) const GETS_AT_ONCE: usize = 16;

/// Entries asked of one LIST: what S3 gives.
const LISTED_MAX: usize = 1000;

/// Largest entry in bytes: a transaction of a million cells.
pub(crate) const ENTRY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long one read may take before it counts as failed: above what a store's client tries by itself.
const READ_MAX: Duration = Duration::from_secs(240);

/// One kind of log.
pub(crate) trait LogKind: Clone + Debug + Send + Sync + 'static {
    /// What an entry is when it is read.
    type Entry: Recorded + Debug + Send;
    fn key(&self, version: Version) -> Key;
    fn prefix(&self) -> String;
    fn version_of(&self, key: &str) -> Option<Version>;
    fn decode(&self, object: &str, body: &[u8]) -> Result<Self::Entry>;
    /// The mark that the entries of `version`'s epoch were cleaned away; `None` for a log that is never cleaned. Whoever
    /// finds it there knows that what is, or is not, in that slot says nothing (see `fence`).
    fn fence(&self, version: Version) -> Option<Key>;
    /// An entry that says that these will never be committed.
    fn seal(&self, place: &Place, ids: &[TxnId], node: &str) -> Result<Bytes>;
}

/// What the protocol must know of an entry.
pub(crate) trait Recorded {
    fn header(&self) -> &Header;
    fn timestamp_ms(&self) -> i64;
}

/// An entry and its place in the chain.
#[derive(Debug, Clone)]
pub(crate) struct Read<E> {
    pub(crate) entry: E,
    pub(crate) head: Head,
    /// The length of its body.
    pub(crate) bytes: u64,
}

/// One log in a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Log<K> {
    pub(crate) bucket: Bucket,
    pub(crate) kind: K,
    pub(crate) vouch: Vouch,
}

impl<K: LogKind> Log<K> {
    pub(crate) fn new(bucket: Bucket, kind: K) -> Self {
        Self { bucket, kind, vouch: Vouch::default() }
    }

    /// The body in a slot, or `None` at the end of the log. 1 GET, and another of the fence at the same time unless it
    /// is known to be missing. [`LedgerError::Fenced`] if the slot was cleaned away: then nothing in it counts.
    pub(crate) async fn look(&self, slot: Version) -> Result<Option<Bytes>> {
        let key = self.kind.key(slot);
        let get = within(&self.bucket, key.as_ref(), self.bucket.get(&key));
        // Asked before, or at the same time, the fence proves something only to a clock that can tell a sleep.
        let clock = self.bucket.clock().as_ref();
        let body = if self.is_open(slot) || !Moment::now(clock).is_fresh(clock) {
            get.await?
        } else {
            tokio::try_join!(get, self.ask_fence(slot))?.0
        };
        self.check_fence(slot).await?;
        Ok(body)
    }

    /// The last entry of a log that has an entry `from`, where no list can tell: entries are dense, so tries by ever
    /// longer steps pass the end, and halving finds it. Two GETs for each doubling of what comes after `from`.
    pub(crate) async fn probe(&self, from: Version) -> Result<Version> {
        let (mut there, mut step) = (from.0, 1);
        // Ends where versions do, which no log comes near.
        while self.look(Version(there.saturating_add(step))).await?.is_some() {
            (there, step) = (there + step, step * 2);
        }
        let mut missing = there + step;
        while missing - there > 1 {
            let middle = there + (missing - there) / 2;
            if self.look(Version(middle)).await?.is_some() { there = middle } else { missing = middle }
        }
        Ok(Version(there))
    }

    /// Whether what was found in a slot before this call counts. 1 GET, or none.
    pub(crate) async fn check_fence(&self, slot: Version) -> Result<()> {
        if self.is_open(slot) { Ok(()) } else { self.ask_fence(slot).await }
    }

    /// Whether a slot is known to be in no fenced epoch.
    fn is_open(&self, slot: Version) -> bool {
        self.kind.fence(slot).is_none() || self.vouch.covers(slot, self.bucket.clock().as_ref())
    }

    async fn ask_fence(&self, slot: Version) -> Result<()> {
        let Some(fence) = self.kind.fence(slot) else { return Ok(()) };
        let asked = Moment::now(self.bucket.clock().as_ref());
        match within(&self.bucket, fence.as_ref(), self.bucket.get(&fence)).await? {
            Some(_) => Err(LedgerError::Fenced { object: self.kind.key(slot).to_string() }),
            None => {
                self.vouch.set(slot, asked);
                Ok(())
            }
        }
    }

    /// Reads what follows `after`; with nothing before, from version 0 on.
    pub(crate) fn read_after(&self, after: Option<Head>) -> Reader<'_, K> {
        // Who knows nothing yet asks for a list at once.
        let hits = if after.is_none() { HITS_MAX } else { 0 };
        Reader { log: self, at: after, ahead: None, hits }
    }

    /// Entries read many at once, in order. Nothing is asked before somebody waits.
    pub(crate) fn get_all(&self, range: RangeInclusive<u64>) -> Ahead {
        let (bucket, kind) = (self.bucket.clone(), self.kind.clone());
        let get = move |version: u64| {
            let (bucket, key) = (bucket.clone(), kind.key(Version(version)));
            async move { (Version(version), within(&bucket, key.as_ref(), bucket.get(&key)).await) }
        };
        stream::iter(range).map(get).buffered(GETS_AT_ONCE).boxed()
    }

    /// Checks that `body` is the entry that follows `before`. No I/O.
    pub(crate) fn admit(&self, before: Option<&Head>, body: &[u8]) -> Result<Read<K::Entry>> {
        let slot = before.map_or(Version(0), |head| head.version.next());
        let key = self.kind.key(slot);
        let object = key.as_ref();
        if body.len() > ENTRY_BYTES_MAX {
            return Err(LedgerError::corrupt(object, format!("it has {} bytes", body.len())));
        }
        sum::check(object, body)?;
        let entry = self.kind.decode(object, body)?;
        let head = Head::follow(before, object, slot, entry.header(), entry.timestamp_ms(), body)?;
        Ok(Read { entry, head, bytes: body.len() as u64 })
    }
}

/// Entries on their way.
pub(crate) type Ahead = BoxStream<'static, (Version, Result<Option<Bytes>>)>;

/// Reads a log forward, entry by entry.
pub(crate) struct Reader<'a, K: LogKind> {
    log: &'a Log<K>,
    /// The last entry read.
    pub(crate) at: Option<Head>,
    /// Entries on their way.
    ahead: Option<Ahead>,
    /// Entries read one by one since the last list.
    hits: u32,
}

impl<K: LogKind> Reader<'_, K> {
    /// Takes `bodies` for the next entries, in order, and then reads on to `last`, many at once.
    pub(crate) fn go_ahead(&mut self, bodies: Vec<Result<Option<Bytes>>>, last: Option<Version>) {
        let first = self.slot().0;
        let rest = first + bodies.len() as u64;
        let bodies = (first..).map(Version).zip(bodies);
        let rest = self.log.get_all(rest..=last.map_or(0, |last| last.0));
        self.ahead = Some(stream::iter(bodies).chain(rest).boxed());
    }

    /// The next entry, or `None` at the end of the log. 1 GET; after four hits in a row 1 LIST, and GETs ahead of use.
    /// A failed read may be tried again.
    pub(crate) async fn next(&mut self) -> Result<Option<Read<K::Entry>>> {
        if self.ahead.is_none() && self.hits >= HITS_MAX {
            self.hits = 0;
            self.ahead = self.list_ahead().await?;
        }
        if let Some(ahead) = &mut self.ahead {
            if let Some((version, body)) = ahead.next().await {
                self.log.check_fence(version).await?;
                return self.take_ahead(version, body).map(Some);
            }
            self.ahead = None;
        }
        match self.log.look(self.slot()).await? {
            Some(body) => {
                self.hits += 1;
                self.admit(&body).map(Some)
            }
            None => {
                self.hits = 0;
                Ok(None)
            }
        }
    }

    /// The version that comes next.
    pub(crate) fn slot(&self) -> Version {
        self.at.as_ref().map_or(Version(0), |head| head.version.next())
    }

    /// Takes the body of the next entry, read by someone else.
    pub(crate) fn admit(&mut self, body: &[u8]) -> Result<Read<K::Entry>> {
        let read = self.log.admit(self.at.as_ref(), body)?;
        self.at = Some(read.head.clone());
        Ok(read)
    }

    fn take_ahead(&mut self, version: Version, body: Result<Option<Bytes>>) -> Result<Read<K::Entry>> {
        // Whatever goes wrong here, the next try begins at the entry that failed.
        let found = body.and_then(|body| {
            let missing =
                || LedgerError::corrupt(self.log.kind.key(version), "it is missing, and later ones are there");
            self.admit(&body.ok_or_else(missing)?)
        });
        if found.is_err() {
            self.ahead = None;
        }
        found
    }

    /// Entries that a list shows, or a probe finds, read many at once, in order; `None` if it shows none.
    async fn list_ahead(&mut self) -> Result<Option<Ahead>> {
        if let (false, Some(at)) = (self.log.bucket.list_is_ordered(), &self.at) {
            let (first, last) = (self.slot().0, self.log.probe(at.version).await?.0);
            return Ok((last >= first).then(|| self.log.get_all(first..=last)));
        }
        let prefix = self.log.kind.prefix();
        let after = self.at.as_ref().map(|head| self.log.kind.key(head.version));
        let listing = self.log.bucket.list(&prefix, after.as_ref().map(AsRef::as_ref), LISTED_MAX);
        // Listed before `self` is looked at again: a reference to the stream must not live across the wait.
        let listed = within(&self.log.bucket, &prefix, listing).await?;
        Ok(self.range(&listed).map(|range| self.log.get_all(range)))
    }

    /// From the next version to the last one listed. Versions are dense: a gap is found when it is read.
    fn range(&self, listed: &[Listed]) -> Option<RangeInclusive<u64>> {
        let first = self.slot().0;
        let last = listed.iter().filter_map(|listed| self.log.kind.version_of(&listed.key)).max()?.0;
        // No further than one list can show, whatever a stray name claims.
        (last >= first).then(|| first..=last.min(first + LISTED_MAX as u64 - 1))
    }
}

/// Gives a read its deadline, by the bucket's own clock.
pub(crate) async fn within<T>(
    bucket: &Bucket,
    object: &str,
    read: impl Future<Output = apiary_bucket::Result<T>>,
) -> Result<T> {
    match apiary_core::within(bucket.clock().as_ref(), READ_MAX, read).await {
        Some(read) => Ok(read?),
        None => Err(LedgerError::Timeout { object: object.to_owned(), seconds: READ_MAX.as_secs() }),
    }
}
