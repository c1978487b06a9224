//! How the memory of a chamber is shared between the operators of one plan. Pure bookkeeping behind a lock.
//!
//! DataFusion's own fair pool divides by all operators that may ever spill, also those that have not begun or have
//! ended, lets them have everything before those that cannot spill ask for their first byte (a sort that fits starves
//! the merge above it), and may hand out more than there is. A chamber is small, so:
//!
//! | who | gets |
//! |---|---|
//! | can spill (sorts, GROUP BY) | an even share of three quarters, among those that hold anything now |
//! | cannot (merges, aggregates) | whatever is free; a quarter is never the spillers' |
//! | hash tables of joins | the same, three quarters in all: a table's rows are copied once, and nobody counts the copy |
//! | buffers between threads | an eighth in all, whatever else is held; beyond it they spill |
//! | anybody | its first few bytes, so that nobody fails before it could have spilled |
//!
//! The last two may overdraw the chamber by a little; a share of the node's memory is kept out of all chambers for
//! what nobody counts, and that holds it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use apiary_core::units;
use datafusion::{
    error::{DataFusionError, Result},
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

/// Others that an error names besides the one that failed.
const OTHERS_NAMED: usize = 3;

/// What everybody may hold whatever others do, as a part of the chamber: who can spill enough for a run that is worth
/// a file, who cannot enough to begin.
const FIRST_SPILLER: usize = 16;
const FIRST_HOLDER: usize = 64;

/// The pool.
#[derive(Debug)]
pub(crate) struct ChamberPool {
    bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    consumers: HashMap<usize, Consumer>,
    /// All of it.
    total: usize,
    /// Of those that cannot spill, of them the hash tables, and of buffers.
    fixed: usize,
    tables: usize,
    buffers: usize,
}

#[derive(Debug)]
struct Consumer {
    name: String,
    kind: Kind,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spiller,
    Holder,
    Table,
    Buffer,
}

impl Kind {
    fn of(consumer: &MemoryConsumer) -> Self {
        match (consumer.can_spill(), consumer.name().starts_with("RepartitionExec")) {
            (true, true) => Self::Buffer,
            (true, false) => Self::Spiller,
            (false, _) if consumer.name().starts_with("HashJoinInput") => Self::Table,
            (false, _) => Self::Holder,
        }
    }
}

impl ChamberPool {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a consumer that holds `mine` may have `more`.
    fn grants(&self, held: &Held, kind: Kind, mine: usize, more: usize) -> bool {
        let (mine, fits) = (mine.saturating_add(more), held.total.saturating_add(more) <= self.bytes);
        match kind {
            Kind::Buffer => held.buffers.saturating_add(more) <= self.bytes / 8,
            Kind::Holder => fits || mine <= self.bytes / FIRST_HOLDER,
            Kind::Table => {
                let few = held.tables.saturating_add(more) <= self.bytes / 4 * 3;
                (fits && few) || mine <= self.bytes / FIRST_HOLDER
            }
            Kind::Spiller => {
                let others = held.consumers.values().filter(|c| c.kind == Kind::Spiller && c.bytes > 0).count();
                let sharing = others + usize::from(mine == more);
                let kept = (held.fixed + held.buffers).max(self.bytes / 4);
                let share = self.bytes.saturating_sub(kept) / sharing.max(1);
                (fits && mine <= share) || mine <= self.bytes / FIRST_SPILLER
            }
        }
    }

    fn refused(&self, held: &Held, consumer: &MemoryConsumer, more: usize) -> DataFusionError {
        let text = |bytes: usize| units::bytes(bytes as u64);
        let mine = held.consumers.get(&consumer.id()).map_or(0, |consumer| consumer.bytes);
        let mut message = format!(
            "{} held {} and could not have {} more: the chamber has {}",
            plain(consumer.name()),
            text(mine),
            text(more),
            text(self.bytes)
        );
        let mut others: Vec<_> = held.consumers.iter().filter(|(id, c)| **id != consumer.id() && c.bytes > 0).collect();
        others.sort_by_key(|(_, consumer)| std::cmp::Reverse(consumer.bytes));
        let named = others.iter().take(OTHERS_NAMED).map(|(_, c)| format!("{} {}", plain(&c.name), text(c.bytes)));
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            message = format!("{message}, of which {}", named.join(", "));
        }
        DataFusionError::ResourcesExhausted(message)
    }
}

impl Held {
    fn add(&mut self, id: usize, more: usize) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.bytes += more;
        self.total += more;
        match consumer.kind {
            Kind::Spiller => {}
            Kind::Holder => self.fixed += more,
            Kind::Table => (self.fixed, self.tables) = (self.fixed + more, self.tables + more),
            Kind::Buffer => self.buffers += more,
        }
    }

    fn take(&mut self, id: usize, less: usize) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let less = less.min(consumer.bytes);
        consumer.bytes -= less;
        self.total -= less;
        match consumer.kind {
            Kind::Spiller => {}
            Kind::Holder => self.fixed -= less,
            Kind::Table => (self.fixed, self.tables) = (self.fixed - less, self.tables - less),
            Kind::Buffer => self.buffers -= less,
        }
    }
}

impl fmt::Display for ChamberPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chamber({})", units::bytes(self.bytes as u64))
    }
}

