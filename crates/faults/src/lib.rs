//! A store on which everything goes wrong that can, by script or by seed: for tests, never for a product.
//!
//! [`FaultStore`] stands between a bucket and any store. [`Rule`]s say which call meets which [`Fault`], [`Rates`]
//! deal faults out by chance from one seed, switches make the whole store weak (no right to write, a full disk, small
//! pages, no order, slowness). It records every call: what was asked, what it met, how it ended. [`MemoryStore`] is
//! the honest store below it, with its ages from a clock that a test holds.
//!
//! ```
//! # use std::sync::Arc;
//! # use apiary_core::{ManualClock, SeededRng};
//! # use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
//! let clock = Arc::new(ManualClock::new());
//! let memory = MemoryStore::new(clock.clone());
//! let store = FaultStore::new(Arc::new(memory.clone()), 7, clock.clone());
//! store.script(Rule::on(Op::Create, Fault::BareConflict).keys("_delta_log/").nth(2));
//! let bucket = apiary_bucket::Bucket::over(Arc::new(store.clone()), clock, Arc::new(SeededRng::new(7)));
//! ```
//!
//! | file | what it tells |
//! |---|---|
//! | [`fault`] | operations, faults and their meaning |
//! | [`plan`] | which call meets which fault: rules first, then rates |
//! | [`record`] | what was called and how it ended |
//! | `late` | puts that are applied when the clock has passed |
//! | `stale` | listings as they were some changes ago |
//! | [`store`] | the store that does all this |
//! | [`memory`] | the honest store |
//! | [`mutate`] | bytes that are almost right, for decoders |

pub mod fault;
mod late;
pub mod memory;
pub mod mutate;
pub mod plan;
pub mod record;
mod stale;
pub mod store;
mod upload;

pub use fault::{Fault, Op};
pub use memory::MemoryStore;
pub use plan::{Plan, Rates, Rule};
pub use record::{Call, Outcome};
pub use store::{FaultStore, Weakness};
