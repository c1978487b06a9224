//! Why an attempt failed, read from DataFusion's error.
//!
//! Ballista's own classification counts memory, store errors and panics as final; on a board where another node may
//! have a roomier chamber they are not. The difference that matters most is the query's own fault (a cast, a
//! division by zero): it fails everywhere alike, so it must never be tried four times.

use std::error::Error;

use apiary_bucket::{BucketError, DAMAGED};
use apiary_core::ErrorKind;
use apiary_query::scratch_is_full;
use apiary_swarm::board::FailureCause;
use ballista_core::error::BallistaError;
use datafusion::{arrow::error::ArrowError, error::DataFusionError};

use crate::EngineError;

/// The cause behind `error`.
#[must_use]
pub(crate) fn classify(error: &DataFusionError) -> FailureCause {
    match error {
        error if scratch_is_full(&error.to_string()).is_some() => FailureCause::Memory,
        DataFusionError::ObjectStore(error) if error.to_string().contains(DAMAGED) => FailureCause::CorruptCell,
        DataFusionError::ResourcesExhausted(_) => FailureCause::Memory,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => FailureCause::Store,
        DataFusionError::ParquetError(error) => parquet(error.as_ref()),
        DataFusionError::ArrowError(error, _) => arrow(error),
        DataFusionError::External(error) => external(error.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(FailureCause::Other, classify),
        DataFusionError::ExecutionJoin(_) => FailureCause::Panic,
        DataFusionError::Execution(message) | DataFusionError::Internal(message) if message.contains("panicked") => {
            FailureCause::Panic
        }
        DataFusionError::Execution(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
            FailureCause::Query
        }
        _ => FailureCause::Other,
    }
}

fn ballista(error: &BallistaError) -> FailureCause {
    match error {
        BallistaError::ArrowError(error) => arrow(error),
        BallistaError::DataFusionError(error) => classify(error),
        BallistaError::IoError(_) => FailureCause::Store,
        BallistaError::TokioError(_) => FailureCause::Panic,
        _ => FailureCause::Other,
    }
}

fn arrow(error: &ArrowError) -> FailureCause {
    match error {
        ArrowError::IoError(..) => FailureCause::Store,
        ArrowError::ParquetError(_) | ArrowError::IpcError(_) => FailureCause::CorruptCell,
        ArrowError::MemoryError(_) => FailureCause::Memory,
        ArrowError::ExternalError(error) => external(error.as_ref()),
        ArrowError::CDataInterface(_) | ArrowError::NotYetImplemented(_) => FailureCause::Other,
        _ => FailureCause::Query,
    }
}

/// A Parquet reader reports a failed request and a broken file with one type: the request is in the source.
fn parquet(error: &(dyn Error + 'static)) -> FailureCause {
    match error.source() {
        _ if error.to_string().contains(DAMAGED) => FailureCause::CorruptCell,
        Some(source) if is_store(source) => FailureCause::Store,
        _ if error.to_string().contains("object_store") || error.to_string().contains("Object at location") => {
            FailureCause::Store
        }
        _ if is_failed_fetch(&error.to_string()) => FailureCause::Store,
        _ => FailureCause::CorruptCell,
    }
}

/// Whether a footer was not read at all: DataFusion keeps of the store's error only its words.
fn is_failed_fetch(words: &str) -> bool {
    words.contains("Failed to fetch metadata")
        && (words.contains(": External: ") || words.contains("Object Store error"))
}

fn external(error: &(dyn Error + Send + Sync + 'static)) -> FailureCause {
    if let Some(error) = error.downcast_ref::<BucketError>() {
        return match error.kind() {
            ErrorKind::Corrupt => FailureCause::CorruptCell,
            _ => FailureCause::Store,
        };
    }
    if let Some(error) = error.downcast_ref::<BallistaError>() {
        return ballista(error);
    }
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return match error.kind() {
            ErrorKind::Corrupt => FailureCause::CorruptCell,
            ErrorKind::Storage => FailureCause::Store,
            _ => FailureCause::Other,
        };
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return classify(error);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return arrow(error);
    }
    match error.to_string() {
        text if text.contains(DAMAGED) => FailureCause::CorruptCell,
        _ if is_store(error) => FailureCause::Store,
        _ => FailureCause::Other,
    }
}

fn is_store(error: &(dyn Error + 'static)) -> bool {
    error.is::<object_store::Error>() || error.is::<std::io::Error>() || error.source().is_some_and(is_store)
}

/// What `error` says, without the wrappings that only its programmers understand.
#[must_use]
pub(crate) fn words(error: &DataFusionError) -> String {
    if let Some(full) = scratch_is_full(&error.to_string()) {
        return full;
    }
    match error {
        DataFusionError::Shared(inner) => words(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => words(inner),
        DataFusionError::ArrowError(inner, _) => arrow_words(inner),
        DataFusionError::Execution(text) | DataFusionError::ResourcesExhausted(text) => text.clone(),
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::ArrowError(inner)) => arrow_words(inner),
            Some(BallistaError::DataFusionError(inner)) => words(inner),
            _ => inner.downcast_ref::<DataFusionError>().map_or_else(|| inner.to_string(), words),
        },
        error => error.strip_backtrace(),
    }
}

fn arrow_words(error: &ArrowError) -> String {
    let inner = match error {
        ArrowError::ExternalError(inner) => inner.downcast_ref::<DataFusionError>(),
        _ => None,
    };
    inner.map_or_else(|| error.to_string(), words)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn the_querys_own_fault_is_told_apart_from_the_worlds() {
        let shared = |error| DataFusionError::Shared(Arc::new(error));
        let footer = |why| {
            let text = format!("Failed to fetch metadata for file a.parquet: {why}");
            DataFusionError::ParquetError(Box::new(ParquetError::General(text)))
        };
        let ballista = BallistaError::ArrowError(Box::new(ArrowError::DivideByZero)).into_datafusion();
        assert_eq!(
            words(&shared(BallistaError::DataFusionError(Box::new(ballista)).into_datafusion())),
            "Divide by zero error"
        );
        let ballista = BallistaError::ArrowError(Box::new(ArrowError::DivideByZero)).into_datafusion();
        let cases = [
            (ballista, FailureCause::Query),
            (DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None), FailureCause::Query),
            (DataFusionError::ResourcesExhausted("pool".into()), FailureCause::Memory),
            (DataFusionError::IoError(std::io::Error::other("disk")), FailureCause::Store),
            (DataFusionError::Execution("shuffle-write drain task panicked: x".into()), FailureCause::Panic),
            (DataFusionError::External(Box::new(std::io::Error::other("net"))), FailureCause::Store),
            (footer("Parquet error: External: Generic S3 error: timed out"), FailureCause::Store),
            (footer("Parquet error: Invalid Parquet file. Corrupt footer"), FailureCause::CorruptCell),
            (
                DataFusionError::ArrowError(Box::new(ArrowError::IpcError("eos".into())), None),
                FailureCause::CorruptCell,
            ),
        ];
        for (error, cause) in cases {
            let text = error.to_string();
            assert_eq!(classify(&shared(error).context("while reading")), cause, "{text}");
        }
    }
}
