//! What conditions leave, told to those who choose the sides of joins.
//!
//! DataFusion can reckon with ranges of numbers and days. Of every other condition, and of all conditions together if
//! there is one such among them, it takes a fifth of the rows to be left. TPC-H's Q12 asks for two of seven ways of shipping
//! and for an order among three days: 12 of 60 million rows are expected, 300 000 there are, and the larger side of its
//! join is built. So each filter is told the share that the order of joins reckons with (`selectivity`); DataFusion asks
//! for it where it knows nothing better.
//!
//! A share decides what is fast. Whoever asks what fits into memory takes filters to keep a fifth at least ([`cautious`]).

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Statistics,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    config::ConfigOptions,
    error::Result as DfResult,
    logical_expr::{BinaryExpr, Expr, Like, expr::InList},
    physical_expr::{PhysicalExpr, expressions as physical, split_conjunction},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        filter::{FilterExec, FilterExecBuilder},
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

use super::{
    estimate::{ColumnEstimate, Estimate},
    selectivity,
};
use crate::table::{as_number, distinct_between};

/// What a filter is taken to keep, in percent, by those who must not expect too little.
const CAUTIOUS_PERCENT: u8 = 20;

/// DataFusion's rules, and this one before the one that chooses sides.
pub(crate) fn add_to(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) {
    if let Some(at) = rules.iter().position(|rule| rule.name() == "join_selection") {
        rules.insert(at, Arc::new(FilterEstimates));
    }
}

#[derive(Debug)]
struct FilterEstimates;

impl PhysicalOptimizerRule for FilterEstimates {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let told = |node: Arc<dyn ExecutionPlan>| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
            let Some(percent) = percent_kept(filter) else { return Ok(Transformed::no(node)) };
            let told = FilterExecBuilder::from(filter).with_default_selectivity(percent).build()?;
            Ok(Transformed::yes(Arc::new(told) as _))
        };
        plan.transform_up(told).data()
    }

    fn name(&self) -> &'static str {
        "filter_estimates"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `plan` as those see it who ask what fits into memory: no filter is expected to keep less than a fifth of its rows for a
/// share that is a guess.
pub fn cautious(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let doubted = |node: Arc<dyn ExecutionPlan>| {
        let filter = node.downcast_ref::<FilterExec>();
        let Some(filter) = filter.filter(|filter| filter.default_selectivity() < CAUTIOUS_PERCENT) else {
            return Ok(Transformed::no(node));
        };
        let doubted = FilterExecBuilder::from(filter).with_default_selectivity(CAUTIOUS_PERCENT).build()?;
        Ok(Transformed::yes(Arc::new(doubted) as _))
    };
    plan.transform_up(doubted).data()
}

/// The share of its input's rows that a filter is expected to keep, 1 to 100; `None`: the rows are not known.
fn percent_kept(filter: &FilterExec) -> Option<u8> {
    let input = filter.input();
    let known = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new()).ok()?;
    let estimate = estimate(&known)?;
    let conjuncts: Vec<Expr> = split_conjunction(filter.predicate()).into_iter().map(logical).collect();
    let keeps = selectivity::of(&conjuncts.iter().collect::<Vec<_>>(), &estimate);
    Some((keeps * 100.0).ceil().clamp(1.0, 100.0) as u8)
}

fn estimate(known: &Statistics) -> Option<Estimate> {
    let rows = *known.num_rows.get_value()? as f64;
    let columns = known.column_statistics.iter().enumerate().map(|(at, column)| {
        let bounds = column.min_value.get_value().zip(column.max_value.get_value());
        let range = bounds.and_then(|(least, most)| Some((as_number(least)?, as_number(most)?)));
        let distinct = bounds.and_then(|(least, most)| distinct_between(least, most, rows));
        let nulls = column.null_count.get_value().map_or(0.0, |nulls| *nulls as f64 / rows.max(1.0));
        (at_place(at), ColumnEstimate { distinct, range, nulls })
    });
    Some(Estimate { rows, base: rows.max(1.0), columns: columns.collect() })
}

/// A column by its place: names may be there twice.
fn at_place(at: usize) -> Column {
    Column::new_unqualified(at.to_string())
}

