//! Every field of the matrix of conflicts, in both orders, over a store that answers clearly and over stores that do
//! not, whether the winner was there before or came after the loser's put was sent; and what is in the frame afterwards, compared with one transaction after the other.

use bytes::Bytes;

use super::{
    lab::{Effect, Lab, Rows, partition, schema, word},
    *,
};
use crate::Scope;

/// One transaction of the table, by name, made against `base`; and what it does to rows.
fn make_one(lab: &Lab, name: &str, id: TxnId, base: &Snapshot) -> (Transaction, Effect) {
    let row = |p: &'static str| (p, u64::from_le_bytes(id.uuid().as_bytes()[8..].try_into().unwrap()));
    let (a, b) = (row("a"), row("b"));
    let cell = |row, nulls| vec![lab.cell(id, 0, &vec![row], nulls)];
    let part = |p: &str| Scope::Partitions(vec![partition(p)]);
    match name {
        "append a" => (lab.append(id, a), Effect::Add(a)),
        "append b" => (lab.append(id, b), Effect::Add(b)),
        "append null" => (Transaction::append(id, "n", cell(a, 1)), Effect::Add(a)),
        "append from a" => (Transaction::append_from(id, "n", cell(b, 0), part("a")), Effect::Add(b)),
        "overwrite all" => (Transaction::overwrite(id, "n", cell(a, 0), Scope::All), Effect::Replace(None, a)),
        "overwrite a" => (Transaction::overwrite(id, "n", cell(a, 0), part("a")), Effect::Replace(Some("a"), a)),
        "overwrite at" => {
            let txn = Transaction::overwrite(id, "n", cell(a, 0), Scope::All).expecting(Some(base.version));
            (txn, Effect::Replace(None, a))
        }
        "rewrite a" => (lab.delete(id, base, ("a", 1)), Effect::Delete(("a", 1))),
        "rewrite b" => (lab.delete(id, base, ("b", 3)), Effect::Delete(("b", 3))),
        "compact a" => (lab.compact(id, base, "a").unwrap(), Effect::Nothing),
        "schema +" => (Transaction::schema(id, "n", schema(true, false)), Effect::Nothing),
        "schema -" => (Transaction::schema(id, "n", schema(false, true)), Effect::Nothing),
        "properties" => {
            let set = BTreeMap::from([("owner".to_owned(), Some(id.to_string()))]);
            (Transaction::properties(id, "n", set), Effect::Nothing)
        }
        "drop" => (Transaction::drop_frame(id, "n"), Effect::Nothing),
        "vacuum" => (Transaction::vacuum(id, "n", vec![super::id(999)]), Effect::Nothing),
        other => panic!("{other}"),
    }
}

const FIRST: [&str; 14] = [
    "append a",
    "append b",
    "append null",
    "overwrite all",
    "overwrite a",
    "rewrite a",
    "rewrite b",
    "compact a",
    "schema +",
    "schema -",
    "properties",
    "drop",
    "vacuum",
    "append from a",
];

/// Mine, and what it is told after each of [`FIRST`]: c(ommit), f(ail), r(erun), d(ropped).
const TABLE: [(&str, &str); 15] = [
    ("append a", "ccccccccccc d c c"),
    ("append b", "ccccccccccc d c c"),
    ("append null", "ccccccccc f c d c c"),
    ("append from a", "fcffffccc f c d c c"),
    ("overwrite all", "ccccccccc f c d c c"),
    ("overwrite a", "ccccccccc f c d c c"),
    ("overwrite at", "fffffff c c f c d c f"),
    ("rewrite a", "rcrrrrcr c f c d c c"),
    ("rewrite b", "crcrccrc c f c d c r"),
    ("compact a", "cccfffcf c c c d c c"),
    ("schema +", "cccccccc f f c d c c"),
    ("schema -", "ccfccccc f f c d c c"),
    ("properties", "cccccccc c f c d c c"),
    ("drop", "cccccccc c c c d c c"),
    ("vacuum", "cccccccc c c c d c c"),
];

/// A frame with two cells in one partition. Made once; each field begins with a copy.
struct Start {
    store: Faulty,
    lab: Lab,
    base: Arc<Snapshot>,
}

