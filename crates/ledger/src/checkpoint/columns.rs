//! Columns of a checkpoint by their names and types; the error says which is not what it should be.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray},
    datatypes::Int64Type,
};

/// The column of one action.
pub(super) fn action<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StructArray, String> {
    batch.column_by_name(name).and_then(|column| column.as_struct_opt()).ok_or_else(|| wrong(name))
}

/// The rows in which an action is.
pub(super) fn there(rows: &StructArray) -> impl Iterator<Item = usize> + '_ {
    (0..rows.len()).filter(|row| rows.is_valid(*row))
}

pub(super) fn column<'a>(rows: &'a StructArray, name: &str) -> Result<&'a Arc<dyn Array>, String> {
    rows.column_by_name(name).ok_or_else(|| wrong(name))
}

pub(super) fn texts<'a>(rows: &'a StructArray, name: &str) -> Result<&'a StringArray, String> {
    column(rows, name)?.as_string_opt().ok_or_else(|| wrong(name))
}

pub(super) fn longs<'a>(rows: &'a StructArray, name: &str) -> Result<&'a Int64Array, String> {
    column(rows, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name))
}

pub(super) fn maps<'a>(rows: &'a StructArray, name: &str) -> Result<&'a MapArray, String> {
    column(rows, name)?.as_map_opt().ok_or_else(|| wrong(name))
}

/// A list of words, or `None` where it is NULL.
pub(super) fn words(rows: &StructArray, name: &str, row: usize) -> Result<Option<Vec<String>>, String> {
    let lists: &ListArray = column(rows, name)?.as_list_opt().ok_or_else(|| wrong(name))?;
    if lists.is_null(row) {
        return Ok(None);
    }
    let words = lists.value(row);
    let words: &StringArray = words.as_string_opt().ok_or_else(|| wrong(name))?;
    Ok(Some(words.iter().map(|word| word.unwrap_or_default().to_owned()).collect()))
}

pub(super) fn pairs(maps: &MapArray, row: usize) -> Result<Vec<(&str, Option<&str>)>, String> {
    let (keys, values) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>());
    let (Some(keys), Some(values)) = (keys, values) else { return Err(wrong("map")) };
    let offsets = maps.value_offsets();
    let range = usize::try_from(offsets[row]).map_err(text_of)?..usize::try_from(offsets[row + 1]).map_err(text_of)?;
    Ok(range.map(|at| (keys.value(at), values.is_valid(at).then(|| values.value(at)))).collect())
}

pub(super) fn whole_pairs(maps: &MapArray, row: usize) -> Result<BTreeMap<String, String>, String> {
    let whole = |(key, value): (&str, Option<&str>)| {
        Ok((key.to_owned(), value.ok_or("a map has a key without a value")?.to_owned()))
    };
    pairs(maps, row)?.into_iter().map(whole).collect()
}

pub(super) fn wrong(name: &str) -> String {
    format!("its column '{name}' is not of a checkpoint's type")
}

pub(super) fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
