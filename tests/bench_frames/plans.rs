//! What it costs to plan against a frame of very many cells.

use apiary_ledger::Frames;
use apiary_query::{Planner, Session, Statement, local_config, parse};
use serde_json::{Value, json};

use super::{Bench, FRAME, ROUNDS, Result, spread};

pub(super) async fn plans(bench: &Bench) -> Result<Value> {
    let frames = Frames::new(bench.bucket.clone());
    let planner = Planner::new(bench.bucket.clone(), bench.registry.clone(), frames)?;
    let conditions = [
        ("statistic =", "id = 5000050"),
        ("statistic range", "at >= '1970-02-01' AND at < '1970-02-02'"),
        (
            "statistic IN, 30 values",
            &format!("id IN ({})", (0..30).map(|n| (n * 300_007).to_string()).collect::<Vec<_>>().join(", ")),
        ),
        ("text =", "sensor = 's-00777'"),
        ("partition =", "region = 'r123'"),
        ("partition IN", "region IN ('r001', 'r002', 'r499')"),
        ("both", "region = 'r123' AND price < 500.00"),
        ("decimal range", "price BETWEEN 100.00 AND 101.00"),
    ];
    // The first one pays for the snapshot, which is measured elsewhere.
    let mut told = json!({});
    for (name, condition) in [("warm-up", "false")].into_iter().chain(conditions) {
        let sql = format!("SELECT note FROM {FRAME} WHERE {condition}");
        let Statement::Query(query) = parse(&sql)? else { return Err("no query".into()) };
        let mut times = Vec::new();
        let mut kept = 0;
        for _ in 0..=ROUNDS {
            let pinned = planner.pin(&query, &Session::default()).await?;
            let began = bench.seconds();
            let planned = pinned.plan(local_config(2), planner.runtime()).await?;
            times.push((bench.seconds() - began) * 1e3);
            kept = planned.cells_kept();
        }
        let first = times.remove(0);
        let mut one = spread(times);
        (one["first_ms"], one["cells_kept"]) = (json!(first), json!(kept));
        told[name] = one;
    }
    Ok(told)
}
