//! How many rows a plan gives, and how many different values its columns have.
//!
//! A frame's rows and ranges are the ledger's own and exact; what conditions leave of them is a guess (`selectivity`).
//! The number of different values of a column is bounded by its frame's rows and, for whole numbers and days, by the
//! width of their range: a key of 1 to 25 joins like the 25 rows that it names. Conditions leave that bound as it is,
//! so that a join with the filtered side of a key keeps the same share of rows.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
};

use datafusion::{
    common::{Column, JoinType},
    datasource::source_as_provider,
    execution::SessionState,
    logical_expr::{
        Aggregate, Distinct, Expr, FetchType, Join, LogicalPlan, Projection, SkipType, TableScan, expr::Alias,
        utils::split_conjunction,
    },
};

use super::selectivity;
use crate::table::{ColumnSpan, FrameSize, FrameTable};

/// Different values that a column of a grouping is taken to have, of so many rows one, where nothing is known.
const ROWS_PER_GROUP: f64 = 10.0;

/// What is known of one column.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnEstimate {
    /// The most different values that it can have, whatever the conditions; `None`: not known.
    pub(super) distinct: Option<f64>,
    /// Least and greatest value of what is read, where they are numbers, days or times.
    pub(super) range: Option<(f64, f64)>,
    /// The share of NULLs.
    pub(super) nulls: f64,
}

/// What is known of a plan's rows.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    pub(super) rows: f64,
    /// Rows before conditions.
    pub(super) base: f64,
    pub(super) columns: HashMap<Column, ColumnEstimate>,
}

impl Estimate {
    fn of_rows(rows: f64) -> Self {
        Self { rows, base: rows, columns: HashMap::new() }
    }

    /// The most different values of a column, if something is known of it.
    pub(super) fn known_domain(&self, column: &Column) -> Option<f64> {
        Some(self.columns.get(column)?.distinct.unwrap_or(self.base).max(1.0))
    }

    /// The most different values of a column: as many as rows where nothing is known.
    pub(super) fn domain(&self, column: &Column) -> f64 {
        self.known_domain(column).unwrap_or(self.base).max(1.0)
    }

    /// The same rows under other names, position by position.
    fn renamed(self, from: &[Column], to: Vec<Column>) -> Self {
        let columns = from.iter().zip(to).filter_map(|(from, to)| Some((to, self.columns.get(from)?.clone())));
        Self { columns: columns.collect(), ..self }
    }
}

/// Estimates plans over one state.
#[derive(Debug)]
pub(super) struct Estimator<'a> {
    state: &'a SessionState,
    /// The columns whose bounds matter.
    wanted: BTreeSet<String>,
    /// Sizes of frames under their filters.
    sizes: RefCell<HashMap<String, Option<FrameSize>>>,
}

impl<'a> Estimator<'a> {
    pub(super) fn new(state: &'a SessionState, wanted: BTreeSet<String>) -> Self {
        Self { state, wanted, sizes: RefCell::default() }
    }

