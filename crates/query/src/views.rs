//! Texts as views inside plans, as plain texts everywhere else.
//!
//! A view array points into buffers that it shares with others: what comes out of a Parquet dictionary is not copied, a
//! row that is passed on moves 16 bytes. Scans of texts take a quarter to a third less with them. Outside of a plan they
//! are plain: a frame's schema, an answer, and what is written between stages, because Arrow IPC writes all the buffers
//! that a batch points into (30 batches of one sort hold the same megabytes 30 times).
//!
//! Some statements see no views:
//!
//! - What asks for the names of types must be told those of the frame; and where texts meet bytes, DataFusion finds other
//!   types for both, or none. What cannot be planned with views is planned without.
//! - What keeps every value of a group, and a window of rows, count an array of views as the views alone or not at all: no
//!   chamber could tell that its buffers do not fit, and the node would die of what should have been a readable error.
//! - What holds many batches (the side of a join that is built, a sort) counts each with all that it shares with others,
//!   several times what it is; and the few rows that `ORDER BY … LIMIT` keeps hold a page each. Where that could come near
//!   the chamber, a join would fail that fits, and a sort that would have spilled.
//! - In chambers below 512 MiB nothing has views.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, RecordBatch, RecordBatchOptions},
        compute::cast,
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    },
    common::internal_err,
    error::Result as DfResult,
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec},
        sorts::sort::SortExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};

use crate::SideSize;

/// Words of statements that see no views, wherever they stand; too many cost only speed.
const WITHOUT: [&str; 6] = ["array_agg", "string_agg", "listagg", "nth_value", "arrow_", "information_schema"];

/// Whether the plan of a statement may have views.
pub(crate) fn suit(sql: &str) -> bool {
    let sql = sql.to_lowercase();
    !WITHOUT.iter().any(|word| sql.contains(word))
}

/// What may be held in views, as a part of the chamber: a batch of 8 192 rows points into buffers of some megabytes, ten
/// times what it uses.
const HELD_PART: u64 = 16;

/// About the largest page of a text column: what one row that is kept may hold.
const PAGE_BYTES: usize = 1 << 20;

/// Whether something in `plan` may hold more batches with views than is wise in a chamber of `bytes`.
pub(crate) fn hold_too_much(plan: &dyn ExecutionPlan, bytes: u64) -> bool {
    holds_too_much(plan, bytes) || plan.children().into_iter().any(|child| hold_too_much(child.as_ref(), bytes))
}

fn holds_too_much(plan: &dyn ExecutionPlan, bytes: u64) -> bool {
    // All that hold only one of their inputs hold the first.
    let Some(held) = plan.children().first().copied() else { return false };
    if !held.schema().fields().iter().any(|field| *field.data_type() == DataType::Utf8View) {
        return false;
    }
    if plan.is::<BoundedWindowAggExec>() || plan.is::<WindowAggExec>() {
        return true;
    }
    let sort = plan.downcast_ref::<SortExec>();
    let holds =
        sort.is_some() || plan.is::<HashJoinExec>() || plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>();
    if !holds || is_grouped(held.as_ref()) {
        return false;
    }
    let pages = sort.and_then(SortExec::fetch).map(|rows| rows.saturating_mul(PAGE_BYTES));
    let size = SideSize::of(held.as_ref()).bytes;
    // The less of both, as far as they are known.
    let most = pages.into_iter().chain(size).min();
    most.is_none_or(|most| most as u64 > bytes / HELD_PART)
}

/// Whether rows come from a grouping, which copies what it keeps, and of whose number nothing is known.
fn is_grouped(plan: &dyn ExecutionPlan) -> bool {
    match plan.children()[..] {
        _ if plan.is::<AggregateExec>() => true,
        [child] => is_grouped(child.as_ref()),
        _ => false,
    }
}

