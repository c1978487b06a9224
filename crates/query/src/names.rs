//! Which frames a statement names, and which frames those are.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use apiary_core::{ErrorKind, suggest::nearest};
use apiary_ledger::{FrameRecord, Namespace};
use datafusion::{
    common::TableReference,
    sql::{
        parser::Statement as DfStatement,
        resolve::resolve_table_references,
        sqlparser::ast::{ObjectName, Query, Statement as Ast, TableFactor, Visit, Visitor},
    },
};

use crate::{FrameRef, QueryError, Result, Session, advice, position::find_word};

const INFORMATION_SCHEMA: &str = "information_schema";

/// What the FROM clauses of a statement name.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Frames, as parts, each once.
    pub(crate) frames: Vec<FrameRef>,
    /// Whether the catalog itself is asked.
    pub(crate) catalog: bool,
}

impl References {
    /// Collects them; common table expressions and table functions are none.
    pub(crate) fn of(query: &Query, sql: &str) -> Result<Self> {
        let statement = DfStatement::Statement(Box::new(Ast::Query(Box::new(query.clone()))));
        let (tables, _) = resolve_table_references(&statement, true).map_err(|error| advice::of_plan(error, sql))?;
        let mut functions = Functions::default();
        let ControlFlow::Continue(()) = query.visit(&mut functions);
        let mut references = Self::default();
        for table in tables {
            if table.schema() == Some(INFORMATION_SCHEMA) {
                references.catalog = true;
            } else if !functions.0.contains(table.table()) || table.schema().is_some() {
                references.frames.push(FrameRef(parts(&table)));
            }
        }
        Ok(references)
    }
}

fn parts(table: &TableReference) -> Vec<String> {
    let parts = [table.catalog(), table.schema(), Some(table.table())];
    parts.into_iter().flatten().map(str::to_owned).collect()
}

/// Names that are called, like `generate_series(1, 10)`.
#[derive(Default)]
struct Functions(BTreeSet<String>);

impl Visitor for Functions {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let name: Option<&ObjectName> = match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => Some(name),
            _ => None,
        };
        if let Some(ident) = name.and_then(|name| name.0.last()).and_then(|part| part.as_ident()) {
            self.0.insert(ident.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }
}

/// The frame that `name` means in `session`, in any case. `sql` is for the picture in errors.
pub(crate) fn resolve(
    name: &FrameRef,
    session: &Session,
    namespace: &Namespace,
    sql: &str,
) -> Result<Arc<FrameRecord>> {
    let hive = session.hive.as_ref().map(apiary_core::HiveName::as_str);
    let box_name = session.box_name.as_ref().map(apiary_core::BoxName::as_str);
    let full = match (&name.0[..], hive, box_name) {
        ([hive, box_name, frame], ..) => Some((hive.as_str(), box_name.as_str(), frame.as_str())),
        ([box_name, frame], Some(hive), _) => Some((hive, box_name.as_str(), frame.as_str())),
        ([frame], Some(hive), Some(box_name)) => Some((hive, box_name, frame.as_str())),
        _ => None,
    };
    let Some((hive, box_name, frame)) = full else { return Err(unplaced(name, session, namespace, sql)) };
    match namespace.frame(hive, box_name, frame) {
        Ok(record) => Ok(record),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(missing(&format!("{hive}.{box_name}.{frame}"), frame, namespace, sql))
        }
        Err(error) => Err(error.into()),
    }
}

fn missing(full: &str, frame: &str, namespace: &Namespace, sql: &str) -> QueryError {
    let hint = match suggestion(full, frame, namespace) {
        Some(path) => format!("did you mean {path}?"),
        None => "SHOW FRAMES lists them all".to_owned(),
    };
    let picture = picture_of(sql, frame);
    QueryError::Unknown { message: format!("there is no frame {full}"), picture, hint: Some(hint) }
}

/// A name that lacks its hive or box.
fn unplaced(name: &FrameRef, session: &Session, namespace: &Namespace, sql: &str) -> QueryError {
    let last = name.0.last().map_or("", String::as_str);
    let lacks = if name.0.len() == 1 && session.hive.is_none() { "a hive and a box" } else { "a box" };
    let lacks = if name.0.len() == 2 { "a hive" } else { lacks };
    let hint = match suggestion(&name.to_string(), last, namespace) {
        Some(path) => format!("did you mean {path}?"),
        None => format!("write hive.box.{last}, or USE hive.box first"),
    };
    let message = format!("the frame name {name} lacks {lacks}");
    QueryError::Meaning { message, picture: picture_of(sql, last), hint: Some(hint) }
}

/// The known frame nearest to a name: by its whole path, or else by its own name.
fn suggestion(full: &str, frame: &str, namespace: &Namespace) -> Option<String> {
    let known = namespace.all_frames();
    let paths: Vec<String> = known.iter().map(|record| record.path.to_string()).collect();
    let same = known.iter().find(|record| record.path.frame.folded() == frame.to_lowercase());
    let near = || nearest(frame, known.iter().map(|record| record.path.frame.as_str()));
    let by_name = || known.iter().find(|record| Some(record.path.frame.as_str()) == near());
    same.map(|record| record.path.to_string())
        .or_else(|| nearest(full, paths.iter().map(String::as_str)).map(str::to_owned))
        .or_else(|| by_name().map(|record| record.path.to_string()))
}

/// A new line and the place of `word` in `sql`, or nothing.
pub(crate) fn picture_of(sql: &str, word: &str) -> String {
    find_word(sql, word).map(|at| format!("\n{}", at.picture(sql))).unwrap_or_default()
}
