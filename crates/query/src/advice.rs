//! DataFusion's errors in the words of the user: what is wrong, where it stands, what was probably meant.

use apiary_bucket::{BucketError, DAMAGED};
use apiary_core::{ErrorKind, limits, suggest::nearest};
use apiary_ledger::LedgerError;
use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
};

use crate::{QueryError, names::picture_of};

/// Column names listed when none is near.
const COLUMNS_SHOWN_MAX: usize = 12;

/// What is wrong with a statement that could not be planned.
pub(crate) fn of_plan(error: DataFusionError, sql: &str) -> QueryError {
    match core(&error) {
        DataFusionError::SchemaError(schema, _) => of_schema(schema, sql),
        DataFusionError::Plan(message) => match quoted_after(message, "Invalid function '") {
            Some(name) => unknown_function(name, message, sql),
            None => QueryError::meaning(tidy(message), None),
        },
        DataFusionError::NotImplemented(message) => QueryError::Run {
            kind: ErrorKind::Unsupported,
            message: format!("not supported: {}", tidy(message)),
            hint: None,
        },
        DataFusionError::SQL(parser, _) => QueryError::meaning(tidy(&parser.to_string()), None),
        _ => of_run(error),
    }
}

/// What is wrong with a plan that failed while it ran.
pub(crate) fn of_run(error: DataFusionError) -> QueryError {
    let core = core(&error);
    let run = |kind, hint: Option<&str>| QueryError::Run {
        kind,
        message: tidy(&core.message()),
        hint: hint.map(str::to_owned),
    };
    if let Some(cell) = missing_cell(&core.message()) {
        let message = format!("the cell '{cell}' is gone from the bucket although the version that is read names it");
        // A snapshot that vacuum no longer keeps reads the same as a broken bucket; a newer one tells them apart.
        let hint =
            "if this version is older than vacuum keeps, run the query again; else `apiary verify` says what is lost";
        return QueryError::Run { kind: ErrorKind::Corrupt, message, hint: Some(hint.to_owned()) };
    }
    if let Some(damage) = damaged_cell(&core.message()) {
        let hint = Some("`apiary verify --deep` names every broken cell; restore it from a copy".to_owned());
        return QueryError::Run { kind: ErrorKind::Corrupt, message: format!("the cell {damage}"), hint };
    }
    if let Some(message) = scratch_is_full(&core.message()) {
        return QueryError::Run { kind: ErrorKind::MemoryBudget, message, hint: Some(limits::MEMORY_REMEDIES.into()) };
    }
    match core {
        DataFusionError::ResourcesExhausted(_) => run(ErrorKind::MemoryBudget, Some(limits::MEMORY_REMEDIES)),
        DataFusionError::ObjectStore(_) => run(ErrorKind::Storage, None),
        DataFusionError::IoError(_) => run(ErrorKind::Storage, None),
        DataFusionError::ParquetError(_) => run(ErrorKind::Corrupt, Some("`apiary verify` names broken cells")),
        DataFusionError::External(inner) => match inner {
            _ if inner.is::<BucketError>() => run(kind_of::<BucketError>(inner.as_ref(), BucketError::kind), None),
            _ if inner.is::<LedgerError>() => run(kind_of::<LedgerError>(inner.as_ref(), LedgerError::kind), None),
            _ if inner.is::<QueryError>() => run(kind_of::<QueryError>(inner.as_ref(), QueryError::kind), None),
            _ => run(ErrorKind::Internal, None),
        },
        DataFusionError::NotImplemented(_) => run(ErrorKind::Unsupported, None),
        DataFusionError::ExecutionJoin(join) if join.is_cancelled() => run(ErrorKind::Cancelled, None),
        DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => run(ErrorKind::Internal, None),
        // Arithmetic, casts and functions on values that they do not take.
        _ => run(ErrorKind::SqlSyntax, None),
    }
}

/// What to say of a run that filled its scratch folder, if that is what `message` says.
#[must_use]
pub fn scratch_is_full(message: &str) -> Option<String> {
    let (_, limit) =
        message.split_once("disk space during the spilling process has exceeded the allowable limit of ")?;
    let limit = limit.split(". ").next().unwrap_or(limit).trim();
    Some(format!("its scratch files came to {limit}, the most that a chamber may have on disk"))
}

/// The cell that the store does not have. The Parquet reader hands on the store's error as text only.
fn missing_cell(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("Object at location ")?;
    rest.split_once(" not found").map(|(path, _)| path).filter(|path| path.ends_with(".parquet"))
}

/// The cell whose bytes are not what was written, in quotes, and what is wrong with it.
fn damaged_cell(message: &str) -> Option<String> {
    let (before, what) = message.split_once(DAMAGED)?;
    let (_, path) = before.strip_suffix('\'')?.rsplit_once('\'')?;
    Some(format!("'{path}'{DAMAGED}{}", what.lines().next().unwrap_or_default()))
}

fn kind_of<E: std::error::Error + 'static>(
    error: &(dyn std::error::Error + Send + Sync + 'static),
    kind: fn(&E) -> ErrorKind,
) -> ErrorKind {
    error.downcast_ref::<E>().map_or(ErrorKind::Internal, kind)
}