impl Start {
    async fn new() -> Self {
        let store = Faulty::default();
        let lab = Lab::new(over(&store)).await;
        for (n, row) in [(1, ("a", 1)), (2, ("a", 2))] {
            let base = lab.frames.snapshot(&lab.frame).await.unwrap();
            lab.commit(&base, lab.append(id(n), row)).await.unwrap();
        }
        let base = lab.frames.snapshot(&lab.frame).await.unwrap();
        Self { store, lab, base }
    }

    /// A copy with a cell in the other partition, too. Who wrote that goes straight for the next slot.
    async fn field(&self) -> Field {
        let store = self.store.copy();
        let lab = self.lab.over_copy(over(&store));
        lab.commit(&self.base, lab.append(id(3), ("b", 3))).await.unwrap();
        let base = lab.frames.snapshot(&lab.frame).await.unwrap();
        let rows = lab.rows_in(&base, None);
        Field { store, lab, base, rows }
    }
}

/// One field of the table.
struct Field {
    store: Faulty,
    lab: Lab,
    base: Arc<Snapshot>,
    /// What must be there.
    rows: Rows,
}

impl Field {
    /// Another process has won; the entry that it wrote.
    async fn after(start: &Start, first: &str) -> (Self, Bytes) {
        let mut field = start.field().await;
        let theirs = field.first(first);
        let (frames, base) = (Frames::new(over(&field.store)), Arc::clone(&field.base));
        let told = frames.commit(&field.lab.frame, base, theirs).await;
        assert_eq!(word(&told), "commit", "{first}: {told:?}");
        let wrote = field.store.sent().pop().unwrap();
        (field, wrote)
    }

    /// What wins, with this entry, waits until mine sends its put.
    async fn overtaken_by(start: &Start, first: &str, entry: &Bytes) -> Self {
        let mut field = start.field().await;
        field.first(first);
        field.store.rival(entry.clone());
        field
    }

    fn first(&mut self, name: &str) -> Transaction {
        let (theirs, effect) = make_one(&self.lab, name, id(10), &self.base);
        effect.apply(&mut self.rows);
        theirs
    }

    async fn check(self, (first, mine, wanted): (&str, &str, char), faults: &[Fault]) {
        let Self { store, lab, base, mut rows } = self;
        let (txn, effect) = make_one(&lab, mine, id(20), &base);
        store.script(faults.to_vec());
        let overtaken = store.rival_waits();
        let told = lab.commit(&base, txn.clone()).await;
        let what = format!("{mine} after {first}, {faults:?}: {told:?}");
        assert_eq!(word(&told).chars().next(), Some(wanted), "{what}");
        assert!(!store.rival_waits(), "{what}");
        if wanted == 'c' {
            effect.apply(&mut rows);
            let lost_one = CommitOutcome::Committed { version: Version(5), retries: 1 };
            assert!(!overtaken || told.is_ok_and(|told| told == lost_one), "{what}");
        }
        assert_eq!(store.release_lost().await, 0, "{what}");
        if [first, mine].contains(&"drop") && (first == "drop" || wanted == 'c') {
            assert!(matches!(lab.cold().await, Err(LedgerError::Dropped { .. })), "{what}");
            return;
        }
        for snapshot in [lab.cold().await.unwrap(), lab.frames.snapshot(&lab.frame).await.unwrap()] {
            assert_eq!(lab.rows_in(&snapshot, None), rows, "{what}");
            let changed = |name: &str| first == name || (mine == name && wanted == 'c');
            assert_eq!(snapshot.schema, schema(changed("schema +"), changed("schema -")), "{what}");
            let owner = snapshot.about.metadata.configuration.get("owner");
            assert_eq!(owner.is_some(), changed("properties"), "{what}");
        }
        // Whoever comes back with the same transaction is told the same, and nothing more is sent.
        if wanted == 'c' {
            let sent = store.sent().len();
            assert!(matches!(lab.commit(&base, txn).await, Ok(CommitOutcome::Committed { .. })), "{what}");
            assert_eq!(store.sent().len(), sent, "{what}");
        }
    }
}

