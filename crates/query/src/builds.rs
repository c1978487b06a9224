//! The side of a join that is built: dealt to all partitions, or shared by them.
//!
//! DataFusion deals both sides to as many partitions as there are cores, by their keys, as soon as the side that is
//! built has more than 1 MB. Then each core builds its part, but every row of both sides is hashed and copied on the
//! way. Shared, the side is built by one core while the others wait, and the rows of the other side stay where they are.
//!
//! ```text
//!   dealt:   (B + P) / n · deal  +  B / n · build         B rows are built, P looked up, on n cores
//!   shared:                         B     · (read + build)
//! ```
//!
//! So a side is shared if P is large enough beside it. But where the rows are grouped by the keys that they were joined by,
//! dealing them once serves both, and they are dealt.
//!
//! On the board it is the same question with other prices. Dealing a row is writing it to a file, with a sum, and reading
//! it again in another task; a shared side is read and built by each of the n tasks. And it must be a join in which no
//! task has to know what the others looked up.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{JoinType, Statistics},
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

/// What it costs to build a row, beside dealing it to another core.
const BUILD_COST: f64 = 4.0;

/// Bytes of a text, or of whatever else Ballista knows no width of.
const OTHER_BYTES: usize = 32;

/// Where a join is run.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// What it costs to deal a row.
    deal: f64,
    /// What it costs to read a row of a side that is shared, before it is built.
    read: f64,
    /// Most bytes of such a side.
    shared_bytes_max: usize,
    /// Whether every partition sees what the others have looked up.
    in_common: bool,
}

/// The side is in memory either way, but one core builds it.
const LOCAL: Place = Place { deal: 1.0, read: 0.0, shared_bytes_max: 256 << 20, in_common: true };

/// Every task has the side in its own chamber.
const BOARD: Place = Place { deal: 3.0, read: 1.0, shared_bytes_max: 64 << 20, in_common: false };

/// DataFusion's rules, and this one after the one that chooses sides.
pub(crate) fn add_to(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>, is_local: bool) {
    if let Some(at) = rules.iter().position(|rule| rule.name() == "join_selection") {
        rules.insert(at + 1, Arc::new(SharedBuilds { place: if is_local { LOCAL } else { BOARD } }));
    }
}

#[derive(Debug)]
struct SharedBuilds {
    place: Place,
}

impl PhysicalOptimizerRule for SharedBuilds {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        match config.execution.target_partitions {
            0 | 1 => Ok(plan),
            partitions => below(plan, partitions, &self.place, &HashSet::new()),
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
    place: &Place,
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
    let children = plan.children().into_iter().map(|child| below(Arc::clone(child), partitions, place, &by));
    let plan = replace_children_if_necessary(Arc::clone(&plan), children.collect::<DfResult<_>>()?)?;
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(plan) };
    let grouped_by = |key: &Arc<dyn PhysicalExpr>| name(key).is_some_and(|name| grouped.contains(&name));
    let keys = join.on();
    let regrouped = keys.iter().all(|(left, _)| grouped_by(left)) || keys.iter().all(|(_, right)| grouped_by(right));
    let may_be = *join.partition_mode() == PartitionMode::Partitioned && !regrouped && can_be_shared(join, place);
    if may_be && is_cheaper_shared(join, partitions, place) {
        return HashJoinExecBuilder::from(join).with_partition_mode(PartitionMode::CollectLeft).build_exec();
    }
    Ok(plan)
}

/// Whether tasks that know nothing of each other give the right rows, each with all of the left side.
fn can_be_shared(join: &HashJoinExec, place: &Place) -> bool {
    use JoinType as T;
    let by_the_right = matches!(join.join_type(), T::Inner | T::Right | T::RightSemi | T::RightAnti | T::RightMark);
    place.in_common || (by_the_right && !join.null_aware)
}

fn is_cheaper_shared(join: &HashJoinExec, partitions: usize, place: &Place) -> bool {
    let (left, right) = (SideSize::of(join.left().as_ref()), SideSize::of(join.right().as_ref()));
    match (left.rows, right.rows, left.bytes) {
        (Some(built), Some(looked_up), Some(bytes)) if bytes <= place.shared_bytes_max => {
            shared_is_cheaper(built as f64, looked_up as f64, partitions as f64, place)
        }
        _ => false,
    }
}

/// About how many bytes a value has: as Ballista counts, so that both say the same of one side.
fn width(data_type: &DataType) -> usize {
    use DataType as T;
    match data_type {
        T::Boolean => 1,
        T::Date32 | T::Date64 | T::Float32 | T::Float64 | T::Decimal128(..) | T::Decimal256(..) => {
            data_type.primitive_width().unwrap_or(OTHER_BYTES)
        }
        _ if data_type.is_integer() => data_type.primitive_width().unwrap_or(OTHER_BYTES),
        _ => OTHER_BYTES,
    }
}

/// How large a side of a join is, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideSize {
    /// Its rows.
    pub rows: Option<usize>,
    /// Its bytes; where only the rows are known, about.
    pub bytes: Option<usize>,
}

impl SideSize {
    /// Of the rows of `plan`.
    #[must_use]
    pub fn of(plan: &dyn ExecutionPlan) -> Self {
        let Ok(known) = StatisticsContext::new().compute(plan, &StatisticsArgs::new()) else {
            return Self { rows: None, bytes: None };
        };
        let rows = known.num_rows.get_value().copied();
        let row_bytes: usize = plan.schema().fields().iter().map(|field| width(field.data_type())).sum();
        // Nothing, where there are rows, is a sum of what nobody knew.
        let told = known.total_byte_size.get_value().copied().filter(|bytes| *bytes > 0);
        Self { rows, bytes: told.or_else(|| rows.map(|rows| rows.saturating_mul(row_bytes.max(8)))) }
    }
}

/// The bytes of what `known` is said of, if anybody knows: those of its columns where that is less, since a projection
/// leaves the sum as it was. Where there is no sum columns say nothing: a join leaves theirs as they were, whatever it makes
/// of its rows. Not what Ballista goes by: see [`SideSize`].
#[must_use]
pub fn known_bytes(known: &Statistics) -> Option<usize> {
    let total = known.total_byte_size.get_value().copied()?;
    let of_columns = known.column_statistics.iter().map(|column| column.byte_size.get_value()).sum::<Option<usize>>();
    Some(of_columns.filter(|bytes| *bytes > 0).map_or(total, |bytes| bytes.min(total)))
}

/// The two lines of the head of this file, in units of dealing a row to another core.
fn shared_is_cheaper(built: f64, looked_up: f64, partitions: f64, place: &Place) -> bool {
    let dealt = (built + looked_up) / partitions * place.deal + built / partitions * BUILD_COST;
    built * (place.read + BUILD_COST) < dealt
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::{
        arrow::datatypes::{Field, Schema},
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
        let most_built_of = |place: Place, partitions: f64| {
            (0..1000).map(f64::from).filter(|built| shared_is_cheaper(*built, 1000.0, partitions, &place)).count()
        };
        assert_eq!([2.0, 4.0, 8.0, 16.0].map(|n| most_built_of(LOCAL, n)), [334, 91, 38, 17]);
        assert_eq!([2.0, 6.0, 12.0, 100.0].map(|n| most_built_of(BOARD, n)), [1000, 131, 57, 7]);
    }
}
