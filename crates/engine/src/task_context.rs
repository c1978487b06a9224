//! What one task's plan is decoded and run with: its settings, its memory, its counted store.
//!
//! A session would do, and makes a planner, an analyzer, catalogs and an optimizer first: most of a millisecond for each of
//! hundreds of tasks. A task needs functions, settings and an environment.

use std::sync::{Arc, LazyLock};

use apiary_bucket::Bucket;
use apiary_swarm::board::{FailureCause, TaskObject};
use datafusion::{
    execution::{TaskContext, runtime_env::RuntimeEnv},
    logical_expr::ScalarUDF,
    prelude::SessionContext,
};

use crate::{EngineError, Result, config, filters, room::Room};

/// A context with DataFusion's own functions, from which those of tasks are made.
static BASE: LazyLock<Arc<TaskContext>> = LazyLock::new(|| SessionContext::new().task_ctx());

/// For `task`, which reads through `bucket` and holds what `room` has; stores' footers are shared with `base`.
pub(crate) fn task_context(
    task: &TaskObject,
    bucket: &Bucket,
    room: &Room,
    base: &RuntimeEnv,
) -> Result<Arc<TaskContext>> {
    let settings: Vec<_> = task.settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let config = filters::within_a_task(config::for_bucket(config::rebuild(&settings)?, bucket));
    let config = apiary_query::within_chamber(config, room.budget_bytes());
    let runtime = apiary_query::runtime_like(base, bucket, Some(room.pool()), room.disk())
        .map_err(|error| EngineError::Attempt { cause: FailureCause::Other, message: error.to_string() })?;
    // Some functions keep a setting, such as the time zone, as a session's would.
    let with_settings = |function: &Arc<ScalarUDF>| {
        function.inner().with_updated_config(config.options()).map_or_else(|| Arc::clone(function), Arc::new)
    };
    let functions = BASE.scalar_functions().iter();
    let functions = functions.map(|(name, function)| (name.clone(), with_settings(function))).collect();
    let context = TaskContext::new(
        None,
        BASE.session_id(),
        config,
        functions,
        BASE.higher_order_functions().clone(),
        BASE.aggregate_functions().clone(),
        BASE.window_functions().clone(),
        runtime,
    );
    Ok(Arc::new(context))
}
