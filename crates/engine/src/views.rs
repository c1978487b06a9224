//! Strings between stages.
//!
//! A view array points into buffers that it shares with the batch it was cut from, and Arrow IPC writes all of them:
//! a sort's output of 30 batches holds the same megabytes 30 times, and a batch that is dealt to 16 partitions 16
//! times. So views become plain strings before they are written and views again where they are read; the plan on
//! either side never knows.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        compute::cast,
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    },
    common::tree_node::{Transformed, TreeNode},
    error::Result as DataFusionResult,
    physical_expr::{
        PhysicalExpr,
        expressions::{CastExpr, Column},
    },
};

/// The type in which values of `data_type` are written.
fn written(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(written_field(field));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(inner) => DataType::List(field(inner)),
        DataType::LargeList(inner) => DataType::LargeList(field(inner)),
        DataType::FixedSizeList(inner, size) => DataType::FixedSizeList(field(inner), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn written_field(field: &FieldRef) -> Field {
    field.as_ref().clone().with_data_type(written(field.data_type()))
}

/// The schema in which batches of `schema` are written.
pub(crate) fn written_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(written_field).collect();
    if fields.iter().zip(schema.fields()).all(|(written, field)| written.data_type() == field.data_type()) {
        return SchemaRef::clone(schema);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The same rows under `schema`, whose types may be views where the batch has plain strings, or the other way round.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let column = |(column, field): (&Arc<dyn datafusion::arrow::array::Array>, &FieldRef)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}

/// `expr`, made for `schema`, over batches as they are written: it sees the types it was made for, so that rows are
/// dealt to partitions as the planner said, on every side of a join.
pub(crate) fn over_written(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let widen = |node: Arc<dyn PhysicalExpr>| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let data_type = schema.field(column.index()).data_type();
        if written(data_type) == *data_type {
            return Ok(Transformed::no(node));
        }
        let data_type = data_type.clone();
        Ok(Transformed::yes(Arc::new(CastExpr::new(node, data_type, None)) as Arc<dyn PhysicalExpr>))
    };
    Ok(Arc::clone(expr).transform_up(widen)?.data)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, StringViewArray};

    use super::*;

    fn batch() -> RecordBatch {
        let strings = StringViewArray::from_iter([Some("a string that is longer than a view"), None, Some("short")]);
        RecordBatch::try_from_iter([("s", Arc::new(strings) as ArrayRef)]).unwrap()
    }

    #[test]
    fn views_are_written_as_strings_and_read_as_views() {
        let batch = batch();
        let schema = written_schema(&batch.schema());
        let written = conform(&batch, &schema).unwrap();
        assert_eq!(*written.column(0).data_type(), DataType::Utf8);
        assert_eq!(conform(&written, &batch.schema()).unwrap(), batch);
        assert!(Arc::ptr_eq(&written_schema(&schema), &schema));
    }

    #[test]
    fn an_expression_sees_the_type_that_it_was_made_for() {
        let batch = batch();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("s", 0));
        let expr = over_written(&column, &batch.schema()).unwrap();
        let written = conform(&batch, &written_schema(&batch.schema())).unwrap();
        let value = expr.evaluate(&written).unwrap().into_array(3).unwrap();
        assert_eq!(value.as_string_view(), batch.column(0).as_string_view());
    }
}
