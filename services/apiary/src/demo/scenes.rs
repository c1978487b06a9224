//! Five questions; each shows one thing that the colony does to answer it.

use apiary_proto::Client;

use super::{ask::ask, stage::Stage};
use crate::{failure::CliError, footer::footer};

/// One question.
struct Scene {
    title: &'static str,
    /// What to look at, in plain words.
    look: &'static str,
    /// `SET execution = …`
    execution: &'static str,
    sql: &'static str,
}

const SCENES: [Scene; 5] = [
    Scene {
        title: "Ask: a local plan",
        look: "Little is to be read, so the coordinator answers alone: distributing would only cost.",
        execution: "auto",
        sql: "SELECT region, count(*) AS readings, round(avg(temperature), 2) AS mean, max(temperature) AS highest
FROM demo.sensors.temperature
GROUP BY region ORDER BY region",
    },
    Scene {
        title: "Ask: a distributed plan",
        look: "The same colony on the board: stages of tasks in the bucket, which the three workers pull.",
        execution: "board",
        sql: "SELECT CAST(timestamp AS DATE) AS day, region,
       min(temperature) AS lowest, max(temperature) AS highest, count(*) AS readings
FROM demo.sensors.temperature
GROUP BY day, region ORDER BY lowest, day, region LIMIT 5",
    },
    Scene {
        title: "Ask: partition pruning",
        look: "The frame is parted by region: only north's cells are opened.",
        execution: "auto",
        sql: "SELECT sensor, count(*) AS frosts, min(temperature) AS lowest
FROM demo.sensors.temperature
WHERE region = 'north' AND temperature < 0
GROUP BY sensor ORDER BY lowest, sensor LIMIT 5",
    },
    Scene {
        title: "Ask: statistics pruning",
        look: "The ledger knows each cell's smallest and largest timestamp: older cells stay shut.",
        execution: "auto",
        sql: "SELECT region, max(temperature) AS highest
FROM demo.sensors.temperature
WHERE timestamp >= '2026-10-30'
GROUP BY region ORDER BY highest DESC",
    },
    Scene {
        title: "Ask: a join",
        look: "Readings meet their stations; the region in the condition still prunes.",
        execution: "auto",
        sql: "SELECT s.station, s.altitude_m, max(t.temperature) AS highest
FROM demo.sensors.temperature t
JOIN demo.sensors.stations s ON s.sensor = t.sensor
WHERE t.region = 'south' AND s.altitude_m > 1200
GROUP BY s.station, s.altitude_m ORDER BY highest DESC, s.station LIMIT 5",
    },
];

/// Asks all five.
pub(super) async fn run(client: &Client, stage: &Stage) -> Result<(), CliError> {
    for scene in &SCENES {
        stage.chapter(scene.title);
        stage.say(scene.look);
        stage.blank();
        if scene.execution != "auto" {
            stage.sql(&format!("SET execution = {};", scene.execution));
        }
        stage.sql(scene.sql);
        let progress = stage.progress("running", "tasks", None);
        let answer = ask(client, scene.sql, scene.execution, &progress).await?;
        stage.table(&answer.schema, &answer.batches)?;
        stage.aside(footer(&answer.stats));
        let progress = stage.progress("explaining", "", None);
        let plan = ask(client, &format!("EXPLAIN {}", scene.sql), scene.execution, &progress).await?;
        telling(&plan.lines()).iter().for_each(|line| stage.aside(line));
    }
    Ok(())
}

/// The lines of a plan that say which way, why, and what was pruned.
fn telling(lines: &[String]) -> Vec<&str> {
    const LINES_MAX: usize = 6;
    let tells =
        |(at, line): (usize, &String)| at == 0 || line.contains("pruned") || line.trim_start().starts_with("frame ");
    lines.iter().enumerate().filter(|entry| tells(*entry)).map(|(_, line)| line.trim_end()).take(LINES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_plan_the_way_the_frames_and_the_pruning_are_told() {
        let plan =
            "board · 3 stages   why: x\nframe a.b.c @ version 4  cells 8 → 2\n  6 pruned by region = 'n'\nstage 1";
        let lines: Vec<String> = plan.lines().map(str::to_owned).collect();
        assert_eq!(telling(&lines).len(), 3);
    }
}