impl MemoryPool for ChamberPool {
    fn name(&self) -> &str {
        "chamber"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let known = Consumer { name: consumer.name().to_owned(), kind: Kind::of(consumer), bytes: 0 };
        self.held().consumers.insert(consumer.id(), known);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut held = self.held();
        held.take(consumer.id(), usize::MAX);
        held.consumers.remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held().add(reservation.consumer().id(), additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.held().take(reservation.consumer().id(), shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut held = self.held();
        let mine = held.consumers.get(&consumer.id()).map_or(0, |consumer| consumer.bytes);
        if !self.grants(&held, Kind::of(consumer), mine, additional) {
            return Err(self.refused(&held, consumer, additional));
        }
        held.add(consumer.id(), additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held().total
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

/// What people call the operator behind a consumer's name.
fn plain(name: &str) -> &str {
    const NAMES: [(&str, &str); 16] = [
        ("HashJoinInput", "the hash table of a join"),
        ("ExternalSorterMerge", "the merge of a sort"),
        ("ExternalSorter", "a sort"),
        ("SortPreservingMerge", "the merge of sorted rows"),
        ("RepartitionExec[Merge", "the merge of sorted rows"),
        ("RepartitionExec", "rows between two operators"),
        ("AggregateStream", "an aggregate"),
        ("TopK", "ORDER BY with LIMIT"),
        ("PartitionedTopK", "the first rows of each group"),
        ("NestedLoopJoin", "a join without equal keys"),
        ("CrossJoin", "a cross join"),
        ("SMJStream", "a merge join"),
        ("RecursiveQuery", "a recursive query"),
        ("ShuffleWriter", "rows for the next stage"),
        ("Window", "a window function"),
        ("ShuffleReader", "rows of the last stage"),
    ];
    let known = NAMES.iter().find(|(start, _)| name.starts_with(start)).map(|(_, words)| *words);
    let grouped = || name.contains("AggregateStream").then_some("GROUP BY");
    known.or_else(grouped).unwrap_or_else(|| name.split('[').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const KIB: usize = 1 << 10;

    fn pool() -> Arc<dyn MemoryPool> {
        Arc::new(ChamberPool::new(1024 * KIB))
    }

    fn spiller(pool: &Arc<dyn MemoryPool>, name: &str) -> MemoryReservation {
        MemoryConsumer::new(name).with_can_spill(true).register(pool)
    }

    #[test]
    fn who_spills_leaves_a_quarter_to_who_cannot() {
        let pool = pool();
        let sort = spiller(&pool, "ExternalSorter[0]");
        sort.try_grow(768 * KIB).unwrap();
        assert!(sort.try_grow(1).is_err());
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        merge.try_grow(256 * KIB).unwrap();
        assert_eq!(pool.reserved(), 1024 * KIB);
    }

    #[test]
    fn only_who_holds_something_counts_in_the_shares() {
        let pool = pool();
        let sorts: Vec<_> = (0..8).map(|n| spiller(&pool, &format!("ExternalSorter[{n}]"))).collect();
        sorts[0].try_grow(384 * KIB).unwrap();
        sorts[1].try_grow(384 * KIB).unwrap();
        assert!(sorts[0].try_grow(1).is_err(), "half of three quarters is held");
        sorts[1].free();
        sorts[0].try_grow(384 * KIB).unwrap();
    }

    #[test]
    fn nobody_fails_before_it_could_have_spilled() {
        let pool = pool();
        let table = MemoryConsumer::new("AggregateStream[0]").register(&pool);
        table.try_grow(1024 * KIB).unwrap();
        let sort = spiller(&pool, "ExternalSorter[0]");
        sort.try_grow(64 * KIB).unwrap();
        assert!(sort.try_grow(1).is_err());
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        merge.try_grow(16 * KIB).unwrap();
        assert!(merge.try_grow(1).is_err());
    }

    #[test]
    fn buffers_have_an_eighth_whatever_is_held() {
        let pool = pool();
        let table = MemoryConsumer::new("AggregateStream[0]").register(&pool);
        table.try_grow(1024 * KIB).unwrap();
        let buffers = [spiller(&pool, "RepartitionExec[0]"), spiller(&pool, "RepartitionExec[1]")];
        buffers[0].try_grow(100 * KIB).unwrap();
        assert!(buffers[1].try_grow(100 * KIB).is_err());
        drop(buffers);
        assert_eq!(pool.reserved(), 1024 * KIB);
    }

    #[test]
    fn hash_tables_leave_room_for_the_copy_of_their_rows() {
        let pool = pool();
        let tables = [0, 1].map(|n| MemoryConsumer::new(format!("HashJoinInput[{n}]")).register(&pool));
        tables[0].try_grow(500 * KIB).unwrap();
        tables[1].try_grow(268 * KIB).unwrap();
        assert!(tables[0].try_grow(1).is_err());
        drop(tables);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn an_error_names_the_operator_what_it_held_and_the_budget() {
        let pool = pool();
        let table = MemoryConsumer::new("HashJoinInput[1]").register(&pool);
        table.try_grow(700_000).unwrap();
        let groups = spiller(&pool, "FinalHashAggregateStream[0]");
        groups.try_grow(60_000).unwrap();
        let error = table.try_grow(100_000).unwrap_err();
        let DataFusionError::ResourcesExhausted(text) = error else { unreachable!("{error}") };
        assert_eq!(
            text,
            "the hash table of a join held 700 kB and could not have 100 kB more: the chamber has 1.0 MB, of which \
             GROUP BY 60.0 kB"
        );
    }

    #[test]
    fn what_is_unknown_keeps_its_name() {
        assert_eq!(plain("SomethingNew[3]"), "SomethingNew");
        assert_eq!(plain("ExternalSorterMerge[0]"), "the merge of a sort");
        assert_eq!(plain("PartialHashAggregateStream[7]"), "GROUP BY");
    }
}
