//! Which frames a statement names, and which frames those are.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use apiary_core::{ErrorKind, names::fold, suggest::nearest};
use apiary_ledger::{FrameRecord, LedgerError, Namespace};
use datafusion::{
    common::TableReference,
    sql::{
        parser::Statement as DfStatement,
        resolve::resolve_table_references,
        sqlparser::ast::{ObjectName, Query, Statement as Ast, TableFactor, Visit, Visitor},
    },
};

use crate::{
    FrameRef, QueryError, Result, Session, advice,
    position::{find_named, find_source, find_word},
    system::SYSTEM_BOX,
};

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

/// The frame that `name` means in `session`, in any case, or the ledger's own error.
pub(crate) fn find(name: &FrameRef, session: &Session, namespace: &Namespace) -> Result<Arc<FrameRecord>, LedgerError> {
    let (hive, box_name) = (session.hive_used(), session.box_used());
    let [hive, box_name, frame] = whole(name, hive.as_str(), box_name.as_str());
    namespace.frame(hive, box_name, frame)
}

/// All three parts of a name.
fn whole<'a>(name: &'a FrameRef, hive: &'a str, box_name: &'a str) -> [&'a str; 3] {
    match &name.0[..] {
        [hive, box_name, frame] => [hive.as_str(), box_name.as_str(), frame.as_str()],
        [box_name, frame] => [hive, box_name.as_str(), frame.as_str()],
        _ => [hive, box_name, name.0.last().map_or("", String::as_str)],
    }
}

/// The frame that `name` means in `session`, in any case. `sql` is for the picture in errors.
pub(crate) fn resolve(
    name: &FrameRef,
    session: &Session,
    namespace: &Namespace,
    sql: &str,
) -> Result<Arc<FrameRecord>> {
    let (hive, box_name) = (session.hive_used(), session.box_used());
    let [hive, box_name, frame] = whole(name, hive.as_str(), box_name.as_str());
    match namespace.frame(hive, box_name, frame) {
        Ok(record) => Ok(record),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if name.0.len() < 3 {
                still_there(session, namespace, name.0.len() < 2)?;
            }
            Err(missing(name, [hive, box_name, frame], namespace, sql))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether what the session uses is there: another session may have dropped or renamed it since.
pub(crate) fn still_there(session: &Session, namespace: &Namespace, with_box: bool) -> Result<()> {
    let Some(hive) = &session.hive else { return Ok(()) };
    let gone = |what: &str, parts: &[&str]| {
        let name = parts.join(".");
        let hint = match namespace.renamed_to(parts) {
            Some(now) => format!("it was renamed: USE {now}"),
            None => "USE another; SHOW BOXES IN hive and SHOW HIVES list what there is".to_owned(),
        };
        Err(QueryError::unknown(format!("there is no {what} {name} any more, which this session uses"), hint))
    };
    match &session.box_name {
        _ if !hive.is_default() && namespace.hive(hive.as_str()).is_err() => gone("hive", &[hive.as_str()]),
        Some(name) if with_box && !name.is_default() && namespace.box_name(hive.as_str(), name.as_str()).is_err() => {
            gone("box", &[hive.as_str(), name.as_str()])
        }
        _ => Ok(()),
    }
}

fn missing(name: &FrameRef, full: [&str; 3], namespace: &Namespace, sql: &str) -> QueryError {
    let (path, frame) = (full.join("."), full[2]);
    let picture = match find_source(sql, &name.0) {
        Some(at) => format!("\n{}", at.picture(sql)),
        None => picture_of(sql, frame),
    };
    let hint = match (namespace.renamed_to(&full), suggestion(&path, frame, namespace)) {
        _ if fold(full[1]) == SYSTEM_BOX => "the system frames are apiary.cells, ledger, nodes and queries".to_owned(),
        (Some(now), _) => format!("it was renamed to {now}"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) if name.0.len() < 3 => format!("write hive.box.{frame}, or USE hive.box first"),
        (None, None) => "SHOW FRAMES lists them all".to_owned(),
    };
    let path = if name.0.len() < 3 { format!("{name} ({path})") } else { path };
    QueryError::Unknown { message: format!("there is no frame {path}"), picture, hint: Some(hint) }
}

/// The known frame nearest to a name: by its whole path, or else by its own name.
fn suggestion(full: &str, frame: &str, namespace: &Namespace) -> Option<String> {
    let known = namespace.all_frames();
    let paths: Vec<String> = known.iter().map(|record| record.path.to_string()).collect();
    let same = known.iter().find(|record| record.path.frame.folded() == fold(frame));
    let near = || nearest(frame, known.iter().map(|record| record.path.frame.as_str()));
    let by_name = || known.iter().find(|record| Some(record.path.frame.as_str()) == near());
    same.map(|record| record.path.to_string())
        .or_else(|| nearest(full, paths.iter().map(String::as_str)).map(str::to_owned))
        .or_else(|| by_name().map(|record| record.path.to_string()))
}

/// A new line and the place at which a statement of names of `depth` parts names `whole`; or that of `word`; or nothing.
pub(crate) fn picture_of_name(sql: &str, depth: usize, whole: &str, word: &str) -> String {
    let parts: Vec<&str> = whole.split('.').collect();
    match find_named(sql, depth, &parts) {
        Some(at) => format!("\n{}", at.picture(sql)),
        None => picture_of(sql, word),
    }
}

/// A new line and the place of `word` in `sql`, or nothing.
pub(crate) fn picture_of(sql: &str, word: &str) -> String {
    find_word(sql, word).map(|at| format!("\n{}", at.picture(sql))).unwrap_or_default()
}