/// Every field: what came first, mine, and what mine is told.
fn fields() -> Vec<(&'static str, &'static str, char)> {
    let mut fields = Vec::new();
    for (mine, wanted) in TABLE {
        let wanted: Vec<char> = wanted.chars().filter(|c| *c != ' ').collect();
        assert_eq!(wanted.len(), FIRST.len(), "{mine}");
        fields.extend(FIRST.into_iter().zip(wanted).map(|(first, wanted)| (first, mine, wanted)));
    }
    fields
}

#[tokio::test]
async fn every_field_of_the_matrix_holds_whatever_the_store_answers() {
    let stores: [&[Fault]; 6] = [
        &[],
        &[Fault::AppliedThenError],
        &[Fault::AppliedThenExists],
        &[Fault::BareConflict],
        &[Fault::Lost],
        &[Fault::Lost, Fault::BareConflict, Fault::AppliedThenError],
    ];
    let start = Start::new().await;
    for field in fields() {
        // Who fails never gets to a put.
        for faults in stores.into_iter().take(if field.2 == 'c' { stores.len() } else { 1 }) {
            Field::after(&start, field.0).await.0.check(field, faults).await;
        }
    }
}

/// Mine finds its slot free and sends its put; the winner comes before the answer, or after the first of two.
#[tokio::test]
async fn every_field_of_the_matrix_holds_when_the_winner_comes_after_my_put_was_sent() {
    let stores: [&[Fault]; 4] = [
        &[Fault::RivalThenLost],
        &[Fault::RivalThenConflict],
        &[Fault::Lost, Fault::RivalThenConflict],
        &[Fault::BareConflict, Fault::RivalThenSilence],
    ];
    let start = Start::new().await;
    let mut entries = BTreeMap::new();
    for first in FIRST {
        entries.insert(first, Field::after(&start, first).await.1);
    }
    for field in fields() {
        for faults in stores {
            Field::overtaken_by(&start, field.0, &entries[field.0]).await.check(field, faults).await;
        }
    }
}

#[tokio::test]
async fn who_is_doomed_is_aborted_whatever_it_does() {
    for (mine, _) in TABLE {
        let lab = Lab::new(Bucket::in_memory()).await;
        for (n, row) in [(1, ("a", 1)), (2, ("a", 2)), (3, ("b", 3))] {
            let base = lab.frames.snapshot(&lab.frame).await.unwrap();
            lab.commit(&base, lab.append(id(n), row)).await.unwrap();
        }
        let base = lab.frames.snapshot(&lab.frame).await.unwrap();
        let other = Frames::new(lab.bucket.clone());
        let doom = Transaction::vacuum(id(10), "n", vec![id(20)]);
        other.commit(&lab.frame, Arc::clone(&base), doom).await.unwrap();
        let (txn, _) = make_one(&lab, mine, id(20), &base);
        assert_eq!(word(&lab.commit(&base, txn).await), "abort", "{mine}");
    }
}

#[tokio::test]
async fn a_store_that_never_decides_aborts_every_kind_and_its_late_puts_lose() {
    let start = Start::new().await;
    for (mine, _) in TABLE {
        let Field { store, lab, base, rows } = Field::after(&start, "vacuum").await.0;
        let (txn, _) = make_one(&lab, mine, id(20), &base);
        // One for the slot that the last writer goes straight for, or for the first seal.
        store.script(vec![Fault::Lost; 13]);
        assert_eq!(word(&lab.commit(&base, txn).await), "abort", "{mine}");
        store.release_lost().await;
        assert_eq!(lab.rows_in(&lab.cold().await.unwrap(), None), rows, "{mine}");
    }
}

#[tokio::test]
async fn a_rewrite_is_told_which_cells_to_run_again_and_comes_back_with_the_rest_done() {
    let Field { lab, base, .. } = Field::after(&Start::new().await, "compact a").await.0;
    let mut txn = lab.delete(id(20), &base, ("a", 1));
    let merged = CellId { txn: id(10), n: 0 }.path();
    let told = lab.commit(&base, txn.clone()).await.unwrap();
    let gone = txn.removes.clone();
    assert_eq!(told, CommitOutcome::Rerun { version: Version(4), cells: vec![merged.clone()], gone });
    assert!(!told.cells_are_garbage());
    // Meanwhile a row comes; it is in the scope, too, and the merged cell is still the one to do.
    let other = Frames::new(lab.bucket.clone());
    other.commit(&lab.frame, Arc::clone(&base), lab.append(id(11), ("a", 7))).await.unwrap();
    let base = lab.frames.snapshot(&lab.frame).await.unwrap();
    txn = lab.delete(id(20), &base, ("a", 1));
    assert_eq!(txn.removes, [merged]);
    assert_eq!(word(&lab.commit(&base, txn).await), "commit");
    assert_eq!(lab.rows_in(&lab.cold().await.unwrap(), None), [("a", 2), ("a", 7), ("b", 3)]);
}