    /// What `plan` gives; `None` if something in it is not known.
    pub(super) fn estimate(&self, plan: &LogicalPlan) -> Option<Estimate> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => {
                let input = self.estimate(&filter.input)?;
                let keeps = selectivity::of(&split_conjunction(&filter.predicate), &input);
                Some(Estimate { rows: (input.rows * keeps).max(1.0), ..input })
            }
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.estimate(&alias.input)?;
                Some(input.renamed(&alias.input.schema().columns(), alias.schema.columns()))
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.estimate(input)?;
                let columns = input.columns.values().map(|column| column.distinct.unwrap_or(input.rows));
                let rows = input.rows.min(columns.product::<f64>().max(1.0));
                Some(Estimate { rows, base: rows, ..input })
            }
            LogicalPlan::Limit(limit) => {
                let input = self.estimate(&limit.input)?;
                let fetch = match (limit.get_fetch_type().ok()?, limit.get_skip_type().ok()?) {
                    (FetchType::Literal(Some(fetch)), SkipType::Literal(_)) => fetch as f64,
                    _ => f64::INFINITY,
                };
                Some(Estimate { rows: input.rows.min(fetch), base: input.base.min(fetch), ..input })
            }
            LogicalPlan::Sort(sort) => self.estimate(&sort.input),
            LogicalPlan::Window(window) => self.estimate(&window.input),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.estimate(input)).collect::<Option<Vec<_>>>()?;
                Some(Estimate::of_rows(inputs.iter().map(|input| input.rows).sum()))
            }
            LogicalPlan::Values(values) => Some(Estimate::of_rows(values.values.len() as f64)),
            LogicalPlan::EmptyRelation(empty) => Some(Estimate::of_rows(f64::from(u8::from(empty.produce_one_row)))),
            _ => None,
        }
    }

    fn scan(&self, scan: &TableScan) -> Option<Estimate> {
        let key = format!("{} {:?}", scan.table_name, scan.filters);
        let known = self.sizes.borrow().get(&key).cloned();
        let size = known.unwrap_or_else(|| {
            let provider = source_as_provider(&scan.source).ok();
            let frame = provider.as_ref().and_then(|provider| provider.downcast_ref::<FrameTable>());
            let size = frame.and_then(|frame| frame.size(&scan.filters, &self.wanted, self.state).ok());
            self.sizes.borrow_mut().insert(key, size.clone());
            size
        })?;
        let column = |column: Column| {
            let ColumnSpan { distinct, range, nulls } = size.columns.get(&column.name)?.clone();
            Some((column, ColumnEstimate { distinct, range, nulls }))
        };
        let columns = scan.projected_schema.columns().into_iter().filter_map(column).collect();
        let fetched = scan.fetch.map_or(f64::INFINITY, |fetch| fetch as f64);
        Some(Estimate { rows: size.kept_rows.min(fetched).max(1.0), base: size.rows.max(1.0), columns })
    }

    fn projection(&self, projection: &Projection) -> Option<Estimate> {
        let input = self.estimate(&projection.input)?;
        let source = |expr: &Expr| match expr {
            Expr::Column(column) => input.columns.get(column).cloned(),
            Expr::Alias(Alias { expr, .. }) => match expr.as_ref() {
                Expr::Column(column) => input.columns.get(column).cloned(),
                _ => None,
            },
            _ => None,
        };
        let pairs = projection.expr.iter().zip(projection.schema.columns());
        let columns = pairs.filter_map(|(expr, column)| Some((column, source(expr)?))).collect();
        Some(Estimate { columns, ..input })
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Option<Estimate> {
        let input = self.estimate(&aggregate.input)?;
        let guess = (input.rows / ROWS_PER_GROUP).max(1.0);
        let distinct = |expr: &Expr| match expr {
            Expr::Column(column) => input.columns.get(column).and_then(|column| column.distinct).unwrap_or(guess),
            _ => guess,
        };
        let groups = aggregate.group_expr.iter().map(distinct).product::<f64>();
        let rows = groups.clamp(1.0, input.rows.max(1.0));
        let pairs = aggregate.group_expr.iter().zip(aggregate.schema.columns());
        let column = |(expr, column): (&Expr, Column)| match expr {
            Expr::Column(from) => Some((column, input.columns.get(from)?.clone())),
            _ => None,
        };
        let sets = matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)));
        let columns = if sets { HashMap::new() } else { pairs.filter_map(column).collect() };
        Some(Estimate { rows, base: rows, columns })
    }

    fn join(&self, join: &Join) -> Option<Estimate> {
        let (left, right) = (self.estimate(&join.left)?, self.estimate(&join.right)?);
        let domain = |(a, b): &(Expr, Expr)| match (a, b) {
            (Expr::Column(a), Expr::Column(b)) => left.domain(a).min(right.domain(b)),
            _ => left.base.min(right.base),
        };
        let domain = join.on.iter().map(domain).product::<f64>().min(left.base.min(right.base)).max(1.0);
        let filter: f64 = join.filter.iter().flat_map(split_conjunction).map(selectivity::between).product();
        let inner = (left.rows * right.rows / if join.on.is_empty() { 1.0 } else { domain } * filter).max(1.0);
        let rows = match join.join_type {
            JoinType::Inner => inner,
            JoinType::Left => inner.max(left.rows),
            JoinType::Right => inner.max(right.rows),
            JoinType::Full => inner.max(left.rows + right.rows),
            JoinType::LeftSemi | JoinType::LeftAnti => {
                left.rows * selectivity::semi(right.rows, domain, join.join_type)
            }
            JoinType::RightSemi | JoinType::RightAnti => {
                right.rows * selectivity::semi(left.rows, domain, join.join_type)
            }
            JoinType::LeftMark => left.rows,
            JoinType::RightMark => right.rows,
        };
        let columns = left.columns.into_iter().chain(right.columns);
        let there = columns.filter(|(column, _)| join.schema.has_column(column)).collect();
        Some(Estimate { rows, base: rows.max(left.base.min(right.base)), columns: there })
    }
}
