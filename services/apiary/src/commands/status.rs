//! `apiary status`: the nodes of the colony, and how hard they work.

use std::{sync::Arc, time::Duration};

use apiary_core::{Clock, SystemClock, units};
use apiary_proto::{
    Client, ClientError,
    v1::{ColonyStatus, NodeStatus},
};
use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray},
    error::ArrowError,
};
use serde_json::json;

use crate::{
    args::{ShownAs, StatusArgs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    format::{Format, ResultWriter, TableLayout},
    terminal::{Ink, Terminal},
};

/// How often an empty colony is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A node's first look takes a LIST and a few GETs.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) async fn run(args: &StatusArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::WorkIfPossible).await?;
    let status = look(connection.client(), connection.is_visitor()).await;
    connection.close().await;
    let status = status?;
    match args.format {
        ShownAs::Json => terminal.line(as_json(&status)),
        ShownAs::Table => print(&status, terminal)?,
    }
    Ok(())
}

/// The colony; a node that has just started (the one in this process) is given time for its first look. A visitor's
/// first look is as good as any, and may find nobody.
async fn look(client: &Client, is_visitor: bool) -> Result<ColonyStatus, ClientError> {
    let started = SystemClock.monotonic();
    loop {
        let status = client.status().await?;
        if is_visitor || !status.nodes.is_empty() || SystemClock.monotonic().saturating_sub(started) > FIRST_LOOK_MAX {
            return Ok(status);
        }
        SystemClock.sleep(LOOK_INTERVAL).await;
    }
}

/// The colony in words, the nodes as a table.
pub(crate) fn print(status: &ColonyStatus, terminal: &Terminal) -> Result<(), ArrowError> {
    let live = status.nodes.iter().filter(|node| node.state == "alive").count();
    terminal.line(format_args!("bucket       {}", status.storage));
    terminal.line(format_args!(
        "colony       {} alive · version {}",
        units::counted(live as u64, "node"),
        status.version
    ));
    let temperature = format!("{:.2} · {}: {}", status.temperature, status.regime, meaning(&status.regime));
    terminal.line(format_args!("temperature  {}", terminal.paint(ink(&status.regime), temperature)));
    let batch = nodes(&status.nodes)?;
    let layout = TableLayout { width: terminal.width(), rows: None };
    let mut writer = ResultWriter::begin(Format::Table, terminal.rows(), &batch.schema(), layout)?;
    writer.write(&batch)?;
    writer.finish()
}

/// What a regime means for someone who writes and asks.
fn meaning(regime: &str) -> &'static str {
    match regime {
        "cold" => "nearly idle, everything flows",
        "ideal" => "working well, everything flows",
        "warm" => "busy, compaction waits",
        "hot" => "very busy, writes are slowed and queries queue",
        "critical" => "overloaded, writes are refused until it cools",
        _ => "unknown",
    }
}

fn ink(regime: &str) -> Ink {
    match regime {
        "cold" | "ideal" => Ink::Green,
        "warm" => Ink::Yellow,
        _ => Ink::Red,
    }
}

fn nodes(nodes: &[NodeStatus]) -> Result<RecordBatch, ArrowError> {
    let text = |value: &dyn Fn(&NodeStatus) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(nodes.iter().map(value)))
    };
    RecordBatch::try_from_iter([
        ("node", text(&|node| node.node.clone())),
        ("state", text(&|node| node.state.clone())),
        ("roles", text(&|node| node.roles.join(", "))),
        ("address", text(&|node| node.address.clone())),
        ("bees (cores)", text(&|node| format!("{} of {} busy", node.bees_busy, node.bees_total))),
        ("memory", text(&|node| units::bytes(node.memory_bytes))),
        ("temperature", Arc::new(Float64Array::from_iter_values(nodes.iter().map(|node| round(node.temperature))))),
        ("version", text(&|node| node.version.clone())),
        ("seen", text(&|node| seen(node.seen_ms_ago))),
    ])
}

fn seen(ms_ago: u64) -> String {
    match ms_ago / 1000 {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        _ => format!("{} ago", units::duration(Duration::from_millis(ms_ago))),
    }
}

fn round(temperature: f64) -> f64 {
    (temperature * 100.0).round() / 100.0
}

fn as_json(status: &ColonyStatus) -> serde_json::Value {
    let node = |node: &NodeStatus| {
        json!({
            "node": node.node,
            "state": node.state,
            "roles": node.roles,
            "address": node.address,
            "bees_total": node.bees_total,
            "bees_busy": node.bees_busy,
            "chamber_bytes": node.chamber_bytes,
            "memory_bytes": node.memory_bytes,
            "temperature": node.temperature,
            "version": node.version,
            "seen_ms_ago": node.seen_ms_ago,
        })
    };
    json!({
        "cluster": status.cluster,
        "storage": status.storage,
        "temperature": status.temperature,
        "regime": status.regime,
        "version": status.version,
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> ColonyStatus {
        let node = NodeStatus {
            node: "pi-3".to_owned(),
            state: "alive".to_owned(),
            roles: vec!["worker".to_owned()],
            address: "10.0.0.3:7420".to_owned(),
            bees_total: 4,
            bees_busy: 1,
            chamber_bytes: 512_000_000,
            memory_bytes: 4_000_000_000,
            temperature: 0.123,
            version: "0.1.0".to_owned(),
            seen_ms_ago: 1200,
        };
        ColonyStatus {
            cluster: "c".to_owned(),
            storage: "file:///b".to_owned(),
            nodes: vec![node],
            temperature: 0.123,
            regime: "cold".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn the_status_reads_as_words_and_a_table() {
        let (terminal, out, _) = Terminal::captured();
        print(&status(), &terminal).unwrap();
        let expected = "
bucket       file:///b
colony       1 node alive · version 0.1.0
temperature  0.12 · cold: nearly idle, everything flows
┌──────┬───────┬────────┬───────────────┬──────────────┬────────┬─────────────┬─────────┬─────────┐
│ node ┆ state ┆ roles  ┆ address       ┆ bees (cores) ┆ memory ┆ temperature ┆ version ┆ seen    │
╞══════╪═══════╪════════╪═══════════════╪══════════════╪════════╪═════════════╪═════════╪═════════╡
│ pi-3 ┆ alive ┆ worker ┆ 10.0.0.3:7420 ┆ 1 of 4 busy  ┆ 4.0 GB ┆        0.12 ┆ 0.1.0   ┆ 1 s ago │
└──────┴───────┴────────┴───────────────┴──────────────┴────────┴─────────────┴─────────┴─────────┘
";
        assert_eq!(out.text().trim(), expected.trim(), "\n{}", out.text());
    }

    #[test]
    fn the_json_form_keeps_every_number() {
        let value = as_json(&status());
        assert_eq!(value["nodes"][0]["seen_ms_ago"], 1200);
        assert_eq!(value["regime"], "cold");
    }
}