#[tokio::test]
async fn a_rewrite_follows_its_cells_through_two_compactions_and_an_append() {
    let Field { lab, base, .. } = Field::after(&Start::new().await, "compact a").await.0;
    let other = Frames::new(lab.bucket.clone());
    let middle = other.snapshot(&lab.frame).await.unwrap();
    other.commit(&lab.frame, middle, lab.append(id(11), ("a", 7))).await.unwrap();
    let middle = other.snapshot(&lab.frame).await.unwrap();
    other.commit(&lab.frame, Arc::clone(&middle), lab.compact(id(12), &middle, "a").unwrap()).await.unwrap();
    let told = lab.commit(&base, lab.delete(id(20), &base, ("a", 1))).await.unwrap();
    let CommitOutcome::Rerun { version, cells, gone } = told else { panic!("{told:?}") };
    assert_eq!((version, gone.len()), (Version(6), 1));
    // What was fresh and was merged again is not named any more: only what is there now.
    assert_eq!(cells, [CellId { txn: id(12), n: 0 }.path()]);
}

/// Transactions of every kind against bases of every age: the rows are those of one after the other, in the order of
/// the log, and what an append had read was still so when it was committed.
#[tokio::test]
async fn any_interleaving_is_some_serial_order() {
    let names = ["append a", "append b", "append from a", "overwrite all", "overwrite a", "compact a", "delete"];
    let mut told = BTreeMap::<&str, u32>::new();
    for seed in 0..40 {
        let rng = SeededRng::new(seed);
        let lab = Lab::new(Bucket::in_memory()).await;
        let mut bases = vec![lab.frames.snapshot(&lab.frame).await.unwrap()];
        let mut rows = Rows::new();
        for n in 0..25 {
            let pick = |rng: &SeededRng, len: usize| usize::try_from(apiary_core::Rng::below(rng, len as u64)).unwrap();
            let base = Arc::clone(&bases[bases.len() - 1 - pick(&rng, bases.len().min(4))]);
            let (name, id) = (names[pick(&rng, names.len())], id(seed * 1000 + n));
            let there = lab.rows_in(&base, None);
            let (txn, effect) = match name {
                "delete" if there.is_empty() => continue,
                "delete" => {
                    let row = there[pick(&rng, there.len())];
                    (lab.delete(id, &base, row), Effect::Delete(row))
                }
                "compact a" => match lab.compact(id, &base, "a") {
                    Some(txn) => (txn, Effect::Nothing),
                    None => continue,
                },
                name => make_one(&lab, name, id, &base),
            };
            // Half of them from another process.
            let frames = if pick(&rng, 2) == 0 { lab.frames.clone() } else { Frames::new(lab.bucket.clone()) };
            let outcome = frames.commit(&lab.frame, Arc::clone(&base), txn).await;
            *told.entry(word(&outcome)).or_default() += 1;
            let newest = lab.cold().await.unwrap();
            if let Ok(CommitOutcome::Committed { version, .. }) = outcome {
                assert_eq!(version, newest.version);
                if name == "append from a" {
                    let read = |rows: &Rows| rows.iter().filter(|(p, _)| *p == "a").copied().collect::<Rows>();
                    assert_eq!(read(&there), read(&rows), "seed {seed}, {n}: {name}");
                }
                effect.apply(&mut rows);
            }
            assert_eq!(lab.rows_in(&newest, None), rows, "seed {seed}, {n}: {name} {outcome:?}");
            bases.push(newest);
        }
    }
    assert!(told["commit"] > 300 && told["fail"] > 20 && told["rerun"] > 10, "{told:?}");
}
