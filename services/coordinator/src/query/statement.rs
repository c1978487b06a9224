//! Which statement does what.

use std::{sync::Arc, time::Duration};

use apiary_ingest::IngestError;
use apiary_proto::v1::{self, QueryFinished, QueryStarted};
use apiary_query::{ColonyRows, QueryStatement, QueryStats, Session, Show, Statement, SystemFrame, parse};
use apiary_swarm::QueryLine;
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::Schema,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    define, explain,
    flow::{self, PRINCIPAL},
    outlet::Outlet,
    prepare,
    service::Ask,
};
use crate::{Result, cancel, colony::node_row, queries, state::State};

/// What a statement that only reads names says of its way.
const FROM_NAMES: &str = "answered from the registry";

/// Runs a statement to its last row.
pub(super) async fn run(state: &State, ask: &Ask, token: &CancellationToken, out: &Outlet) -> Result<QueryFinished> {
    let began = state.node.bucket.clock().monotonic();
    let mut session = ask.session.clone();
    let statement = parse(&ask.sql)?;
    if ask.again && changes_something(&statement) {
        return Err(not_known().into());
    }
    let mut stats = match statement {
        Statement::Query(query) => {
            begin(state, ask, began);
            select(state, ask, &query, token, out).await?
        }
        Statement::Explain(explain) => {
            if explain.analyze {
                begin(state, ask, began);
            }
            let report = explain::explain(state, ask, &explain, token, out).await?;
            answer(ask, out, Some(report.batch(explain.json)?)).await?
        }
        Statement::Use(target) => {
            session = state.planner.use_(&target, &session).await?;
            answer(ask, out, None).await?
        }
        Statement::Set { name, value } => {
            session.settings.set(&name, value.as_deref().unwrap_or("default"))?;
            answer(ask, out, None).await?
        }
        Statement::Show(show) => {
            let asked = match show {
                Show::Nodes => &[SystemFrame::Nodes][..],
                Show::Queries => &[SystemFrame::Queries],
                _ => &[],
            };
            let colony = colony_rows(state, asked).await?;
            answer(ask, out, Some(state.planner.show(&show, &session, &colony).await?)).await?
        }
        Statement::Describe(frame) => answer(ask, out, Some(state.planner.describe(&frame, &session).await?)).await?,
        Statement::Cancel(id) => {
            cancel::cancel_told(state, id).await?;
            answer(ask, out, None).await?
        }
        Statement::Create(create) => {
            define::create(state, ask, create).await?;
            answer(ask, out, None).await?
        }
        Statement::Drop(drop) => {
            let note = define::drop(state, ask, &drop).await?;
            answer(ask, out, note.map(note_batch).transpose()?).await?
        }
        Statement::Rename(rename) => {
            session = define::rename(state, ask, &rename).await?;
            answer(ask, out, None).await?
        }
        other => return Err(unsupported(&other).into()),
    };
    stats.elapsed_us = micros(state.node.bucket.clock().monotonic().saturating_sub(began));
    Ok(QueryFinished { stats: Some(wire_stats(stats)), session: Some(wire_session(&session)) })
}

/// From here on the query is told of.
fn begin(state: &State, ask: &Ask, began: Duration) {
    let started_ms = state.node.bucket.clock().wall_ms();
    state.queries.begin(QueryLine::begun(ask.id, &ask.sql, PRINCIPAL, started_ms), began);
}

/// What the colony knows of itself, as far as it is asked.
pub(super) async fn colony_rows(state: &State, asked: &[SystemFrame]) -> Result<ColonyRows> {
    let mut rows = ColonyRows::default();
    if asked.contains(&SystemFrame::Nodes) {
        rows.nodes = state.world().await.iter().map(node_row).collect();
    }
    if asked.contains(&SystemFrame::Queries) {
        rows.queries = queries::rows(state).await?;
    }
    Ok(rows)
}

