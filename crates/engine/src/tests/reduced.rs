//! Large sides of joins, reduced before they are dealt out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apiary_swarm::behaviour::abandonment::Remedy;
use ballista_core::{
    JobId,
    serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionLocation,
        PartitionStats,
    },
};
use datafusion::{
    physical_plan::displayable,
    prelude::{SessionConfig, SessionContext},
};

use super::{colony::Colony, statements::without_broadcast};
use crate::{
    Grain, StagePlans, board_config, codec,
    comb::pieces::DoneTasks,
    publish::{Common, OpenStage, Order, task_object},
    query_run::Attempt,
    stages::{Locations, StagePlan},
};

const EXISTS: &str = "SELECT count(*) FROM t WHERE EXISTS (SELECT 1 FROM big WHERE big.id = t.v AND big.k <> t.k)";

async fn cut(sql: &str, grain: Grain) -> StagePlans {
    cut_under(board_config(3), sql, grain).await
}

async fn cut_under(config: SessionConfig, sql: &str, grain: Grain) -> StagePlans {
    let mut colony = Colony::new();
    colony.fill().await;
    colony.grain = grain;
    colony.cut(sql, config).await.unwrap().0.plans
}

fn reduced(plans: &StagePlans) -> Vec<&StagePlan> {
    plans.stages.iter().filter(|stage| !stage.reduced_by().is_empty()).collect()
}

/// What a stage does when other stages have written so many rows and bytes.
fn resolved(plans: &StagePlans, id: u32, written: &[(u32, u64, u64)]) -> String {
    displayable(plans.resolve(id, &[], &locations(written)).unwrap().as_ref()).indent(false).to_string()
}

fn locations(written: &[(u32, u64, u64)]) -> Locations {
    let location = |stage: u32, rows: u64, bytes: u64| PartitionLocation {
        map_partition_id: 0,
        partition_id: PartitionId::new(&JobId::new("q".to_owned()), stage as usize, 0),
        executor_meta: ExecutorMetadata {
            id: "n".to_owned(),
            host: format!("0:{bytes}:{rows}:0::0/data.arrow"),
            port: 0,
            grpc_port: 0,
            specification: ExecutorSpecification::default(),
            os_info: ExecutorOperatingSystemSpecification::default(),
        },
        partition_stats: PartitionStats::new(Some(rows), Some(1), Some(bytes)),
        file_id: None,
        is_sort_shuffle: false,
    };
    let pieces = |stage, rows, bytes| HashMap::from([(0, vec![location(stage, rows, bytes)])]);
    written.iter().map(|(stage, rows, bytes)| (*stage as usize, pieces(*stage, *rows, *bytes))).collect()
}

#[tokio::test]
async fn the_stage_of_the_large_side_waits_for_the_small_and_keeps_what_finds_a_partner() {
    let plans = cut(EXISTS, Grain::FINE).await;
    let stages = reduced(&plans);
    let [large] = stages[..] else { panic!("{plans:#?}") };
    let [by] = large.reduced_by()[..] else { panic!("{large:?}") };
    assert_eq!(large.inputs, [by], "{}", large.display());
    assert!(by < large.id && plans.stage(by).unwrap().display().contains("frames/t"));
    assert!(large.display().contains("frames/big") && large.display().contains("join_type=RightSemi"));
    let join = plans.stages.iter().find(|stage| stage.inputs.contains(&large.id)).unwrap();
    assert_eq!(join.inputs, [by, large.id], "both read what the small side wrote");
}

#[tokio::test]
async fn a_small_side_that_is_not_small_reduces_nothing_and_a_successor_says_the_same() {
    let plans = cut(EXISTS, Grain::FINE).await;
    let context = SessionContext::new_with_config(board_config(1));
    let runtime = apiary_query::runtime_for(&apiary_bucket::Bucket::in_memory()).unwrap();
    let context = SessionContext::new_with_config_rt(context.copied_config(), runtime);
    let again = StagePlans::decode(&plans.encode().unwrap(), &context.task_ctx()).unwrap();
    for plans in [&plans, &again] {
        let stages = reduced(plans);
        let (id, by) = (stages[0].id, stages[0].reduced_by()[0]);
        assert!(resolved(plans, id, &[(by, 1, 16 << 20)]).contains("RightSemi"));
        let whole = resolved(plans, id, &[(by, 1, (16 << 20) + 1)]);
        assert!(!whole.contains("RightSemi") && whole.contains("SortShuffleWriter"), "{whole}");
    }
}

#[tokio::test]
async fn a_task_that_ran_out_of_memory_is_tried_again_without_what_reduces_it() {
    let plans = cut(EXISTS, Grain::FINE).await;
    let (id, by) = (reduced(&plans)[0].id, reduced(&plans)[0].reduced_by()[0]);
    let locations = locations(&[(by, 1, 100)]);
    let (plan, bare) = (plans.resolve(id, &[], &locations).unwrap(), plans.resolve_bare(id, &[], &locations).unwrap());
    assert!(bare.is_some() && plans.resolve_bare(by, &[], &locations).unwrap().is_none());
    let stage = OpenStage { plan, bare, sql: String::new(), tasks: 1 };
    let query = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let common = Common { query, settings: &[], done: &DoneTasks::new(), timeout: Duration::from_secs(60) };
    let runtime = apiary_query::runtime_for(&apiary_bucket::Bucket::in_memory()).unwrap();
    let context = SessionContext::new_with_config_rt(board_config(1), runtime).task_ctx();
    for (remedy, semi_joins) in [(Remedy::Same, 1), (Remedy::RoomierOrSpilling, 0)] {
        let attempt = Attempt { stage: id, task: 0, attempt: 1 };
        let (task, _) = task_object(&common, &stage, &Order { attempt, avoid: Vec::new(), remedy }).unwrap();
        let plan = codec::decode_plan(&task.plan, &context).unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        assert_eq!(text.matches("RightSemi").count(), semi_joins, "{text}");
    }
}