/// The error below its wrappings; of several the first.
fn core(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => core(inner),
        DataFusionError::Shared(inner) => core(inner),
        DataFusionError::Collection(many) => many.first().map_or(error, core),
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, core),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            datafusion::arrow::error::ArrowError::ExternalError(inner) => {
                inner.downcast_ref::<DataFusionError>().map_or(error, core)
            }
            _ => error,
        },
        _ => error,
    }
}

fn of_schema(error: &SchemaError, sql: &str) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields, sql),
        SchemaError::AmbiguousReference { field } => QueryError::Meaning {
            message: format!("the column '{}' is in more than one of the frames", field.name),
            picture: picture_of(sql, &field.name),
            hint: Some(format!("write the frame's name or alias before it: x.{}", field.name)),
        },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::meaning(
                format!("the name '{name}' stands twice in one list of columns"),
                "give one of them another name with AS".to_owned(),
            )
        }
    }
}

fn unknown_column(field: &Column, valid: &[Column], sql: &str) -> QueryError {
    // Names that the planner makes up for itself begin with two underscores.
    let shown: Vec<&str> =
        valid.iter().map(|column| column.name.as_str()).filter(|name| !name.starts_with("__")).collect();
    let mut relations: Vec<&str> = valid.iter().filter_map(|column| Some(column.relation.as_ref()?.table())).collect();
    relations.dedup();
    let hint = match field.relation.as_ref().map(|relation| relation.table()) {
        Some(table) if !relations.is_empty() && !relations.contains(&table) => {
            Some(format!("there is no '{table}' in FROM; there is {}", relations.join(", ")))
        }
        _ => match nearest(&field.name, shown.iter().copied()) {
            Some(near) => Some(format!("did you mean '{near}'?")),
            None if shown.is_empty() => None,
            None => Some(format!("the columns are {}", list(&shown))),
        },
    };
    let message = format!("there is no column '{}'", written(field));
    QueryError::Unknown { message, picture: picture_of(sql, &field.name), hint }
}

/// The column as it was probably written: its frame's own name before it, not the whole path.
fn written(field: &Column) -> String {
    match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => field.name.clone(),
    }
}

fn list(names: &[&str]) -> String {
    let mut shown = names.iter().take(COLUMNS_SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > COLUMNS_SHOWN_MAX {
        shown += &format!(" and {} more", names.len() - COLUMNS_SHOWN_MAX);
    }
    shown
}

fn unknown_function(name: &str, message: &str, sql: &str) -> QueryError {
    let near = quoted_after(message, "Did you mean '").filter(|near| nearest(name, [*near]).is_some());
    QueryError::Meaning {
        message: format!("there is no function '{name}'"),
        picture: picture_of(sql, name),
        hint: near.map(|near| format!("did you mean '{near}'?")),
    }
}

fn quoted_after<'a>(message: &'a str, mark: &str) -> Option<&'a str> {
    message.split_once(mark)?.1.split_once('\'').map(|(name, _)| name)
}

/// First letter small, no full stop, no trace.
pub(crate) fn tidy(message: &str) -> String {
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(message).trim();
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        // "Cannot …", but not "CAST …" or "Utf8View".
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() && is_word(message) => {
            first.to_lowercase().collect::<String>() + letters.as_str()
        }
        _ => message.to_owned(),
    }
}

fn is_word(message: &str) -> bool {
    message.split(' ').next().is_some_and(|word| word.chars().all(char::is_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_small_and_ends_without_a_full_stop() {
        assert_eq!(tidy("Cannot cast string 'x' to Int64."), "cannot cast string 'x' to Int64");
        assert_eq!(tidy("CAST fails"), "CAST fails");
        assert_eq!(tidy("Utf8 is odd"), "Utf8 is odd");
    }

    #[test]
    fn memory_that_is_gone_is_told_as_such() {
        let error = of_run(DataFusionError::ResourcesExhausted("no more".to_owned()).context("sorting"));
        assert_eq!(error.kind(), ErrorKind::MemoryBudget);
        assert!(error.hint().unwrap().contains("--memory"));
    }

    #[test]
    fn a_full_scratch_folder_is_told_as_a_budget() {
        let full = "The used disk space during the spilling process has exceeded the allowable limit of 8.0 GB. \
                    Please try increasing the config: `datafusion.runtime.max_temp_directory_size`.";
        let error = of_run(DataFusionError::IoError(std::io::Error::other(full)));
        assert_eq!(error.kind(), ErrorKind::MemoryBudget);
        assert_eq!(error.to_string(), "its scratch files came to 8.0 GB, the most that a chamber may have on disk");
        assert!(error.hint().unwrap().contains("--memory"));
    }

    #[test]
    fn an_error_below_others_keeps_its_kind() {
        let inner = LedgerError::Corrupt { object: "x".to_owned(), why: "torn".to_owned() };
        let error = of_run(DataFusionError::External(Box::new(inner)).context("a").context("b"));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