/// Whether a plan over a frame may have views: bytes beside them would get other types.
pub(crate) fn suit_columns(schema: &Schema) -> bool {
    use DataType as T;
    let is_bytes = |of: &DataType| matches!(of, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    !schema.fields().iter().any(|field| is_bytes(field.data_type()))
}

/// A frame's schema with its texts as views; nested ones stay as they are.
pub(crate) fn viewed_schema(schema: &SchemaRef) -> SchemaRef {
    let viewed = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(viewed).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The type of the same values outside of a plan.
#[must_use]
pub fn plain_type(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(plain_field(field));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(inner) => DataType::List(field(inner)),
        DataType::LargeList(inner) => DataType::LargeList(field(inner)),
        DataType::FixedSizeList(inner, size) => DataType::FixedSizeList(field(inner), *size),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> Field {
    field.as_ref().clone().with_data_type(plain_type(field.data_type()))
}

/// The schema of the same rows outside of a plan.
#[must_use]
pub fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(plain_field).collect();
    if fields.iter().zip(schema.fields()).all(|(plain, field)| plain.data_type() == field.data_type()) {
        return SchemaRef::clone(schema);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The same rows under `schema`, whose types may be views where the batch has plain texts, or the other way round.
pub fn conform(batch: RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    if batch.num_columns() != schema.fields().len() {
        return internal_err!("{} columns where {} were told", batch.num_columns(), schema.fields().len());
    }
    let column = |(column, field): (&Arc<dyn Array>, &FieldRef)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{ArrayRef, StringViewArray};

    use super::*;
    use crate::{
        Session, local_config,
        tests::kit::{Colony, query},
        with_text_views,
    };

    #[test]
    fn views_leave_a_plan_as_texts_and_come_back_as_views() {
        let texts = StringViewArray::from_iter([Some("a text that is longer than a view"), None, Some("short")]);
        let batch = RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap();
        let schema = plain_schema(&batch.schema());
        let plain = conform(batch.clone(), &schema).unwrap();
        assert_eq!(*plain.column(0).data_type(), DataType::Utf8);
        assert_eq!(conform(plain, &batch.schema()).unwrap(), batch);
        assert!(Arc::ptr_eq(&plain_schema(&schema), &schema));
        assert_eq!(viewed_schema(&schema), batch.schema());
    }

    #[test]
    fn who_asks_for_types_or_keeps_every_value_sees_no_views() {
        assert!(suit("SELECT max(note), count(DISTINCT note) FROM t WHERE note LIKE 'a%'"));
        assert!(!suit("SELECT ARRAY_AGG(note) FROM t") && !suit("SELECT arrow_typeof(note) FROM t"));
    }

    #[tokio::test]
    async fn what_many_batches_are_held_for_sees_no_views() {
        let colony = Colony::new();
        let fields = [("k", DataType::Int64), ("note", DataType::Utf8)];
        let schema = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec());
        colony.hollow("h.b.large", schema.clone(), 5_000_000, BTreeMap::new()).await;
        colony.hollow("h.b.small", schema.clone(), 1000, BTreeMap::new()).await;
        let bytes = Field::new("raw", DataType::Binary, true);
        let with_bytes = schema.fields().iter().cloned().chain([Arc::new(bytes)]).collect::<Vec<_>>();
        colony.hollow("h.b.bytes", Schema::new(with_bytes), 1000, BTreeMap::new()).await;
        let has_views = async |sql: &str, chamber: u64| {
            let pinned = colony.planner.pin(&query(sql).unwrap(), &Session::default()).await.unwrap();
            let config = with_text_views(local_config(2), chamber);
            let planned = pinned.plan(config, colony.planner.runtime()).await.unwrap();
            assert_eq!(*planned.schema.field(0).data_type(), DataType::Utf8);
            *planned.physical.schema().field(0).data_type() == DataType::Utf8View
        };
        const CHAMBER: u64 = 512 << 20;
        for (sql, expected) in [
            ("SELECT note FROM h.b.large", true),
            ("SELECT note, count(*) FROM h.b.large GROUP BY note ORDER BY note", true),
            ("SELECT note FROM h.b.small ORDER BY note", true),
            ("SELECT note FROM h.b.large ORDER BY note", false),
            ("SELECT note FROM h.b.large ORDER BY note LIMIT 5", true),
            ("SELECT note FROM h.b.large ORDER BY note LIMIT 5000", false),
            ("SELECT note, k, row_number() OVER () FROM h.b.large", false),
            ("SELECT note FROM h.b.bytes", false),
            ("SELECT note FROM h.b.small WHERE note LIKE CAST('a%' AS BYTEA)", false),
            ("SELECT b.note FROM h.b.small a JOIN h.b.large b ON a.k = b.k", true),
            ("SELECT a.note FROM h.b.large a JOIN h.b.large b ON a.note = b.note", false),
            ("SELECT note, row_number() OVER (PARTITION BY k ORDER BY note) FROM h.b.large", false),
        ] {
            assert_eq!(has_views(sql, CHAMBER).await, expected, "{sql}");
            assert!(!has_views(sql, CHAMBER - 1).await, "{sql}");
        }
    }
}
