//! One file for each command; the demo has a folder of its own beside this one.

pub(crate) mod compact;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod sql;
pub(crate) mod start;
pub(crate) mod status;

#[cfg(test)]
mod tests;
