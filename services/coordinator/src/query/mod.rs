//! `QueryService`: a statement from its text to its last row.
//!
//! ```text
//!   service ── ask ──▶ supervise ──▶ statement ─┬─ USE, SET, SHOW, DESCRIBE, CREATE, DROP, ALTER: answered from names
//!                        │                      └─ prepare (pin, plan, gate, cut) ─▶ flow ─▶ outlet ─▶ client
//!    timeout, cancel, a client that left, panics                 local plan or board
//! ```
//!
//! | file | tells |
//! |---|---|
//! | `service` | the calls, and what ends a query early |
//! | `statement` | which statement does what |
//! | `define` | CREATE, DROP, ALTER … RENAME TO |
//! | `prepare` | from a query to a plan, and which way it runs |
//! | `flow` | the rows of a plan, and what they cost |
//! | `local` | a plan on this machine, and another try where memory was short |
//! | `hold` | keeping what a long query reads from vacuum |
//! | `explain` | the same plan, told |
//! | `outlet` | events on their way to the client |

mod define;
mod explain;
mod flow;
mod hold;
mod local;
mod outlet;
mod prepare;
mod service;
mod statement;
