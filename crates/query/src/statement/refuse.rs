//! Statements that other systems have, and the command that does the same here.

use crate::{QueryError, Result};

const READ_ONLY: &str = "SQL reads; rows are written with `apiary import FILE --into hive.box.frame` \
                         or frame.write(…) in Python";
const APPEND_ONLY: &str = "frames are append-only for now; write the corrected rows to a new frame with \
                           `apiary import FILE --into hive.box.frame --create`";
const CREATE: &str = "create a frame with `apiary import FILE --into hive.box.frame --create`, or with \
                      create_hive(…), create_box(…) and create_frame(…) in Python";
const DROP: &str = "hives, boxes and frames cannot be dropped for now";
const EXPORT: &str = "write a result to a file with `apiary sql \"SELECT …\" --format csv > out.csv`, and a file \
                      into a frame with `apiary import FILE --into hive.box.frame`";
const TRANSACTION: &str = "each statement sees one snapshot of each frame and each write is one transaction; \
                           just leave it out";

/// Refuses `verb` (upper case) if it begins a statement that is known and not supported.
pub(super) fn check(verb: &str) -> Result<()> {
    let instead = match verb {
        "INSERT" | "LOAD" | "REPLACE" | "UPSERT" => READ_ONLY,
        "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" => APPEND_ONLY,
        "CREATE" | "ALTER" | "REFRESH" => CREATE,
        "DROP" | "UNDROP" => DROP,
        "COPY" | "EXPORT" | "UNLOAD" => EXPORT,
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "END" | "ABORT" => TRANSACTION,
        "GRANT" | "REVOKE" | "DENY" => "rights on frames are not built; whoever reaches the bucket reads all of it",
        "PREPARE" | "EXECUTE" | "DEALLOCATE" | "DECLARE" | "FETCH" | "CLOSE" => {
            "send the query itself, with its values in it"
        }
        "VACUUM" | "OPTIMIZE" | "COMPACT" => "small cells are merged by the compactor: `apiary compact hive.box.frame`",
        "ANALYZE" => "statistics are kept with every write; just leave it out",
        "ATTACH" | "DETACH" | "INSTALL" => "one bucket is one colony; open another with --storage or --connect",
        "CALL" | "DO" | "LOCK" | "UNLOCK" | "KILL" | "COMMENT" | "PRAGMA" => {
            "there is nothing like it here; leave it out"
        }
        _ => return Ok(()),
    };
    Err(unsupported(verb, instead))
}

/// The refusal of something inside a query that writes.
pub(super) fn writing(what: &str) -> QueryError {
    unsupported(what, READ_ONLY)
}

fn unsupported(what: &str, instead: &str) -> QueryError {
    QueryError::Unsupported { what: what.to_owned(), instead: instead.to_owned() }
}
