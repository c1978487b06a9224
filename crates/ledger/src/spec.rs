//! What a new frame shall be, and whether a frame can be that.

use std::collections::HashSet;

use arrow::datatypes::{Schema, SchemaRef};

use crate::{LedgerError, Result, delta_schema, value::ValueClass};

/// Most columns of a frame: far beyond what people query, short of what slows every entry down.
const COLUMNS_MAX: usize = 10_000;

/// A new frame.
#[derive(Debug, Clone)]
pub struct FrameSpec {
    /// Its columns, with their exact Arrow types.
    pub schema: SchemaRef,
    /// The columns that part its cells; none is fine.
    pub partition_by: Vec<String>,
}

impl FrameSpec {
    /// Whether a frame can be this; the error says what to change. No I/O.
    pub fn check(&self) -> Result<()> {
        check_columns(&self.schema)?;
        check_partitions(&self.schema, &self.partition_by)?;
        delta_schema::storage_schema(&self.schema).map(drop)
    }
}

fn check_columns(schema: &Schema) -> Result<()> {
    let refuse = |why: String| Err(LedgerError::Schema(why));
    if schema.fields().is_empty() {
        return refuse("it has no columns; give at least one".to_owned());
    }
    if schema.fields().len() > COLUMNS_MAX {
        return refuse(format!("it has {} columns; at most {COLUMNS_MAX} are allowed", schema.fields().len()));
    }
    let mut seen = HashSet::new();
    for field in schema.fields() {
        if field.name().is_empty() || field.name().chars().any(char::is_control) {
            return refuse(format!("the column name {:?} is empty or holds a control character", field.name()));
        }
        // Delta compares column names without case.
        if !seen.insert(field.name().to_lowercase()) {
            return refuse(format!("it has the column '{}' twice; names are compared without case", field.name()));
        }
    }
    Ok(())
}

fn check_partitions(schema: &Schema, by: &[String]) -> Result<()> {
    let refuse = |why: String| Err(LedgerError::Schema(why));
    let mut seen = HashSet::new();
    for name in by {
        let Ok(field) = schema.field_with_name(name) else {
            let known = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            return refuse(format!("the partition column '{name}' is not among its columns ({known})"));
        };
        if !seen.insert(name) {
            return refuse(format!("the partition column '{name}' is named twice"));
        }
        if !ValueClass::of(field.data_type()).is_some_and(ValueClass::can_partition) {
            return refuse(format!(
                "the column '{name}' of type {} cannot part a frame; use a boolean, integer, text, date, timestamp or decimal",
                field.data_type()
            ));
        }
    }
    if by.len() == schema.fields().len() {
        return refuse("every column is a partition column; leave at least one out".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn refusal(fields: Vec<Field>, by: &[&str]) -> String {
        let by = by.iter().map(|name| (*name).to_owned()).collect();
        FrameSpec { schema: Arc::new(Schema::new(fields)), partition_by: by }.check().unwrap_err().to_string()
    }

    #[test]
    fn a_frame_that_cannot_be_is_refused_with_a_reason() {
        let int = |name: &str| Field::new(name, DataType::Int64, true);
        let float = |name: &str| Field::new(name, DataType::Float64, true);
        assert!(refusal(vec![], &[]).contains("no columns"));
        assert!(refusal(vec![int("a"), int("A")], &[]).contains("twice"));
        assert!(refusal(vec![int("a"), int("b")], &["c"]).contains("(a, b)"));
        assert!(refusal(vec![int("a"), int("b")], &["a", "a"]).contains("twice"));
        assert!(refusal(vec![int("a"), float("b")], &["b"]).contains("Float64"));
        assert!(refusal(vec![int("a")], &["a"]).contains("at least one out"));
        assert!(refusal(vec![Field::new("n", DataType::Null, true)], &[]).contains("'n'"));
    }
}