/// As TPC-H's query 18: who has orders with many lines, and all of their lines.
const HAVING: &str = "SELECT a.id, a.k, count(*) FROM big a, big b WHERE a.id IN \
     (SELECT v FROM t GROUP BY v HAVING sum(k) > 9) AND a.id = b.id GROUP BY a.id, a.k";

#[tokio::test]
async fn groups_that_are_filtered_have_a_stage_of_their_own_and_reduce_all_that_is_joined_by_their_keys() {
    let plans = cut_under(without_broadcast(board_config(3)), HAVING, Grain::FINE).await;
    let [a, b] = reduced(&plans)[..] else { panic!("{plans:#?}") };
    let by = a.reduced_by()[0];
    let groups = plans.stage(by).unwrap().display();
    assert!(groups.contains("FilterExec: sum(t.k)") && !groups.contains("Join"), "{groups}");
    assert_eq!((b.reduced_by(), &a.inputs, &b.inputs), (&[by][..], &vec![by], &vec![by]));
    assert!(a.display().contains("on=[(v@0, id@0)]") && b.display().contains("on=[(v@0, id@0)]"));
    let join = plans.stages.iter().find(|stage| stage.inputs.contains(&a.id)).unwrap();
    assert_eq!(join.inputs, [by, a.id, b.id]);
    let plans = cut_under(without_broadcast(board_config(3)), HAVING, Grain::default()).await;
    assert!(reduced(&plans).is_empty(), "60 000 rows are dealt faster than a stage waits: {plans:#?}");
}

#[tokio::test]
async fn of_several_that_could_reduce_a_stage_the_one_that_wrote_least_does() {
    let sql = "SELECT count(*) FROM t WHERE EXISTS (SELECT 1 FROM big a WHERE a.id = t.v AND a.k <> t.k) \
         AND NOT EXISTS (SELECT 1 FROM big b WHERE b.id = t.v AND b.k > t.k)";
    let plans = cut_under(without_broadcast(board_config(3)), sql, Grain::FINE).await;
    let b = *reduced(&plans).last().unwrap();
    let [t, a] = b.reduced_by()[..] else { panic!("{}", b.display()) };
    assert_eq!((b.inputs.len(), b.display().matches("RightSemi").count()), (2, 2), "{}", b.display());
    assert_eq!(plans.stage(a).unwrap().reduced_by(), [t], "what reduces another is reduced itself");
    for (written, by) in [
        ([(t, 1, 200), (a, 2, 100)], Some("v@0")),
        ([(t, 2, 100), (a, 1, 200)], Some("id@0")),
        ([(t, 1, 100), (a, 1, 100)], Some("v@0")),
        ([(t, 1, 1 << 40), (a, 2, 16 << 20)], Some("id@0")),
        ([(t, 3_500_000, 16 << 20), (a, 3_500_001, 1)], Some("v@0")),
        ([(t, 3_500_001, 1), (a, 1, 1 << 40)], None),
    ] {
        let plan = resolved(&plans, b.id, &written);
        let on = by.map(|key| format!("join_type=RightSemi, on=[({key}, id@0)]"));
        assert_eq!(plan.matches("RightSemi").count(), usize::from(on.is_some()), "{plan}");
        assert!(on.is_none_or(|on| plan.contains(&on)), "{written:?}: {plan}");
        assert_eq!(plan.matches("DataSourceExec").count(), 1, "{plan}");
    }
}

#[tokio::test]
async fn what_must_see_every_row_is_not_reduced() {
    for sql in [
        "SELECT t.id, big.h FROM t FULL JOIN big ON t.v = big.id",
        "SELECT count(*) FROM t WHERE v NOT IN (SELECT k FROM big)",
        "SELECT a.id, b.id FROM big a RIGHT JOIN big b ON a.id = b.id LEFT JOIN (SELECT v FROM t GROUP BY v HAVING sum(k) > 9) g ON g.v = a.id WHERE g.v IS NULL OR g.v > 1",
        "SELECT count(*) FROM (SELECT k, count(*) c FROM t GROUP BY k) a LEFT JOIN (SELECT k, count(*) c FROM big GROUP BY k) b ON a.k = b.k",
    ] {
        let plans = cut(sql, Grain::FINE).await;
        assert!(reduced(&plans).is_empty(), "{sql}: {:#?}", Arc::new(plans));
    }
    let plans = cut(EXISTS, Grain::default()).await;
    assert!(reduced(&plans).is_empty(), "60 000 rows are dealt faster than a stage waits");
}