/// A condition as the statement said it, as far as shares are reckoned by: what is not understood is an unknown column.
fn logical(expr: &Arc<dyn PhysicalExpr>) -> Expr {
    let boxed = |expr: &Arc<dyn PhysicalExpr>| Box::new(logical(expr));
    if let Some(column) = expr.downcast_ref::<physical::Column>() {
        Expr::Column(at_place(column.index()))
    } else if let Some(literal) = expr.downcast_ref::<physical::Literal>() {
        Expr::Literal(literal.value().clone(), None)
    } else if let Some(cast) = expr.downcast_ref::<physical::CastExpr>() {
        logical(cast.expr())
    } else if let Some(cast) = expr.downcast_ref::<physical::TryCastExpr>() {
        logical(cast.expr())
    } else if let Some(binary) = expr.downcast_ref::<physical::BinaryExpr>() {
        Expr::BinaryExpr(BinaryExpr::new(boxed(binary.left()), *binary.op(), boxed(binary.right())))
    } else if let Some(not) = expr.downcast_ref::<physical::NotExpr>() {
        Expr::Not(boxed(not.arg()))
    } else if let Some(null) = expr.downcast_ref::<physical::IsNullExpr>() {
        Expr::IsNull(boxed(null.arg()))
    } else if let Some(null) = expr.downcast_ref::<physical::IsNotNullExpr>() {
        Expr::IsNotNull(boxed(null.arg()))
    } else if let Some(list) = expr.downcast_ref::<physical::InListExpr>() {
        let values = list.list().iter().map(logical).collect();
        Expr::InList(InList::new(boxed(list.expr()), values, list.negated()))
    } else if let Some(like) = expr.downcast_ref::<physical::LikeExpr>() {
        let (text, pattern) = (boxed(like.expr()), boxed(like.pattern()));
        Expr::Like(Like::new(like.negated(), text, pattern, None, like.case_insensitive()))
    } else {
        Expr::Column(Column::new_unqualified("?"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use apiary_core::{ColumnStats, StatValue};
    use datafusion::{
        arrow::datatypes::{DataType, Field, Schema},
        physical_plan::displayable,
    };

    use super::*;
    use crate::{Session, SideSize, tests::kit::Colony};

    /// The frame whose rows are built: of 1 000 000 rows `days`, of 100 000 `orders`.
    async fn built(condition: &str, without: &str) -> &'static str {
        let colony = Colony::new();
        let field = |name: &str, of: DataType| Field::new(name, of, true);
        let days = [("k", DataType::Int64), ("mode", DataType::Utf8), ("a", DataType::Int64), ("b", DataType::Int64)];
        let bounds = |low, high| ColumnStats {
            min: Some(StatValue::Int(low)),
            max: Some(StatValue::Int(high)),
            null_count: Some(0),
            ..ColumnStats::default()
        };
        let known = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), bounds(0, 999))));
        let days = Schema::new(days.map(|(name, of)| field(name, of)).to_vec());
        colony.hollow("h.b.days", days, 1_000_000, known).await;
        let orders = Schema::new(vec![field("k", DataType::Int64), field("v", DataType::Int64)]);
        colony.hollow("h.b.orders", orders, 100_000, BTreeMap::new()).await;
        let mut session = Session::default();
        session.settings.set("plan_without", without).unwrap();
        let sql = format!("SELECT sum(v) FROM h.b.orders o JOIN h.b.days d ON o.k = d.k WHERE {condition}");
        let planned = colony.plan(&sql, &session).await.unwrap();
        let plan = displayable(planned.physical.as_ref()).indent(false).to_string();
        let below = plan.split_once("HashJoinExec").map(|(_, below)| below).unwrap_or_else(|| panic!("{plan}"));
        let place = |projection| below.find(projection).unwrap_or_else(|| panic!("{plan}"));
        let (of_days, of_orders) = (place("projection=[k, mode"), place("projection=[k, v]"));
        if of_days < of_orders { "days" } else { "orders" }
    }

    #[tokio::test]
    async fn whoever_asks_for_memory_expects_a_fifth_at_least() {
        let colony = Colony::new();
        let schema =
            Schema::new(vec![Field::new("mode", DataType::Utf8, true), Field::new("v", DataType::Int64, true)]);
        colony.hollow("h.b.t", schema, 1_000_000, BTreeMap::new()).await;
        for (condition, expected, doubted) in [("mode = 'MAIL'", 50_000, 200_000), ("mode <> 'MAIL'", 950_000, 950_000)]
        {
            let sql = format!("SELECT v FROM h.b.t WHERE {condition}");
            let plan = colony.plan(&sql, &Session::default()).await.unwrap().physical;
            let rows = |plan: &Arc<dyn ExecutionPlan>| SideSize::of(plan.as_ref()).rows;
            assert_eq!((rows(&plan), rows(&cautious(Arc::clone(&plan)).unwrap())), (Some(expected), Some(doubted)));
        }
    }

    #[tokio::test]
    async fn the_side_that_conditions_make_small_is_built() {
        for (condition, expected) in [
            ("d.mode IN ('MAIL', 'SHIP') AND d.a < d.b AND d.a < 100", "days"),
            ("d.mode LIKE 'M%' AND d.b BETWEEN 10 AND 19", "days"),
            ("d.mode = 'MAIL' AND d.a = 7", "days"),
            ("d.mode <> 'MAIL'", "orders"),
            ("d.mode NOT LIKE '%x%' AND d.a IS NOT NULL", "orders"),
            ("d.mode = 'MAIL' OR d.a > 100", "orders"),
        ] {
            assert_eq!(built(condition, "join_order, shared_builds").await, expected, "{condition}");
        }
        let without = "join_order, shared_builds, filter_estimates";
        assert_eq!(built("d.mode = 'MAIL' AND d.a = 7", without).await, "orders");
    }
}
