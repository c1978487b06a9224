//! One statement, from text to meaning: Apiary's own small ones by a parser of our own, queries by DataFusion's.
//!
//! A query comes out as a syntax tree and is not looked at further; nothing here knows which frames exist.

mod define;
mod own;
mod query;
mod refuse;
mod tokens;
mod types;

use apiary_core::{QueryId, limits::SQL_BYTES_MAX};

use crate::{QueryError, Result};

pub use define::{Create, Drop, Named, NewFrame, Rename};
pub use query::QueryStatement;

/// A statement that has been understood.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// Rows are asked for.
    Query(QueryStatement),
    /// The plan of a query is asked for.
    Explain(Explain),
    /// `USE`.
    Use(Use),
    /// `SET name = value`; no value: back to the default.
    Set {
        /// The setting as written.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// `SHOW`.
    Show(Show),
    /// `DESCRIBE frame`.
    Describe(FrameRef),
    /// `CANCEL QUERY 'id'`.
    Cancel(QueryId),
    /// `CREATE HIVE | BOX | FRAME`.
    Create(Create),
    /// `DROP HIVE | BOX | FRAME`.
    Drop(Drop),
    /// `ALTER HIVE | BOX | FRAME … RENAME TO`.
    Rename(Rename),
}

/// `EXPLAIN [ANALYZE] [VERBOSE] [FORMAT JSON] query`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// Run it, and say what it cost.
    pub analyze: bool,
    /// Name every cell.
    pub verbose: bool,
    /// As JSON.
    pub json: bool,
    /// The query.
    pub query: QueryStatement,
}

/// Where names without a hive or a box are looked for from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// `USE HIVE h` or `USE h`: the box is forgotten.
    Hive(String),
    /// `USE BOX b`, in the hive used now, `USE BOX h.b` or `USE h.b`.
    Box {
        /// The hive, if written.
        hive: Option<String>,
        /// The box.
        box_name: String,
    },
}

/// What `SHOW` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Show {
    /// The hives.
    Hives,
    /// The boxes of a hive; without one, of the hive used, else of all.
    Boxes {
        /// The hive.
        hive: Option<String>,
    },
    /// The frames of a hive or a box; without either, of the box or hive used, else all.
    Frames {
        /// `hive`, `box` or `hive.box`.
        within: Vec<String>,
    },
    /// What happened to a frame, newest first.
    History {
        /// The frame.
        frame: FrameRef,
        /// Most versions to show.
        limit: u64,
    },
    /// The nodes on the bucket.
    Nodes,
    /// What runs, and what ran during the last day.
    Queries,
    /// The settings.
    Settings,
}

/// A frame as written, one to three parts, quotes taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameRef(pub Vec<String>);

impl std::fmt::Display for FrameRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Understands one statement. Fails with kind `SqlSyntax`, the place and a caret under it, or `Unsupported` with the
/// command to use instead. Pure: nothing is looked up.
pub fn parse(sql: &str) -> Result<Statement> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(QueryError::TooLong { bytes: sql.len(), max: SQL_BYTES_MAX });
    }
    let mut tokens = tokens::Tokens::of(sql)?;
    let Some(verb) = tokens.peek_word() else { return query::parse(tokens).map(Statement::Query) };
    refuse::check(&verb)?;
    match verb.as_str() {
        "EXPLAIN" => own::explain(tokens).map(Statement::Explain),
        "USE" => own::use_(&mut tokens).map(Statement::Use),
        "SET" => own::set(&mut tokens),
        "RESET" => own::reset(&mut tokens),
        "SHOW" => own::show(&mut tokens).map(Statement::Show),
        "DESCRIBE" | "DESC" => own::describe(&mut tokens).map(Statement::Describe),
        "CANCEL" => own::cancel(&mut tokens).map(Statement::Cancel),
        "CREATE" => define::create(&mut tokens).map(Statement::Create),
        "DROP" => define::drop(&mut tokens).map(Statement::Drop),
        "ALTER" => define::alter(&mut tokens).map(Statement::Rename),
        _ => query::parse(tokens).map(Statement::Query),
    }
}

#[cfg(test)]
mod tests;
