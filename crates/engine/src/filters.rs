//! Filters that fill at run time, within one task.
//!
//! A join that has collected its small side knows which keys can match, and tells the scan of its other side, which
//! passes over row groups and cells without any. DataFusion does that when it plans; but a filter filled in one
//! process cannot be read in another, and a plan that was cut with one in it would wait for ever. So a query for the
//! board is planned without, and the worker asks for them once more, over the part of the plan that runs in its task;
//! between the same walls as a plan for one machine, or a filter would be taken for another column of its name.

use std::sync::Arc;

use datafusion::{
    config::ConfigOptions,
    error::Result,
    physical_plan::{ExecutionPlan, replace_children_if_necessary},
    prelude::SessionConfig,
};

/// The settings of a task: its filters are on.
pub(crate) fn within_a_task(config: SessionConfig) -> SessionConfig {
    config.set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", true)
}

/// `writer`, with such filters in the plan below it.
pub(crate) fn push_down(writer: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs: Vec<_> = writer.children().into_iter().map(Arc::clone).collect();
    let inputs =
        inputs.into_iter().map(|input| apiary_query::push_filters_down(input, options)).collect::<Result<_>>()?;
    replace_children_if_necessary(writer, inputs)
}
