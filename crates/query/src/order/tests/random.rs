//! Random joins over frames, against DataFusion over the same rows in memory, which joins in the statement's order.

use std::sync::Arc;

use apiary_core::{Rng, SeededRng};
use datafusion::{
    arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datasource::MemTable,
    logical_expr::LogicalPlan,
    prelude::SessionContext,
};

use super::joins;
use crate::tests::kit::{Colony, lines, session};

const STATEMENTS: usize = 80;
/// Rows of the frames t0, t1, …
const ROWS: [i64; 5] = [3, 8, 20, 50, 120];
const VALUES: u64 = 25;

fn batch(rows: i64, rng: &SeededRng) -> RecordBatch {
    let of = |n: u64| i64::try_from(rng.below(n)).unwrap();
    let some = |value: i64| (rng.below(7) > 0).then_some(value);
    let float = || [Some(-0.0), Some(0.0), Some(f64::NAN), Some(1.5), None][usize::try_from(rng.below(5)).unwrap()];
    let text = || some(of(6)).map(|n| format!("s{n}"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new((0..rows).collect::<Int64Array>())),
        ("a", Arc::new((0..rows).map(|_| some(of(VALUES))).collect::<Int64Array>())),
        ("b", Arc::new((0..rows).map(|_| some(of(VALUES))).collect::<Int64Array>())),
        ("f", Arc::new((0..rows).map(|_| float()).collect::<Float64Array>())),
        ("s", Arc::new((0..rows).map(|_| text()).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

struct Maker<'a>(&'a SeededRng);

impl Maker<'_> {
    fn below(&self, n: usize) -> usize {
        usize::try_from(self.0.below(n as u64)).unwrap()
    }

    fn one<'b>(&self, of: &[&'b str]) -> &'b str {
        of[self.below(of.len())]
    }

    fn number(&self) -> &'static str {
        self.one(&["k", "a", "b"])
    }

    fn frame(&self) -> String {
        format!("t{}", self.below(ROWS.len()))
    }

    /// A condition that ties relation `i` to an earlier one.
    fn tie(&self, i: usize) -> String {
        let (j, x, y) = (self.below(i), self.number(), self.number());
        match self.below(14) {
            0 => format!("r{i}.{x} + 1 = r{j}.{y}"),
            1 => format!("r{i}.f = r{j}.f"),
            2 => format!("r{i}.s = r{j}.s AND r{i}.{x} = r{j}.{x}"),
            3 => format!("r{i}.{x} = r{j}.{y} AND r{i}.b < r{j}.b"),
            4 => format!("r{i}.{x} = r{j}.{y} AND r{i}.b = r{}.b", self.below(i)),
            5 => format!("r{i}.{x} = r{j}.{y} AND (r{i}.a = 3 OR r{j}.b > 5)"),
            6 if i > 1 => format!("r{i}.{x} + r{j}.{y} = r{}.k", self.below(i)),
            _ => format!("r{i}.{x} = r{j}.{y}"),
        }
    }

    fn filter(&self, i: usize) -> String {
        let (x, n) = (self.number(), self.below(25));
        match self.below(10) {
            0 => format!("r{i}.{x} < {n}"),
            1 => format!("r{i}.s LIKE 's{}%'", n % 6),
            2 => format!("r{i}.{x} IS NOT NULL"),
            3 => format!("r{i}.{x} IN ({n}, 1, 2, 3, 4)"),
            4 | 5 => {
                let not = self.one(&["", "NOT "]);
                let more = match self.below(3) {
                    0 => format!(" AND x.b <> r{i}.b"),
                    1 => " AND x.k > 2".to_owned(),
                    _ => String::new(),
                };
                format!("{not}EXISTS (SELECT 1 FROM {} x WHERE x.{} = r{i}.{x}{more})", self.frame(), self.number())
            }
            6 => format!("r{i}.{x} IN (SELECT {} FROM {})", self.number(), self.frame()),
            7 => format!("r{i}.k NOT IN (SELECT a FROM {} WHERE k < {})", self.frame(), n % 4),
            8 => format!("r{i}.{x} >= (SELECT min(b) FROM {} y WHERE y.a = r{i}.a)", self.frame()),
            _ => format!("r{i}.k BETWEEN {} AND 100", n % 7),
        }
    }

    fn statement(&self) -> String {
        let count = 3 + self.below(4);
        let commas = self.below(2) == 0;
        let (mut from, mut conditions) = (format!("{} r0", self.frame()), Vec::new());
        for i in 1..count {
            let relation = match self.below(6) {
                0 => format!(
                    "(SELECT a AS k, max(k) AS a, count(*) AS b, min(f) AS f, max(s) AS s FROM {} GROUP BY a)",
                    self.frame()
                ),
                1 => format!(
                    "(SELECT x.k, y.a, x.b, y.f, x.s FROM {} x JOIN {} y ON x.a = y.k JOIN {} z ON z.k = y.b)",
                    self.frame(),
                    self.frame(),
                    self.frame()
                ),
                _ => self.frame(),
            };
            if commas {
                from += &format!(", {relation} r{i}");
                conditions.push(self.tie(i));
            } else {
                let kind = self.one(&["JOIN", "JOIN", "JOIN", "JOIN", "LEFT JOIN", "FULL JOIN"]);
                // A full join wants an equality.
                let tie = if kind == "FULL JOIN" { format!("r{i}.a = r{}.k", self.below(i)) } else { self.tie(i) };
                from += &format!(" {kind} {relation} r{i} ON {tie}");
            }
        }
        conditions.extend((0..self.below(3)).map(|_| self.filter(self.below(count))));
        let columns: Vec<String> =
            (0..count).map(|i| format!("r{i}.{} AS c{i}", self.one(&["k", "a", "b", "s"]))).collect();
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("SELECT {} FROM {from}{filter}", columns.join(", "))
    }
}

