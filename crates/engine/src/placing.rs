//! Which worker each task is offered to first: what this crate knows of tasks and of the colony, put to
//! [`apiary_swarm::placement`]. The node that is named goes at once, the others look a moment later; a free bee takes
//! whatever is left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apiary_bucket::CellDigest;
use apiary_core::NodeId;
use apiary_swarm::{
    NodeView,
    placement::{Place, Placed, TaskLoad, Why, place},
};

use crate::{Result, StagePlan, StagePlans, comb::pieces::DoneTasks, staff, stages, stages::sizing, task_cells};

/// What each node was given that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    given: HashMap<(u32, u32), (NodeId, u64)>,
}

impl Placing {
    /// Where these attempts, each with its stage and task, are best off.
    pub(crate) fn of(
        &mut self,
        world: &[NodeView],
        done: &DoneTasks,
        attempts: &[((u32, u32), TaskLoad)],
    ) -> Vec<Option<Placed>> {
        self.given.retain(|task, _| !done.contains_key(task));
        let mut places = places(world);
        for place in &mut places {
            let given = self.given.values().filter(|(node, _)| *node == place.node);
            place.assigned = given.map(|(_, weight)| weight).sum();
        }
        let loads: Vec<_> = attempts.iter().map(|(_, load)| load.clone()).collect();
        let placed = place(&loads, &places);
        for ((task, load), placed) in attempts.iter().zip(&placed) {
            if let Some(placed) = placed {
                self.given.insert(*task, (placed.node.clone(), load.weight()));
            }
        }
        placed
    }
}

/// Where tasks of this program may go.
fn places(world: &[NodeView]) -> Vec<Place> {
    let can_work = world.iter().filter(|view| staff::can_work(view));
    let place = can_work.map(|NodeView { heartbeat: beat, .. }| Place {
        node: beat.node.clone(),
        bees: beat.bees.total,
        busy: beat.bees.busy,
        chamber_bytes: beat.chamber_bytes,
        holds: CellDigest::from_text(&beat.cached),
        assigned: 0,
    });
    place.collect()
}

/// What a node is meant to do of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Tasks.
    pub tasks: usize,
    /// Cells that it holds already.
    pub cached: usize,
    /// Cells that it must fetch.
    pub to_fetch: usize,
}

/// Where the tasks of a stage would be placed now, and why, the commonest reason first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagePlacement {
    /// By node.
    pub shares: BTreeMap<NodeId, Share>,
    /// In words.
    pub reasons: Vec<&'static str>,
}

impl StagePlans {
    /// Where the tasks of a stage would be placed now. Nothing of a stage that reads others: where its tasks are best
    /// off is known when those are done. CPU work for each task.
    pub fn placement(&self, stage: &StagePlan, world: &[NodeView]) -> Result<StagePlacement> {
        let mut placement = StagePlacement::default();
        if !stage.inputs.is_empty() {
            return Ok(placement);
        }
        let (plan, count) = (self.resolve(stage.id, &[], &HashMap::new())?, self.tasks_max(stage));
        let load = |task: u32| {
            let slice: Vec<usize> = sizing::slice(stage.tasks, count, task).collect();
            let plan = if count == 1 { Arc::clone(&plan) } else { stages::restrict(&plan, &slice)? };
            let name = format!("{}/{task}", stage.id);
            Ok(TaskLoad { name, cells: task_cells::cells_of(plan.as_ref()), ..TaskLoad::default() })
        };
        let loads = (0..count).map(load).collect::<Result<Vec<_>>>()?;
        let mut reasons: BTreeMap<Why, usize> = BTreeMap::new();
        for (load, placed) in loads.iter().zip(place(&loads, &places(world))) {
            let Some(Placed { node, why, cached }) = placed else { continue };
            let share = placement.shares.entry(node).or_default();
            share.tasks += 1;
            share.cached += cached;
            share.to_fetch += load.cells.len() - cached;
            *reasons.entry(why).or_default() += 1;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, tasks)| std::cmp::Reverse(*tasks));
        placement.reasons = reasons.into_iter().map(|(why, _)| why.as_str()).collect();
        Ok(placement)
    }
}
