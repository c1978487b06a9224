//! The crate as its users see it: frames in a bucket in memory, statements in, rows and reports out.

mod blooms;
mod catalog;
mod damage;
mod errors;
mod fuzz;
pub(crate) mod kit;
mod plans;
mod system;
mod truth;
