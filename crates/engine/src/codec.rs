//! Plans as bytes.
//!
//! The only file that turns a physical plan into protobuf and back. The form is DataFusion's and Ballista's and not
//! stable between their versions, so everything that carries one carries [`engine_version`] beside it, and whoever
//! reads it compares before it decodes.

use std::sync::Arc;

use ballista_core::serde::BallistaCodec;
use bytes::Bytes;
use datafusion::{execution::TaskContext, physical_plan::ExecutionPlan};
use datafusion_proto::{physical_plan::AsExecutionPlan, protobuf::PhysicalPlanNode};

use crate::{EngineError, Result};

/// What is raised when rows lie otherwise between two stages, or are named otherwise.
const COMB_FORMAT: u32 = 2;

/// Names the form that plans are encoded in, and rows between stages. Two programs with the same text read each other's.
#[must_use]
pub fn engine_version() -> String {
    format!(
        "{}/comb-{COMB_FORMAT}/ballista-{}/datafusion-{}",
        env!("CARGO_PKG_VERSION"),
        ballista_core::BALLISTA_VERSION,
        datafusion::DATAFUSION_VERSION
    )
}

/// Fails unless `theirs` is this program's version.
pub fn check_version(theirs: &str) -> Result<()> {
    let ours = engine_version();
    if theirs == ours { Ok(()) } else { Err(EngineError::Version { theirs: theirs.to_owned(), ours }) }
}

pub(crate) fn encode_plan(plan: Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    let codec: BallistaCodec = BallistaCodec::default();
    let node = PhysicalPlanNode::try_from_physical_plan(plan, codec.physical_extension_codec())
        .map_err(EngineError::encode)?;
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).map_err(EngineError::encode)?;
    Ok(bytes.into())
}

pub(crate) fn decode_plan(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    let codec: BallistaCodec = BallistaCodec::default();
    let node = PhysicalPlanNode::try_decode(bytes).map_err(EngineError::decode)?;
    node.try_into_physical_plan(context, codec.physical_extension_codec()).map_err(EngineError::decode)
}
