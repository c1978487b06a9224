//! The whole ledger in one thread, with one clock that jumps and one seed for everything that chance decides: several
//! coordinators and a compactor over one store on which everything goes wrong, machines that crash in the middle of
//! anything, freeze for hours, and disagree about the year.
//!
//! ```text
//!  coordinators ── bank: transfers        ┐                        ┌ every snapshot that anyone saw
//!  (caches and     set: appends, retried  ├─ FaultStore ─ Ghost ── ┤  is the log's, to the last cell
//!  clocks of       register: if version   ┘   late puts,   sees    ├ the sum is the same in every version
//!  their own)                                 lost answers every   ├ an acknowledged id is there once
//!                  names: create, drop,       503 bursts,  byte    ├ answers agree with the log in real time
//!                  rename, use                stale lists  written ├ every cell of the last version is there
//!  compactor ───── merge, checkpoint,                              └ names lead where they were said to lead
//!                  clean, vacuum, sweep
//! ```
//!
//! The code under test is the real one, `Frames` over `Bucket`; only cells are made up: an object of a few numbers, and
//! an entry that says so. The judge is the [`ghost`], which stands below the faults and sees what the store really
//! held, and [`apiary_tests::linear`].
//!
//! A machine has up to four appends in hand at once, so that they share entries; transfers and swaps come one by one.
//! Among the faults are bits that are read wrong; [`flips`] deals those out one by one.
//!
//! The same seed gives the same trace, to the last call. `APIARY_SIM_SEEDS` runs more seeds than the usual 200,
//! `APIARY_SIM_FIRST` begins elsewhere, `APIARY_SIM_SEED` runs one and prints its trace. A seed that ever failed
//! stays, by name, in [`cases`].

mod cases;
mod clock;
mod flips;
mod frozen;
mod ghost;
mod image;
mod judge;
mod names;
mod node;
mod run;
mod sleepers;
mod target;
mod work;
mod world;
