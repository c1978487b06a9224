//! The rules of conflict.
