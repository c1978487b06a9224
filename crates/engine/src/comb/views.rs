//! Texts between stages: plain where a plan on either side has views (see `apiary_query::conform`), and neither knows.

use std::sync::Arc;

use apiary_query::plain_type;
use datafusion::{
    arrow::datatypes::Schema,
    common::tree_node::{Transformed, TreeNode},
    error::Result as DataFusionResult,
    physical_expr::{
        PhysicalExpr,
        expressions::{CastExpr, Column},
    },
};

/// `expr`, made for `schema`, over batches as they are written: it sees the types it was made for, so that rows are
/// dealt to partitions as the planner said, on every side of a join.
pub(super) fn over_written(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let widen = |node: Arc<dyn PhysicalExpr>| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let data_type = schema.field(column.index()).data_type();
        if plain_type(data_type) == *data_type {
            return Ok(Transformed::no(node));
        }
        let data_type = data_type.clone();
        Ok(Transformed::yes(Arc::new(CastExpr::new(node, data_type, None)) as Arc<dyn PhysicalExpr>))
    };
    Ok(Arc::clone(expr).transform_up(widen)?.data)
}

#[cfg(test)]
mod tests {
    use apiary_query::{conform, plain_schema};
    use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};

    use super::*;

    #[test]
    fn an_expression_sees_the_type_that_it_was_made_for() {
        let texts = StringViewArray::from_iter([Some("a text that is longer than a view"), None, Some("short")]);
        let batch = RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("s", 0));
        let expr = over_written(&column, &batch.schema()).unwrap();
        let written = conform(batch.clone(), &plain_schema(&batch.schema())).unwrap();
        let value = expr.evaluate(&written).unwrap().into_array(3).unwrap();
        assert_eq!(value.as_string_view(), batch.column(0).as_string_view());
    }
}
