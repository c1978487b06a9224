//! A stage as people read it.
//!
//! Display only: what runs is the plan. A chain of scan, filter, projection, aggregate, sort and limit is shown as
//! SQL; everything else as one line that names its operators from the input upwards. Inputs from other stages are
//! shown as `stage_3`.

use datafusion::{
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_expr::expressions::Column,
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
}

impl std::fmt::Display for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = if self.columns.is_empty() { "1".to_owned() } else { self.columns.join(", ") };
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

impl Select {
    fn from(name: String, plan: &dyn ExecutionPlan) -> Self {
        Self { from: name, columns: field_names(plan), ..Self::default() }
    }

    /// What an expression over the columns so far says; a column stands for what it was computed from.
    fn say(&self, expr: &dyn PhysicalExpr) -> String {
        match expr.downcast_ref::<Column>() {
            Some(column) => self.columns.get(column.index()).map_or_else(|| column.name().to_owned(), |c| base(c)),
            None => datafusion::physical_expr_common::physical_expr::fmt_sql(expr).to_string(),
        }
    }

    fn is_plain(&self) -> bool {
        !self.aggregated && self.limit.is_none()
    }
}

/// A column's text without its alias.
fn base(column: &str) -> String {
    column.rsplit_once(" AS ").map_or(column, |(expr, _)| expr).to_owned()
}

fn field_names(plan: &dyn ExecutionPlan) -> Vec<String> {
    plan.schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// `plan` as one SELECT, if it is a chain that has one.
fn select(plan: &dyn ExecutionPlan, names: &FrameNames) -> Option<Select> {
    if let Some(name) = leaf_name(plan, names) {
        return Some(with_scan_filter(Select::from(name, plan), plan));
    }
    let [input] = plan.children()[..] else { return None };
    let inner = select(input.as_ref(), names)?;
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
        let order =
            sort.expr().iter().map(|by| format!("{}{}", inner.say(by.expr.as_ref()), direction(by.options.descending)));
        let order = order.collect();
        return Some(Select { order, limit: sort.fetch().or(inner.limit), ..inner });
    }
    if plan.is::<SortPreservingMergeExec>() || plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>() {
        return Some(Select { limit: plan.fetch().or(inner.limit), ..inner });
    }
    let transparent = ["CoalescePartitionsExec", "RepartitionExec", "CooperativeExec", "CoalesceBatchesExec"];
    transparent.contains(&plan.name()).then_some(inner)
}

fn direction(descending: bool) -> &'static str {
    if descending { " DESC" } else { "" }
}

fn leaf_name(plan: &dyn ExecutionPlan, names: &FrameNames) -> Option<String> {
    if let Some(input) = plan.downcast_ref::<UnresolvedShuffleExec>() {
        return Some(format!("stage_{}", input.stage_id));
    }
    let source: &dyn std::any::Any = plan.downcast_ref::<DataSourceExec>()?.data_source().as_ref();
    let first = source.downcast_ref::<FileScanConfig>()?.file_groups.iter().flat_map(|group| group.iter()).next();
    Some(first.map_or_else(|| "nothing".to_owned(), |file| names.of(file.object_meta.location.as_ref())))
}

/// A scan that filters by itself says so.
fn with_scan_filter(mut select: Select, plan: &dyn ExecutionPlan) -> Select {
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let config = source.and_then(|source| {
        let source: &dyn std::any::Any = source.as_ref();
        source.downcast_ref::<FileScanConfig>()
    });
    if let Some(filter) = config.and_then(|config| config.file_source().filter()) {
        select.filters.push(datafusion::physical_expr_common::physical_expr::fmt_sql(filter.as_ref()).to_string());
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
    }
    Some(inner)
}

fn projected(inner: Select, projection: &ProjectionExec) -> Select {
    let column = |expr: &datafusion::physical_plan::projection::ProjectionExpr| {
        let text = inner.say(expr.expr.as_ref());
        if text == expr.alias { text } else { format!("{text} AS {}", expr.alias) }
    };
    let columns = projection.expr().iter().map(column).collect();
    Select { columns, ..inner }
}

fn aggregated(inner: Select, aggregate: &AggregateExec) -> Option<Select> {
    if aggregate.group_expr().has_grouping_set() || inner.limit.is_some() {
        return None;
    }
    // Partial states of an earlier stage are merged: the group stays what it was, the functions too.
    let merges = matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    if inner.aggregated && !merges {
        return None;
    }
    let group: Vec<String> = aggregate.group_expr().expr().iter().map(|(expr, _)| inner.say(expr.as_ref())).collect();
    let functions = aggregate.aggr_expr().iter().map(|function| function.name().to_owned());
    let columns = group.iter().cloned().chain(functions).collect();
    Some(Select { columns, group, aggregated: true, ..inner })
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
