//! The side of a join that is built: dealt to all partitions, or shared by them.
//!
//! DataFusion deals both sides to as many partitions as there are cores, by their keys, as soon as the side that is
//! built has more than 1 MB. Then each core builds its part, but every row of both sides is hashed and copied on the
//! way. Shared, the side is built by one core while the others wait, and the rows of the other side stay where they are.
//!
//! ```text
//!   dealt:   (B + P) / n · deal  +  B / n · build         B rows are built, P looked up, on n cores
//!   shared:                         B     · build
//! ```
//!
//! So a side is shared if P is large enough beside it. But where the rows are grouped by the keys that they were joined by,
//! dealing them once serves both, and they are dealt.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    config::ConfigOptions,
    error::Result as DfResult,
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        filter::FilterExec,
        joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode},
        projection::ProjectionExec,
        replace_children_if_necessary,
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

/// What building a row costs beside dealing it.
const BUILD_COST: f64 = 4.0;

/// Most bytes of a side that is shared; it is in memory either way, but one core builds it.
const SHARED_BYTES_MAX: usize = 256 << 20;

/// DataFusion's rules, and this one after the one that chooses sides.
pub(crate) fn add_to(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) {
    if let Some(at) = rules.iter().position(|rule| rule.name() == "join_selection") {
        rules.insert(at + 1, Arc::new(SharedBuilds));
    }
}

#[derive(Debug)]
struct SharedBuilds;

impl PhysicalOptimizerRule for SharedBuilds {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        match config.execution.target_partitions {
            0 | 1 => Ok(plan),
            partitions => below(plan, partitions, &HashSet::new()),
        }
    }

    fn name(&self) -> &'static str {
        "shared_builds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `grouped`: the names of the columns by which the rows of `plan` are grouped next.
fn below(
    plan: Arc<dyn ExecutionPlan>,
    partitions: usize,
    grouped: &HashSet<String>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let name = |expr: &Arc<dyn PhysicalExpr>| Some(expr.downcast_ref::<Column>()?.name().to_owned());
    let by = match plan.downcast_ref::<AggregateExec>() {
        Some(group) => group.group_expr().expr().iter().filter_map(|(expr, _)| name(expr)).collect(),
        None if plan.downcast_ref::<ProjectionExec>().is_some() || plan.downcast_ref::<FilterExec>().is_some() => {
            grouped.clone()
        }
        None => HashSet::new(),
    };
    let children = plan.children().into_iter().map(|child| below(Arc::clone(child), partitions, &by));
    let plan = replace_children_if_necessary(Arc::clone(&plan), children.collect::<DfResult<_>>()?)?;
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(plan) };
    let grouped_by = |key: &Arc<dyn PhysicalExpr>| name(key).is_some_and(|name| grouped.contains(&name));
    let keys = join.on();
    let regrouped = keys.iter().all(|(left, _)| grouped_by(left)) || keys.iter().all(|(_, right)| grouped_by(right));
    if *join.partition_mode() == PartitionMode::Partitioned && !regrouped && is_cheaper_shared(join, partitions) {
        return HashJoinExecBuilder::from(join).with_partition_mode(PartitionMode::CollectLeft).build_exec();
    }
    Ok(plan)
}

fn is_cheaper_shared(join: &HashJoinExec, partitions: usize) -> bool {
    let known = |plan: &Arc<dyn ExecutionPlan>| {
        let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
        let rows = *statistics.num_rows.get_value()?;
        Some((rows, statistics.total_byte_size.get_value().copied().unwrap_or(0)))
    };
    match (known(join.left()), known(join.right())) {
        (Some((built, bytes)), Some((looked_up, _))) if bytes <= SHARED_BYTES_MAX => {
            shared_is_cheaper(built as f64, looked_up as f64, partitions as f64)
        }
        _ => false,
    }
}

/// The two lines of the head of this file, in units of dealing a row.
fn shared_is_cheaper(built: f64, looked_up: f64, partitions: f64) -> bool {
    let dealt = (built + looked_up) / partitions + built / partitions * BUILD_COST;
    built * BUILD_COST < dealt
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::{
        arrow::datatypes::{DataType, Field, Schema},
        physical_plan::displayable,
    };

    use super::*;
    use crate::{Session, tests::kit::Colony};

    /// How the one join of a statement is done, `small` having 300 000 rows and `large` 3 000 000.
    async fn mode(sql: &str, session: &Session) -> &'static str {
        let colony = Colony::new();
        let schema = || Schema::new(["k", "v"].map(|name| Field::new(name, DataType::Int64, true)).to_vec());
        colony.hollow("h.b.small", schema(), 300_000, BTreeMap::new()).await;
        colony.hollow("h.b.large", schema(), 3_000_000, BTreeMap::new()).await;
        let planned = colony.plan(sql, session).await.unwrap();
        let plan = displayable(planned.physical.as_ref()).indent(false).to_string();
        match (plan.contains("mode=CollectLeft"), plan.contains("HashJoinExec: mode=Partitioned")) {
            (true, false) => "shared",
            (false, true) => "dealt",
            _ => panic!("{plan}"),
        }
    }

    #[tokio::test]
    async fn a_side_much_smaller_than_the_other_is_shared_unless_its_keys_group_the_rows() {
        let (session, mut without) = (Session::default(), Session::default());
        without.settings.set("plan_without", "shared_builds").unwrap();
        let sum = "SELECT sum(l.v) FROM h.b.small s JOIN h.b.large l ON s.k = l.k";
        assert_eq!((mode(sum, &session).await, mode(sum, &without).await), ("shared", "dealt"));
        let outer = "SELECT s.v, sum(l.v) FROM h.b.small s LEFT JOIN h.b.large l ON s.k = l.k GROUP BY s.v";
        assert_eq!(mode(outer, &session).await, "shared");
        let grouped = "SELECT s.k, sum(l.v) FROM h.b.small s LEFT JOIN h.b.large l ON s.k = l.k GROUP BY s.k";
        assert_eq!(mode(grouped, &session).await, "dealt");
        let alike = "SELECT sum(a.v) FROM h.b.large a JOIN h.b.large b ON a.k = b.k";
        assert_eq!(mode(alike, &session).await, "dealt");
    }

    #[test]
    fn the_more_partitions_the_smaller_is_the_side_that_is_shared() {
        let most_built_of = |looked_up: f64, partitions: f64| {
            (0..1000).map(f64::from).filter(|built| shared_is_cheaper(*built, looked_up, partitions)).count()
        };
        assert_eq!([2.0, 4.0, 8.0, 16.0].map(|n| most_built_of(1000.0, n)), [334, 91, 38, 17]);
    }
}
