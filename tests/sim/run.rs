//! One seed, from its first request to the judge's last look.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_core::{Clock, Rng, SeededRng, within};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{
    clock::NodeClock,
    frozen::{Freezer, Frozen},
    image::image,
    node::Node,
    target::Target,
    world::{RETENTION, Setting, World},
};

const COORDINATORS: u64 = 3;

/// Times of work, with hours of quiet between them.
const ERAS: u64 = 3;

/// Operations of one machine in one era.
const OPS_IN_ERA: u64 = 7;

/// A run that takes longer by its own clock never ends.
const TIME_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Years that a machine's wall clock may be off, in milliseconds.
const SKEW_MAX_MS: u64 = 3 * 365 * 24 * 3_600_000;

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) faults: Vec<String>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) trace: u64,
    pub(crate) tail: String,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, setting: Setting) -> Report {
    // In three of four one frame is old.
    let old = Target::ALL.into_iter().nth((seed % 4) as usize).filter(|_| setting.wide);
    let image = image(old);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, setting, image);
        let rng = SeededRng::new(seed);
        let machines = FuturesUnordered::new();
        let storm = Arc::clone(&world).let_loose(SeededRng::new(rng.next_u64()));
        machines.push(Box::pin(storm) as BoxFuture<'static, ()>);
        for n in 0..=COORDINATORS {
            machines.push(machine(n, &world, &rng));
        }
        let clock = world.clock.clone();
        let all = machines.collect::<Vec<()>>();
        if clock.run(within(&world.clock, TIME_MAX, all)).await.is_none() {
            world.fault("the run never ends".to_owned());
        }
        world.store.calm();
        clock.run(world.judge()).await;
        Report { faults: world.faults(), counts: world.counts(), trace: world.trace(), tail: world.tail() }
    })
}

/// One machine: it lives, crashes, comes back with empty caches, and freezes whenever the weather wants.
fn machine(n: u64, world: &Arc<World>, rng: &SeededRng) -> BoxFuture<'static, ()> {
    let (world, rng) = (Arc::clone(world), SeededRng::new(rng.next_u64()));
    let skew_ms = match rng.below(3) {
        0 => rng.below(2 * SKEW_MAX_MS) as i64 - SKEW_MAX_MS as i64,
        _ => rng.below(2000) as i64 - 1000,
    };
    let clock = NodeClock::new(&world.clock, skew_ms);
    let freezer = Freezer::default();
    let weather = weather(Arc::clone(&world), freezer.clone(), SeededRng::new(rng.next_u64()));
    let lives = async move {
        let name = if n < COORDINATORS { format!("coordinator-{n}") } else { "compactor".to_owned() };
        let done = Arc::new(AtomicU64::new(0));
        let mut lives = 0;
        while done.load(Ordering::SeqCst) < ERAS * OPS_IN_ERA {
            lives += 1;
            let node = Node::new(&name, &world, &clock, &rng);
            let work = Box::pin(live(node, n < COORDINATORS, Arc::clone(&done)));
            let (freezer, clock) = (freezer.clone(), clock.clone());
            let frozen = Frozen { work, freezer, world: world.clock.clone(), clock, thaw: None };
            // Every third life ends in a crash, but a machine that crashes for ever does nothing.
            if lives > 5 || rng.below(3) > 0 {
                frozen.await;
            } else if within(&world.clock, Duration::from_millis(rng.below(60_000)), frozen).await.is_none() {
                world.count("crash");
                world.tell(format!("{name} crashes"));
                done.fetch_add(1, Ordering::SeqCst);
                world.clock.sleep(Duration::from_millis(rng.below(20_000))).await;
            }
        }
    };
    Box::pin(async move {
        futures::join!(lives, weather);
    })
}

async fn live(node: Node, serves: bool, done: Arc<AtomicU64>) {
    loop {
        let nth = done.load(Ordering::SeqCst);
        if nth >= ERAS * OPS_IN_ERA {
            return;
        }
        let era = RETENTION / 2 * (nth / OPS_IN_ERA) as u32;
        let quiet = era.saturating_sub(node.world.clock.monotonic());
        let think = Duration::from_millis(node.rng.below(400));
        node.bucket.clock().sleep(quiet + think).await;
        if serves {
            node.serve().await
        } else {
            node.keep_house().await
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Freezes the machine now and then: for a moment, or for longer than anything is kept.
async fn weather(world: Arc<World>, freezer: Freezer, rng: SeededRng) {
    for _ in 0..rng.below(4) {
        let era = RETENTION / 2 * rng.below(ERAS) as u32;
        let moment = era + Duration::from_millis(rng.below(5_000));
        world.clock.sleep(moment.saturating_sub(world.clock.monotonic())).await;
        let how_long = match rng.below(2) {
            0 => Duration::from_millis(rng.below(30_000)),
            _ => RETENTION + RETENTION * rng.below(4) as u32,
        };
        freezer.freeze(world.clock.monotonic(), how_long, rng.below(2) == 0);
        world.count("freeze");
    }
}
