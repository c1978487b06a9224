//! Statements that other systems have, and the command that does the same here.

use crate::{QueryError, Result};

const READ_ONLY: &str = "SQL reads; rows are written with `apiary import FILE --into hive.box.frame` \
                         or frame.write(…) in Python";
const APPEND_ONLY: &str = "frames are append-only for now; write the corrected rows to a new frame with \
                           `apiary import FILE --into hive.box.frame --create`";
const CREATE: &str =
    "there are hives, boxes and frames: CREATE HIVE h, CREATE BOX h.b, CREATE FRAME h.b.f (column type, …)";
const CHANGE: &str = "a frame keeps its columns for now: write the rows to a new frame with \
                      `apiary import FILE --into hive.box.frame --create`; names change with ALTER … RENAME TO …";
const EXPORT: &str = "write a result to a file with `apiary sql \"SELECT …\" --format csv > out.csv`, and a file \
                      into a frame with `apiary import FILE --into hive.box.frame`";
const TRANSACTION: &str = "each statement sees one snapshot of each frame and each write is one transaction; \
                           just leave it out";

/// Refuses `verb` (upper case) if it begins a statement that is known and not supported.
pub(super) fn check(verb: &str) -> Result<()> {
    let instead = match verb {
        "INSERT" | "LOAD" | "REPLACE" | "UPSERT" => READ_ONLY,
        "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" => APPEND_ONLY,
        "REFRESH" => "queries always read the newest version; just leave it out",
        "UNDROP" => "what is dropped is gone",
        "COPY" | "EXPORT" | "UNLOAD" => EXPORT,
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "END" | "ABORT" => TRANSACTION,
        "GRANT" | "REVOKE" | "DENY" => "rights on frames are not built; whoever reaches the bucket reads all of it",
        "PREPARE" | "EXECUTE" | "DEALLOCATE" | "DECLARE" | "FETCH" | "CLOSE" => {
            "send the query itself, with its values in it"
        }
        "VACUUM" | "OPTIMIZE" | "COMPACT" => "small cells are merged by the compactor: `apiary compact hive.box.frame`",
        "ANALYZE" => "statistics are kept with every write; just leave it out",
        "ATTACH" | "DETACH" | "INSTALL" => "one bucket is one colony; open another with --storage or --connect",
        "KILL" => "write CANCEL QUERY 'id'; SHOW QUERIES tells the ids",
        "CALL" | "DO" | "LOCK" | "UNLOCK" | "COMMENT" | "PRAGMA" => "there is nothing like it here; leave it out",
        _ => return Ok(()),
    };
    Err(unsupported(verb, instead))
}

/// The refusal of something inside a query that writes.
pub(super) fn writing(what: &str) -> QueryError {
    unsupported(what, READ_ONLY)
}

/// The refusal of something that other systems create or drop.
pub(super) fn thing(what: &str) -> QueryError {
    unsupported(what, CREATE)
}

/// The refusal of `CREATE FRAME … AS SELECT`.
pub(super) fn create_as() -> QueryError {
    unsupported("CREATE FRAME … AS SELECT", READ_ONLY)
}

/// The refusal of a frame that takes the place of another.
pub(super) fn replace() -> QueryError {
    unsupported("CREATE OR REPLACE", "drop the old one first: DROP FRAME IF EXISTS …")
}

/// The refusal of a column's or frame's rule.
pub(super) fn constraint(what: &str) -> QueryError {
    unsupported(what, "columns are of a type, and NOT NULL or not; leave the rest out")
}

/// The refusal of a change of columns.
pub(super) fn change(what: &str) -> QueryError {
    unsupported(what, CHANGE)
}

fn unsupported(what: &str, instead: &str) -> QueryError {
    QueryError::Unsupported { what: what.to_owned(), instead: instead.to_owned() }
}
