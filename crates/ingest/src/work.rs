//! Where the CPU work of a write runs.
//!
//! A coordinator takes many small writes at once, and each is a few pieces of work of some 50 µs. On threads of their
//! own, all of these would run at the same time: whatever the runtime's threads have to do next, the answer of the
//! store among it that all of them wait for, would get its share of a core after dozens of others. So a small piece
//! runs where it is, and then lets others go first. A large one goes to a thread for blocking work, and of those no
//! more run at once than there are cores, whatever the number of writes; who came first is first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use apiary_cell::decoded_bytes;
use arrow::{array::RecordBatch, datatypes::DataType};
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::Semaphore;

use crate::{IngestError, Result, pipeline::ended_early};

/// Bytes up to which work on them takes less time than a core should be kept from others.
const SMALL_BYTES: u64 = 64 << 10;

/// Columns, those within columns counted, times batches up to which it does: each costs some µs, however few its bytes.
const SMALL_COLUMNS: usize = 32;

/// A piece of work under way, or done.
pub(crate) type Running<T> = BoxFuture<'static, Result<T>>;

/// The cores that all writes of one writer share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    count: usize,
    free: Arc<Semaphore>,
}

impl Cores {
    /// All that this process may use.
    pub(crate) fn all() -> Self {
        let count = thread::available_parallelism().map_or(1, usize::from);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Begins at once, or as soon as a core is free. A panic is an error of this piece alone. Dropping the future does
    /// not stop what was handed over.
    pub(crate) fn run<T, W>(&self, size: Size, work: W) -> Running<T>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T> + Send + 'static,
    {
        if size == Size::Small {
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                Err(IngestError::Internal("a piece of a write's work panicked; the log says where".to_owned()))
            });
            return async {
                tokio::task::yield_now().await;
                done
            }
            .boxed();
        }
        let free = Arc::clone(&self.free);
        let running = tokio::spawn(async move {
            // Never closed.
            let _core = free.acquire_owned().await;
            tokio::task::spawn_blocking(work).await.map_err(ended_early)?
        });
        async { running.await.map_err(ended_early)? }.boxed()
    }
}

/// How long a piece of work takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Some 50 µs.
    Small,
    /// More.
    Large,
}

impl Size {
    /// Of work on so many bytes in so many columns.
    pub(crate) fn of(bytes: u64, columns: usize) -> Self {
        if bytes <= SMALL_BYTES && columns <= SMALL_COLUMNS { Self::Small } else { Self::Large }
    }

    /// Of work on these rows.
    pub(crate) fn of_rows(batches: &[RecordBatch]) -> Self {
        let fields = batches.first().map_or_else(Vec::new, |batch| batch.schema_ref().flattened_fields());
        // What views point to does not count as theirs, and may be anything.
        let has_views =
            fields.iter().any(|field| matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView));
        let seen =
            |batch: &RecordBatch| if has_views { batch.get_array_memory_size() as u64 } else { decoded_bytes(batch) };
        let columns = fields.len();
        Self::of(batches.iter().map(seen).sum(), columns.saturating_mul(batches.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::{
        array::{ArrayRef, Int64Array, StringViewArray},
        datatypes::Schema,
    };

    use super::*;

    #[test]
    fn what_is_small_has_few_bytes_and_few_columns() {
        assert_eq!((Size::of(SMALL_BYTES, 1), Size::of(SMALL_BYTES + 1, 1)), (Size::Small, Size::Large));
        assert_eq!((Size::of(1, SMALL_COLUMNS), Size::of(1, SMALL_COLUMNS + 1)), (Size::Small, Size::Large));
        let longs = |rows| Arc::new(Int64Array::from(vec![7; rows])) as _;
        let batch = RecordBatch::try_from_iter([("n", longs(100_000))]).unwrap();
        let small = batch.slice(10, 100);
        assert_eq!(Size::of_rows(std::slice::from_ref(&small)), Size::Small, "what it does not show does not count");
        assert_eq!(Size::of_rows(&[batch]), Size::Large);
        assert_eq!(Size::of_rows(&vec![small.clone(); SMALL_COLUMNS + 1]), Size::Large, "each batch costs something");
        let text: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(1000); 100]));
        assert_eq!(Size::of_rows(&[RecordBatch::try_from_iter([("t", text)]).unwrap()]), Size::Large);
        assert_eq!(Size::of_rows(&[RecordBatch::new_empty(Arc::new(Schema::empty()))]), Size::Small);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_large_pieces_run_at_once_than_there_are_cores() {
        let (cores, running) = (Cores::all(), Arc::new(AtomicUsize::new(0)));
        let pieces: Vec<_> = (0..64)
            .map(|n| {
                let (running, count) = (Arc::clone(&running), cores.count());
                cores.run(Size::Large, move || {
                    let at_once = running.fetch_add(1, Ordering::SeqCst) + 1;
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    assert!(at_once <= count, "{at_once}");
                    Ok(n)
                })
            })
            .collect();
        for (n, piece) in pieces.into_iter().enumerate() {
            assert_eq!(piece.await.unwrap(), n);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_others_go_on() {
        let cores = Cores::all();
        for size in [Size::Small, Size::Large].repeat(cores.count() + 1) {
            let broken = cores.run::<(), _>(size, || panic!("as planned"));
            assert!(matches!(broken.await, Err(IngestError::Internal(_))));
            assert_eq!(cores.run(size, || Ok(7)).await.unwrap(), 7);
        }
    }
}