/// Runs a query and sends its rows.
async fn select(
    state: &State,
    ask: &Ask,
    query: &QueryStatement,
    token: &CancellationToken,
    out: &Outlet,
) -> Result<QueryStats> {
    let progress = || queries::follow(state, ask.id, out.progress());
    let resumed = if ask.again { flow::resume(state, ask, token, progress()).await? } else { None };
    let mut flow = match resumed {
        Some(flow) => {
            out.started(started(ask, flow.way(), flow.reason())).await?;
            flow
        }
        None => {
            let prepared = prepare::prepare(state, ask, query, false).await?;
            out.started(started(ask, prepared.way(), &prepared.reason)).await?;
            flow::open(state, ask, prepared, token, progress()).await?
        }
    };
    let mut rows = out.rows(&flow.schema).await?;
    while let Some(batch) = flow.stream.next().await {
        rows.batch(&batch.map_err(flow::told)?).await?;
        state.queries.tell(ask.id, |line| line.rows = rows.sent());
    }
    Ok(QueryStats { rows: rows.sent(), ..flow.stats() })
}

/// Sends an answer that is there already: a batch, or nothing but the fact that it is done.
async fn answer(ask: &Ask, out: &Outlet, batch: Option<RecordBatch>) -> Result<QueryStats> {
    out.started(started(ask, "local", FROM_NAMES)).await?;
    let mut stats = QueryStats { nodes: 1, execution: "local".to_owned(), ..QueryStats::default() };
    stats.execution_reason = FROM_NAMES.to_owned();
    match batch {
        Some(batch) => {
            let mut rows = out.rows(batch.schema_ref()).await?;
            rows.batch(&batch).await?;
            stats.rows = rows.sent();
        }
        None => drop(out.rows(&Schema::empty()).await?),
    }
    Ok(stats)
}

/// What was found on the way, as an answer of one row.
fn note_batch(note: String) -> Result<RecordBatch> {
    let notes: ArrayRef = Arc::new(StringArray::from(vec![note]));
    Ok(RecordBatch::try_from_iter([("note", notes)]).map_err(IngestError::from)?)
}

fn started(ask: &Ask, execution: &str, reason: &str) -> QueryStarted {
    let (execution, reason) = (execution.to_owned(), reason.to_owned());
    QueryStarted { query_id: ask.id.to_string(), execution, reason }
}

/// Whether running a statement twice is more than running it once.
fn changes_something(statement: &Statement) -> bool {
    matches!(statement, Statement::Create(_) | Statement::Drop(_) | Statement::Rename(_))
}

fn not_known() -> apiary_proto::ClientError {
    let text = "the coordinator that was asked first is gone, and whether it applied the statement is not known";
    let hint = "look with SHOW HIVES, BOXES or FRAMES, then ask anew".to_owned();
    apiary_proto::ClientError::new(apiary_core::ErrorKind::OutcomeUnknown, text).with_hint(hint)
}

fn unsupported(statement: &Statement) -> apiary_proto::ClientError {
    let text = format!("this coordinator does not know how to run {statement:?}");
    apiary_proto::ClientError::new(apiary_core::ErrorKind::Unsupported, text)
}

fn wire_session(session: &Session) -> v1::Session {
    let (hive, box_name, settings) = session.to_parts();
    v1::Session { hive, box_name, settings: settings.into_iter().collect() }
}

fn wire_stats(stats: QueryStats) -> v1::QueryStats {
    v1::QueryStats {
        rows: stats.rows,
        elapsed_us: stats.elapsed_us,
        cells_read: stats.cells_read,
        cells_total: stats.cells_total,
        get_requests: stats.get_requests,
        bytes_read: stats.bytes_read,
        nodes: stats.nodes,
        execution: stats.execution,
        execution_reason: stats.execution_reason,
        stages: stats.stages,
        tasks: stats.tasks,
        retries: stats.retries,
        bytes_cached: stats.bytes_cached,
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
