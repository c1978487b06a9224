//! Orders of the joins of known statements, over frames that have statistics and no rows; and random statements in
//! both orders, over frames that have some.

mod frames;
mod random;

use std::fmt::Write;

use datafusion::logical_expr::{JoinType, LogicalPlan};

use crate::tests::kit::{Colony, session};

/// The joins of a plan, inputs by the names of their frames, the side that is built first.
fn joins(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table().to_owned(),
        LogicalPlan::SubqueryAlias(alias) if matches!(*alias.input, LogicalPlan::TableScan(_)) => {
            alias.alias.table().to_owned()
        }
        LogicalPlan::Join(join) => {
            let sign = match join.join_type {
                JoinType::Inner if join.on.is_empty() => "×",
                JoinType::Inner => "⋈",
                JoinType::LeftSemi => "⋉",
                JoinType::LeftAnti => "▷",
                _ => "?",
            };
            format!("({} {sign} {})", joins(&join.left), joins(&join.right))
        }
        LogicalPlan::Aggregate(aggregate) => format!("γ{}", joins(&aggregate.input)),
        other => other.inputs().into_iter().map(joins).collect::<Vec<_>>().join(", "),
    }
}

#[tokio::test]
async fn the_joins_of_tpc_h_begin_with_what_is_small() {
    let colony = Colony::new();
    frames::tpch(&colony).await;
    let mut told = String::new();
    for number in [2, 3, 5, 7, 8, 9, 10, 11, 17, 18, 20, 21] {
        let file = format!("{}/../../tests/tpch/q{number:02}.sql", env!("CARGO_MANIFEST_DIR"));
        let planned = colony.plan(&std::fs::read_to_string(file).unwrap(), &session("tpch", "main")).await.unwrap();
        writeln!(told, "q{number:02} {}", joins(&planned.logical)).unwrap();
    }
    assert_eq!(
        told,
        "q02 (((((part ⋈ partsupp) ⋈ supplier) ⋈ nation) ⋈ region) ⋉ γ((((region ⋈ nation) ⋈ supplier) ⋈ partsupp) ⋉ part))
q03 γ((customer ⋈ orders) ⋈ lineitem)
q05 γ(supplier ⋈ ((((region ⋈ nation) ⋈ customer) ⋈ orders) ⋈ lineitem))
q07 γ(((nation ⋈ customer) ⋈ orders) ⋈ ((nation ⋈ supplier) ⋈ lineitem))
q08 γ((n2 ⋈ supplier) ⋈ ((((region ⋈ n1) ⋈ customer) ⋈ orders) ⋈ (part ⋈ lineitem)))
q09 γ((((nation ⋈ supplier) ⋈ (part ⋈ partsupp)) ⋈ lineitem) ⋈ orders)
q10 γ(nation ⋈ ((orders ⋈ lineitem) ⋈ customer))
q11 γ((nation ⋈ supplier) ⋈ partsupp)
q17 γ((lineitem ⋈ part) ⋉ γ(lineitem ⋉ part))
q18 γ((customer ⋈ (orders ⋉ γlineitem)) ⋈ lineitem)
q20 ((supplier ⋈ nation) ⋉ ((partsupp ⋉ part) ⋉ γ(lineitem ⋉ part)))
q21 γ(((orders ⋈ ((nation ⋈ supplier) ⋈ lineitem)) ▷ lineitem) ⋉ l2)
"
    );
}
