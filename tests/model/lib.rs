//! Every history of the commit protocol, within small bounds, walked through by a model checker.
//!
//! The decisions are the program's own: `decide` below is the ledger's file, compiled into this crate, and its
//! `Protocol::on` and `recognise` are called for every step of every writer. What stands around it is mirrored here:
//! the thin driver of `crates/ledger/src/commit` ([`writer`]), the store and what it does to requests ([`world`]),
//! checkpoints, fences, log cleanup and vacuum ([`keeper`]), and the reader of snapshots ([`reader`]).
//!
//! ```text
//!   three writers ──put-if-absent──►  slots 0..=4  ◄──delete── cleanup (checkpoint, fence, delete)
//!        │   ▲                            ▲   ▲
//!        │   └──── read forward ──────────┘   └──doom── vacuum ──delete──► cells
//!        └──► requests held up on the way: they land whenever they like, or never
//! ```
//!
//! Writers 0 and 1 are two coordinators that execute the same request under one idempotency key; writer 2 has none.
//! Any writer may sleep for as long as it likes at any point: it is enough that nobody takes its next step. A crash
//! is a sleep that never ends. What the store ever held is kept beside the store ([`world::World::first`]), and the
//! properties ([`properties`]) compare it with what writers and readers were told.
//!
//! A checker that finds nothing proves nothing: [`Mutant`] names faults that can be planted, and for each of them a
//! test says which property it breaks.

#![cfg(test)]

// The program's file names its crates; these are the few words of theirs that it uses.
extern crate self as apiary_core;

#[path = "../../crates/ledger/src/commit/decide.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod decide;
mod header;
mod keeper;
mod properties;
mod reader;
mod transaction;
mod walk;
mod world;
mod writer;

use header::{TxnId, Version};
use walk::{Config, Mutant};

mod tests;