impl Maker<'_> {
    /// A frame, joined with a grouping of a larger one by its keys, in one of many ways.
    fn grouped(&self) -> String {
        let (small, key) = (format!("t{}", 1 + self.below(3)), self.number());
        let by = self.one(&["a", "a", "b, a", "k", "a, s"]);
        let having = self.one(&["", "", " HAVING count(*) > 1", " HAVING max(b) IS NOT NULL"]);
        let filter = match self.below(5) {
            0 => format!("r0.k = {}", self.below(6)),
            1 => format!("r0.s = 's{}'", self.below(6)),
            2 => format!("r0.k < {} AND r0.a IS NOT NULL", self.below(5)),
            3 => format!("r0.k IN ({}, {})", self.below(9), self.below(9)),
            _ => format!("r0.{} < 3", self.number()),
        };
        let group = format!("SELECT {by}, count(*) AS n, sum(b) AS m FROM t4 GROUP BY {by}{having}");
        let on = if by == "k" { "k" } else { "a" };
        let less = self.one(&["", " AND g.n > r0.b", " AND g.m < 40"]);
        match self.below(9) {
            0 => format!("SELECT r0.*, g.* FROM {small} r0 JOIN ({group}) g ON g.{on} = r0.{key}{less} WHERE {filter}"),
            1 => format!(
                "SELECT r0.*, g.* FROM {small} r0 LEFT JOIN ({group}) g ON g.{on} = r0.{key}{less} WHERE {filter}"
            ),
            2 => format!("SELECT r0.*, g.* FROM ({group}) g LEFT JOIN {small} r0 ON g.{on} = r0.{key} AND {filter}"),
            3 => format!("SELECT r0.*, g.* FROM ({group}) g FULL JOIN {small} r0 ON g.{on} = r0.{key} AND {filter}"),
            4 => format!("SELECT r0.* FROM {small} r0 WHERE {filter} AND r0.{key} IN (SELECT {on} FROM ({group}) g)"),
            5 => {
                format!("SELECT r0.* FROM {small} r0 WHERE {filter} AND r0.{key} NOT IN (SELECT {on} FROM ({group}) g)")
            }
            6 => format!(
                "SELECT r0.* FROM {small} r0 WHERE {filter} AND NOT EXISTS (SELECT 1 FROM ({group}) g WHERE g.{on} = r0.{key})"
            ),
            7 => format!(
                "SELECT r0.k, r1.k FROM {small} r0 JOIN t4 r1 ON r0.{key} = r1.a WHERE {filter} AND r1.b > (SELECT avg(b) FROM t4 x WHERE x.{on} = r1.{on})"
            ),
            _ => format!(
                "SELECT r0.k, r0.b, (SELECT sum(b) FROM t4 x WHERE x.a = r0.{key}) FROM {small} r0 WHERE {filter}"
            ),
        }
    }
}

async fn both() -> (Colony, SessionContext) {
    let rng = SeededRng::new(11);
    let (colony, plain) = (Colony::new(), SessionContext::new());
    for (number, rows) in ROWS.into_iter().enumerate() {
        let batch = batch(rows, &rng);
        colony.frame(&format!("h.b.t{number}"), &[], std::slice::from_ref(&batch)).await;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        plain.register_table(format!("t{number}"), Arc::new(table)).unwrap();
    }
    (colony, plain)
}

/// Rows and plan in the statement's own order; `None` where DataFusion cannot do it.
async fn plainly(plain: &SessionContext, sql: &str) -> Option<(Vec<String>, LogicalPlan)> {
    let frame = plain.sql(sql).await.ok()?;
    let plan = frame.clone().into_optimized_plan().ok()?;
    Some((lines(&frame.collect().await.ok()?), plan))
}

#[tokio::test]
async fn groups_that_are_not_made_are_not_missed() {
    let (colony, plain) = both().await;
    let rng = SeededRng::new(31);
    let (mut asked, mut reduced, mut rows) = (0, 0, 0);
    for _ in 0..4 * STATEMENTS {
        let sql = Maker(&rng).grouped();
        let Some((truth, _)) = plainly(&plain, &sql).await else { continue };
        let (planned, batches) =
            colony.ask(&sql, &session("h", "b")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(lines(&batches), truth, "{sql}\n{}", planned.logical.display_indent());
        asked += 1;
        reduced += usize::from(planned.logical.display_indent().to_string().contains("__keys"));
        rows += truth.len();
    }
    assert!(asked * 10 > STATEMENTS * 36, "only {asked} statements could be judged");
    assert!(reduced * 5 > asked && rows > asked, "{reduced} of {asked} plans reduced, {rows} rows: it has no teeth");
}

#[tokio::test]
async fn joins_in_another_order_give_the_same_rows() {
    let (colony, plain) = both().await;
    let rng = SeededRng::new(23);
    let (mut asked, mut moved, mut rows) = (0, 0, 0);
    for _ in 0..STATEMENTS {
        let sql = Maker(&rng).statement();
        let Some((truth, plan)) = plainly(&plain, &sql).await else { continue };
        let (planned, batches) =
            colony.ask(&sql, &session("h", "b")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let told = lines(&batches);
        assert!(
            told == truth,
            "{sql}\n{} rows, and truly {}\n{}",
            told.len(),
            truth.len(),
            planned.logical.display_indent()
        );
        asked += 1;
        moved += usize::from(joins(&planned.logical) != joins(&plan));
        rows += truth.len();
    }
    assert!(asked * 10 > STATEMENTS * 9, "only {asked} of {STATEMENTS} statements could be judged");
    assert!(moved * 3 > asked && rows > asked, "{moved} of {asked} plans moved, {rows} rows: the test has no teeth");
}
