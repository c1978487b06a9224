//! The command line `apiary`, and the colony that runs inside one process.
//!
//! [`embedded`] is what every embedder needs (the command line with `--storage`, the Python SDK): a node with all
//! roles in this process and a client that talks to it without a port. The rest is for people at a terminal:
//! arguments, formats, errors, progress, and one file per command. No command has logic of its own about data:
//! everything goes through the one client, to a node in this process or elsewhere.

mod args;
mod cli;
mod commands;
mod connection;
mod demo;
pub mod embedded;
mod failure;
mod footer;
mod format;
mod home;
mod interrupt;
mod progress;
mod roles;
mod statements;
mod terminal;

pub use cli::run;
pub use footer::footer;
