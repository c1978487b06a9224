//! One file for each command; the demo has a folder of its own beside this one.

pub(crate) mod cells;
pub(crate) mod checkpoint;
pub(crate) mod compact;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod sql;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod vacuum;
pub(crate) mod verify;

#[cfg(test)]
mod tests;
