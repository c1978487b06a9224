//! One feature set for the whole workspace.
//!
//! Cargo unifies features only over the packages that one command selects, so `cargo run -p apiary`, `cargo test -p
//! apiary-ledger` and the build of the Python wheel would each compile their own DataFusion. Every member depends on
//! this crate, which names the union, and they share one. There is no code in here.
