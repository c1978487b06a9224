//! A stage as people read it.
//!
//! Display only: what runs is the plan. A chain of scan, filter, projection, aggregate, sort and limit is shown as
//! SQL; everything else as one line that names its operators from the input upwards. Inputs from other stages are
//! shown as `stage_3`. A fragment over cells that says all of what its plan does is *exact*: run over a task's cells,
//! it gives the task's rows, partial states and all (`avg` gives on a count and a sum).

mod expr;

use datafusion::{
    arrow::compute::SortOptions,
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_expr::aggregate::AggregateFunctionExpr,
    physical_plan::{
        ExecutionPlan, PhysicalExpr,
        aggregates::{AggregateExec, AggregateMode},
        filter::FilterExec,
        limit::{GlobalLimitExec, LocalLimitExec},
        projection::ProjectionExec,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
    },
};

use ballista_core::execution_plans::{ShuffleWriterExec, SortShuffleWriterExec, UnresolvedShuffleExec};

/// Longest text of one fragment in bytes; people stop reading long before.
const TEXT_BYTES_MAX: usize = 2000;

/// Frames by the folder that their cells lie in.
#[derive(Debug, Clone, Default)]
pub struct FrameNames(Vec<(String, String)>);

impl FrameNames {
    /// Names by folder.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    fn of(&self, path: &str) -> String {
        let found = self.0.iter().find(|(folder, _)| path.starts_with(folder.trim_matches('/')));
        found.map_or_else(|| "cells".to_owned(), |(_, name)| name.clone())
    }
}

/// The SQL of the work under a stage's writer, if there is one that says all of it.
#[cfg(test)]
pub(crate) fn exact(plan: &dyn ExecutionPlan, names: &FrameNames) -> Option<String> {
    select(plan, names).filter(|select| select.exact).map(|select| select.to_string())
}

/// The stage whose root is `plan`, for people.
#[must_use]
pub(crate) fn describe(plan: &std::sync::Arc<dyn ExecutionPlan>, names: &FrameNames) -> String {
    let children = plan.children();
    let (body, tail) = match children.first() {
        Some(child) if plan.is::<ShuffleWriterExec>() => (child.as_ref(), String::new()),
        Some(child) => match plan.downcast_ref::<SortShuffleWriterExec>() {
            Some(writer) => (child.as_ref(), format!("  -- distribute by {}", writer.shuffle_output_partitioning())),
            None => (plan.as_ref(), String::new()),
        },
        None => (plan.as_ref(), String::new()),
    };
    let text = select(body, names).map_or_else(|| operators(body, names), |select| select.to_string());
    let mut text = text + &tail;
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// A SELECT under construction, clauses in the order in which SQL applies them.
#[derive(Debug, Default)]
struct Select {
    from: String,
    columns: Vec<String>,
    filters: Vec<String>,
    group: Vec<String>,
    aggregated: bool,
    order: Vec<String>,
    limit: Option<usize>,
    /// Whether the text says all that the plan does.
    exact: bool,
}

impl std::fmt::Display for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = if self.columns.is_empty() { "1".to_owned() } else { apart(&self.columns).join(", ") };
        write!(f, "SELECT {columns} FROM {}", self.from)?;
        let clause = |f: &mut std::fmt::Formatter<'_>, word: &str, parts: &[String], by: &str| {
            if parts.is_empty() { Ok(()) } else { write!(f, " {word} {}", parts.join(by)) }
        };
        clause(f, "WHERE", &self.filters, " AND ")?;
        clause(f, "GROUP BY", &self.group, ", ")?;
        clause(f, "ORDER BY", &self.order, ", ")?;
        self.limit.map_or(Ok(()), |limit| write!(f, " LIMIT {limit}"))
    }
}

/// Columns of which no two have the same name, as SQL wants them.
fn apart(columns: &[String]) -> Vec<String> {
    let again = |(at, column): (usize, &String)| match columns[..at].contains(column) {
        true => format!("{} AS column_{}", expr::base(column), at + 1),
        false => column.clone(),
    };
    columns.iter().enumerate().map(again).collect()
}

impl Select {
    /// What an expression over the columns so far says; a column stands for what it was computed from.
    fn say(&mut self, expr: &dyn PhysicalExpr) -> String {
        expr::say(expr, &self.columns).unwrap_or_else(|| {
            self.exact = false;
            datafusion::physical_expr_common::physical_expr::fmt_sql(expr).to_string()
        })
    }

    fn is_plain(&self) -> bool {
        !self.aggregated && self.limit.is_none()
    }
}

fn field_names(plan: &dyn ExecutionPlan) -> Vec<String> {
    plan.schema().fields().iter().map(|field| expr::name(field.name())).collect()
}

/// `plan` as one SELECT, if it is a chain that has one.
fn select(plan: &dyn ExecutionPlan, names: &FrameNames) -> Option<Select> {
    if let Some(from) = leaf_name(plan, names) {
        return Some(scanned(Select { from, columns: field_names(plan), ..Select::default() }, plan));
    }
    let [input] = plan.children()[..] else { return None };
    let mut inner = select(input.as_ref(), names)?;
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return filtered(inner, filter);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Some(projected(inner, projection));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregated(inner, aggregate);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        // Rows that a limit has chosen are sorted afterwards: that is another SELECT around this one.
        inner.exact &= inner.limit.is_none();
        let order = sort.expr().iter().map(|by| inner.say(by.expr.as_ref()) + direction(by.options)).collect();
        return Some(Select { order, limit: sort.fetch().or(inner.limit), ..inner });
    }
    if plan.is::<SortPreservingMergeExec>() || plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>() {
        inner.exact &= plan.downcast_ref::<GlobalLimitExec>().is_none_or(|limit| limit.skip() == 0);
        let limit = [plan.fetch(), inner.limit].into_iter().flatten().min();
        return Some(Select { limit, ..inner });
    }
    let transparent = ["CoalescePartitionsExec", "RepartitionExec", "CooperativeExec", "CoalesceBatchesExec"];
    transparent.contains(&plan.name()).then_some(inner)
}

