//! Overwrite: a stream of batches takes the place of a frame's rows, or of some partitions' rows, in one version.
//!
//! What is replaced is what is there when the overwrite is committed: rows that others append while it is on its way
//! are before it, and go. Whoever means "only if nobody changed anything" names the version that was seen.

use apiary_cell::sha256_hex;
use apiary_core::{FramePath, Version};
use apiary_ledger::{PartitionValues, Scope, Snapshot, Transaction, partition_text};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::Stream;

use crate::{
    Ingest, IngestError, Result, WriteReport,
    append::{check_key, idem_of, report},
    commit::Landed,
    names::Confirm,
    payload::{self, Intake, Source, Written},
    shaper::PartitionText,
};

/// What an overwrite replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Replaced {
    /// Every row of the frame.
    #[default]
    Frame,
    /// The partitions of which the payload has rows.
    PayloadPartitions,
    /// These partitions: one value for each partition column, as text; `None` is NULL. Rows outside them are an
    /// error; a partition of which the payload has no row is empty afterwards.
    Partitions(Vec<PartitionValues>),
}

/// How to overwrite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverwriteOptions {
    /// What goes.
    pub replaces: Replaced,
    /// Only if no row changed after this version.
    pub expected_version: Option<Version>,
    /// As for an append; the same key for another part of the frame is an error.
    pub idempotency_key: Option<String>,
    /// Whose key it is.
    pub principal: String,
}

impl Ingest {
    /// Puts everything in `batches` in place of what `options` names, in one version. All of it or nothing. A payload
    /// without rows leaves the frame, or the named partitions, empty; for [`Replaced::PayloadPartitions`] it changes
    /// nothing and makes no version.
    ///
    /// Cost and cancellation as for [`Ingest::append`], and the frame's newest version first.
    pub async fn overwrite(
        &self,
        frame: &FramePath,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
        options: OverwriteOptions,
    ) -> Result<WriteReport> {
        let key = options.idempotency_key.as_deref();
        check_key(key)?;
        let (record, base) = self.newest(frame).await?;
        let named = match &options.replaces {
            Replaced::Partitions(named) => Some(named_in(&base, named)?),
            _ => None,
        };
        let intake = Intake::new(&schema, &base, key.is_some())?;
        let (txn, mut source) = (self.new_txn(), Source::new(batches));
        source.forget();
        let mut pipeline = self.pipeline(&base, txn)?;
        let was_used = key.is_some_and(|key| base.knows_key(&options.principal, key));
        let admit = |values: &PartitionText| match &named {
            Some(named) if !named.contains(values) => Err(IngestError::OutsidePartitions { values: spelled(values) }),
            _ => Ok(()),
        };
        let written = if was_used {
            payload::digest(&self.cores, intake, &mut source).await
        } else {
            payload::write_all(&mut pipeline, intake, &mut source, &mut Confirm::none(), admit).await
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                pipeline.delete_own().await;
                return Err(error);
            }
        };
        let scope = scope_of(&options.replaces, named, &written);
        if written.rows == 0 && options.replaces == Replaced::PayloadPartitions {
            return Ok(report(&written, Landed { version: base.version, retries: 0, already_applied: false }));
        }
        // The same rows for another part of the frame are another request.
        let whole =
            written.digest.as_ref().map(|digest| sha256_hex(format!("{digest} {:?}", options.replaces).as_bytes()));
        let transaction = Transaction::overwrite(txn, &self.settings.node, written.cells.clone(), scope)
            .with_idem(idem_of(key, &options.principal, whole))
            .expecting(options.expected_version);
        let report = report(&written, self.land(&record, base, transaction, pipeline).await?);
        tracing::info!(
            frame = %record.path, %txn, version = %report.version, rows = report.rows, cells = report.cells,
            retries = report.retries, already_applied = report.already_applied, "overwrite committed"
        );
        Ok(report)
    }
}

fn scope_of(replaces: &Replaced, named: Option<Vec<PartitionValues>>, written: &Written) -> Scope {
    match replaces {
        Replaced::Frame => Scope::All,
        Replaced::Partitions(_) => Scope::Partitions(named.unwrap_or_default()),
        Replaced::PayloadPartitions => {
            let mut values: Vec<PartitionValues> = written.cells.iter().map(|cell| cell.partition_values()).collect();
            values.sort();
            values.dedup();
            Scope::Partitions(values)
        }
    }
}

/// Partitions as the ledger spells them.
fn named_in(base: &Snapshot, named: &[PartitionValues]) -> Result<Vec<PartitionValues>> {
    let by = &base.partition_by;
    let spell = |values: &PartitionValues| -> Result<PartitionValues> {
        let known = |name: &String| values.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        if by.is_empty() || values.len() != by.len() || !by.iter().all(|name| known(name).is_some()) {
            return Err(IngestError::NoSuchPartition { values: spelled(values), by: by.clone() });
        }
        let column = |name: &String| {
            let value = known(name).and_then(|(_, value)| value.as_deref());
            let field = base.schema.field_with_name(name)?;
            let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok((name.clone(), None)) };
            let value = partition_text::from_text(name, text, field.data_type())?;
            Ok((name.clone(), Some(partition_text::to_text(name, &value, field.data_type())?)))
        };
        by.iter().map(column).collect()
    };
    named.iter().map(spell).collect()
}

/// A partition for people.
fn spelled(values: &PartitionText) -> String {
    let one = |(name, value): &(String, Option<String>)| format!("{name} = {}", value.as_deref().unwrap_or("NULL"));
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}
