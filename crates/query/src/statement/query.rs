//! Queries: DataFusion's parser reads them, and whatever is not a pure query is refused.

use std::ops::ControlFlow;

use datafusion::{
    error::DataFusionError,
    sql::{
        parser::{DFParserBuilder, Statement as DfStatement},
        sqlparser::{
            ast::{
                Query, Select, SelectFlavor, SelectItem, SetExpr, Statement as Ast, Visit, VisitMut, Visitor,
                VisitorMut, WildcardAdditionalOptions,
            },
            parser::ParserError,
        },
    },
};

use super::{
    refuse,
    tokens::{Tokens, syntax},
};
use crate::{QueryError, Result, advice, position::Position};

/// A query as it was written and as it was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryStatement {
    sql: String,
    from: usize,
    ast: Box<Query>,
}

impl QueryStatement {
    /// The whole statement; errors point into it.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The query without an EXPLAIN before it; parsing it gives the same query.
    #[must_use]
    pub fn query_sql(&self) -> &str {
        &self.sql[self.from..]
    }

    pub(crate) fn ast(&self) -> &Query {
        &self.ast
    }
}

pub(super) fn parse(tokens: Tokens<'_>) -> Result<QueryStatement> {
    let sql = tokens.sql;
    if tokens.peek().is_none() {
        return Err(tokens.expected("a query"));
    }
    let from = tokens.place().map_or(0, |place| place.byte_in(sql));
    let mut statements = DFParserBuilder::new(tokens.into_rest())
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| of_parser(sql, error))?;
    match statements.pop_front() {
        Some(DfStatement::Statement(ast)) => match *ast {
            Ast::Query(mut ast) => {
                let _: ControlFlow<()> = VisitMut::visit(&mut ast, &mut AllColumns);
                let mut writes = Writes;
                match Visit::visit(&ast, &mut writes) {
                    ControlFlow::Break(what) => Err(refuse::writing(what)),
                    ControlFlow::Continue(()) => Ok(QueryStatement { sql: sql.to_owned(), from, ast }),
                }
            }
            other => Err(refuse::writing(&first_words(&other.to_string()))),
        },
        Some(other) => Err(refuse::writing(&first_words(&other.to_string()))),
        None => Err(syntax(sql, None, "there is no statement here")),
    }
}

fn first_words(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Finds the parts of a query that would write.
struct Writes;

impl Visitor for Writes {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        match query.body.as_ref() {
            SetExpr::Insert(_) => ControlFlow::Break("INSERT"),
            SetExpr::Update(_) => ControlFlow::Break("UPDATE"),
            SetExpr::Delete(_) => ControlFlow::Break("DELETE"),
            SetExpr::Merge(_) => ControlFlow::Break("MERGE"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if select.into.is_some() { ControlFlow::Break("SELECT INTO") } else { ControlFlow::Continue(()) }
    }
}

/// `FROM frame` alone means all of its columns, not none.
struct AllColumns;

impl VisitorMut for AllColumns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if select.flavor == SelectFlavor::FromFirstNoSelect && select.projection.is_empty() {
            select.flavor = SelectFlavor::Standard;
            select.projection.push(SelectItem::Wildcard(WildcardAdditionalOptions::default()));
        }
        ControlFlow::Continue(())
    }
}

fn of_parser(sql: &str, error: DataFusionError) -> QueryError {
    let message = match error {
        DataFusionError::SQL(error, _) => match *error {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
            ParserError::RecursionLimitExceeded => "the query is nested too deeply".to_owned(),
        },
        DataFusionError::Diagnostic(_, error) => return of_parser(sql, *error),
        other => other.strip_backtrace(),
    };
    let (text, at) = Position::split_off(&message);
    let text = text.strip_prefix("Expected: ").map_or_else(|| text.to_owned(), |rest| format!("expected {rest}"));
    let text = text.replace("found: EOF", "found the end").replace("found: ", "found ");
    syntax(sql, at, &advice::tidy(&text))
}