/// SQL's own order of NULLs is last, and first for DESC.
fn direction(options: SortOptions) -> &'static str {
    match (options.descending, options.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    }
}

fn leaf_name(plan: &dyn ExecutionPlan, names: &FrameNames) -> Option<String> {
    if let Some(input) = plan.downcast_ref::<UnresolvedShuffleExec>() {
        return Some(format!("stage_{}", input.stage_id));
    }
    let source: &dyn std::any::Any = plan.downcast_ref::<DataSourceExec>()?.data_source().as_ref();
    let first = source.downcast_ref::<FileScanConfig>()?.file_groups.iter().flat_map(|group| group.iter()).next();
    Some(first.map_or_else(|| "nothing".to_owned(), |file| names.of(file.object_meta.location.as_ref())))
}

/// What a leaf does besides reading: it may filter and stop early. Only a scan of cells can be exact.
fn scanned(mut select: Select, plan: &dyn ExecutionPlan) -> Select {
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let config = source.and_then(|source| {
        let source: &dyn std::any::Any = source.as_ref();
        source.downcast_ref::<FileScanConfig>()
    });
    let Some(config) = config else { return select };
    let known = config.file_schema();
    let plain = plan.schema().fields().iter().all(|field| known.field_with_name(field.name()).is_ok());
    select.exact = plain && !select.columns.is_empty();
    select.limit = config.limit;
    if let Some(filter) = config.file_source().filter() {
        // It speaks of the file's columns, not of those that the scan gives on.
        match expr::say(filter.as_ref(), &[]) {
            Some(text) => select.filters.push(text),
            None => select.exact = false,
        }
    }
    select
}

fn filtered(mut inner: Select, filter: &FilterExec) -> Option<Select> {
    if !inner.is_plain() {
        return None;
    }
    let text = inner.say(filter.predicate().as_ref());
    if !inner.filters.contains(&text) {
        inner.filters.push(text);
    }
    if let Some(kept) = filter.projection() {
        inner.columns = kept.iter().filter_map(|index| inner.columns.get(*index).cloned()).collect();
        inner.exact &= !inner.columns.is_empty();
    }
    inner.limit = filter.fetch();
    Some(inner)
}

fn projected(mut inner: Select, projection: &ProjectionExec) -> Select {
    let column = |expr: &datafusion::physical_plan::projection::ProjectionExpr| {
        let (text, alias) = (inner.say(expr.expr.as_ref()), expr::name(&expr.alias));
        if text == alias { text } else { format!("{text} AS {alias}") }
    };
    let columns: Vec<String> = projection.expr().iter().map(column).collect();
    inner.exact &= !columns.is_empty();
    Select { columns, ..inner }
}

fn aggregated(mut inner: Select, aggregate: &AggregateExec) -> Option<Select> {
    if aggregate.group_expr().has_grouping_set() || inner.limit.is_some() {
        return None;
    }
    // Partial states of an earlier stage are merged: the group stays what it was, the functions too.
    let merges = matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    if inner.aggregated && !merges {
        return None;
    }
    inner.exact &= !merges;
    let group: Vec<String> = aggregate.group_expr().expr().iter().map(|(expr, _)| inner.say(expr.as_ref())).collect();
    let mut columns = group.clone();
    for (function, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let filter = filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", inner.say(filter.as_ref())));
        let filter = filter.unwrap_or_default();
        match states(&mut inner, function, *aggregate.mode() == AggregateMode::Partial).filter(|_| !merges) {
            Some(states) => columns.extend(states.into_iter().map(|state| state + &filter)),
            None => {
                inner.exact = false;
                columns.push(function.name().to_owned());
            }
        }
    }
    inner.exact &= !columns.is_empty();
    Some(Select { columns, group, aggregated: true, ..inner })
}

/// What a function gives on, as SQL: its answer, or the parts of which a later stage makes it.
fn states(inner: &mut Select, function: &AggregateFunctionExpr, partial: bool) -> Option<Vec<String>> {
    if !function.order_bys().is_empty() || function.ignore_nulls() || (partial && function.is_distinct()) {
        return None;
    }
    let args: Vec<String> = function.expressions().iter().map(|arg| inner.say(arg.as_ref())).collect();
    let distinct = if function.is_distinct() { "DISTINCT " } else { "" };
    let call = |name: &str| format!("{name}({distinct}{})", args.join(", "));
    match (function.fun().name(), partial) {
        ("avg", true) => Some(vec![call("count"), call("sum")]),
        ("sum" | "count" | "min" | "max" | "bool_and" | "bool_or", _) | ("avg", false) => {
            Some(vec![call(function.fun().name())])
        }
        _ => None,
    }
}

/// The operators of `plan` in one line, inputs first.
fn operators(plan: &dyn ExecutionPlan, names: &FrameNames) -> String {
    if let Some(select) = select(plan, names) {
        return if select.is_plain() && select.filters.is_empty() { select.from } else { format!("({select})") };
    }
    let name = plan.name().trim_end_matches("Exec");
    match &plan.children()[..] {
        [] => name.to_owned(),
        [one] => format!("{} → {name}", operators(one.as_ref(), names)),
        many => {
            let inputs: Vec<String> = many.iter().map(|child| operators(child.as_ref(), names)).collect();
            format!("{name} of [{}]", inputs.join(", "))
        }
    }
}
