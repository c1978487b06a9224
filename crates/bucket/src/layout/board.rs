//! The keys of the task board, `_queries/`. All of them are created once and never overwritten.
//!
//! ```text
//! _queries/_open/<query>                  pointer: an idle poll is one LIST of this prefix
//! _queries/<query>/query.json             what was asked
//! _queries/<query>/stages.bin             every stage's plan, as planned once
//! _queries/<query>/s03/t0007.sql          the fragment for people
//! _queries/<query>/s03/t0007.a1.task      attempt 1 of task 7 of stage 3
//! _queries/<query>/s03/t0007.a1.claim     who is at it
//! _queries/<query>/s03/t0007.a1.failed    why it did not work
//! _queries/<query>/s03/t0007.done         the truth: first finisher of any attempt
//! _queries/<query>/out/3/7@<nonce>/…      what an attempt wrote
//! _queries/<query>/owner.<epoch>          which coordinator leads
//! _queries/<query>/cancel                 somebody asked to stop
//! ```

use apiary_core::QueryId;

use super::{Key, digits};

/// A key below `_queries/<query>/`, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "stage, task and attempt are what they say")]
pub enum BoardKey {
    /// What was asked.
    Query,
    /// Every stage's plan.
    Stages,
    /// One attempt, published.
    Task { stage: u32, task: u32, attempt: u32 },
    /// The fragment for people.
    TaskSql { stage: u32, task: u32 },
    /// A worker is at it.
    Claim { stage: u32, task: u32, attempt: u32 },
    /// An attempt that ended badly.
    Failed { stage: u32, task: u32, attempt: u32 },
    /// The task's one result.
    Done { stage: u32, task: u32 },
    /// A file that an attempt wrote.
    Out { stage: u32, task: u32, nonce: String, file: String },
    /// A coordinator's term.
    Owner { epoch: u64 },
    /// Someone asked to stop.
    Cancel,
}

impl BoardKey {
    /// Reads a key of any query's; `None` for what is not ours, such as the pointers below `_open`.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (id, rest) = key.strip_prefix(queries_prefix())?.split_once('/')?;
        id.parse::<QueryId>().ok()?;
        match rest {
            "query.json" => return Some(Self::Query),
            "stages.bin" => return Some(Self::Stages),
            "cancel" => return Some(Self::Cancel),
            _ => {}
        }
        if let Some(epoch) = rest.strip_prefix("owner.") {
            return Some(Self::Owner { epoch: digits(epoch)? });
        }
        if let Some(out) = rest.strip_prefix("out/") {
            return Self::parse_out(out);
        }
        let (stage, name) = rest.strip_prefix('s')?.split_once("/t")?;
        Self::parse_task(digits(stage)?, name)
    }

    fn parse_out(text: &str) -> Option<Self> {
        let (stage, rest) = text.split_once('/')?;
        let (attempt, file) = rest.split_once('/')?;
        let (task, nonce) = attempt.split_once('@')?;
        Some(Self::Out { stage: digits(stage)?, task: digits(task)?, nonce: nonce.to_owned(), file: file.to_owned() })
    }

    fn parse_task(stage: u32, name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            [task, "sql"] => Some(Self::TaskSql { stage, task: digits(task)? }),
            [task, "done"] => Some(Self::Done { stage, task: digits(task)? }),
            [task, attempt, kind] => {
                let (task, attempt) = (digits(task)?, digits(attempt.strip_prefix('a')?)?);
                match kind {
                    "task" => Some(Self::Task { stage, task, attempt }),
                    "claim" => Some(Self::Claim { stage, task, attempt }),
                    "failed" => Some(Self::Failed { stage, task, attempt }),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The whole board.
#[must_use]
pub fn queries_prefix() -> &'static str {
    "_queries/"
}

/// The pointers to open queries.
#[must_use]
pub fn open_prefix() -> &'static str {
    "_queries/_open/"
}

/// The pointer to one open query.
#[must_use]
pub fn open_query(query: &QueryId) -> Key {
    Key::made(format!("{}{query}", open_prefix()))
}

/// Reads [`open_query`].
#[must_use]
pub fn parse_open(key: &str) -> Option<QueryId> {
    key.strip_prefix(open_prefix())?.parse().ok()
}

/// Everything of one query but its pointer.
#[must_use]
pub fn query_prefix(query: &QueryId) -> String {
    format!("{}{query}/", queries_prefix())
}

/// `query.json`: what was asked.
#[must_use]
pub fn query(query: &QueryId) -> Key {
    at(query, "query.json")
}

/// `stages.bin`: every stage's plan.
#[must_use]
pub fn stages(query: &QueryId) -> Key {
    at(query, "stages.bin")
}

/// One attempt of a task.
#[must_use]
pub fn task(query: &QueryId, stage: u32, task: u32, attempt: u32) -> Key {
    at(query, &format!("s{stage:02}/t{task:04}.a{attempt}.task"))
}

/// The task's fragment for people.
#[must_use]
pub fn task_sql(query: &QueryId, stage: u32, task: u32) -> Key {
    at(query, &format!("s{stage:02}/t{task:04}.sql"))
}

/// Who is at an attempt.
#[must_use]
pub fn claim(query: &QueryId, stage: u32, task: u32, attempt: u32) -> Key {
    at(query, &format!("s{stage:02}/t{task:04}.a{attempt}.claim"))
}

/// Why an attempt did not work.
#[must_use]
pub fn failed(query: &QueryId, stage: u32, task: u32, attempt: u32) -> Key {
    at(query, &format!("s{stage:02}/t{task:04}.a{attempt}.failed"))
}

/// The task's one result.
#[must_use]
pub fn done(query: &QueryId, stage: u32, task: u32) -> Key {
    at(query, &format!("s{stage:02}/t{task:04}.done"))
}

/// What one attempt, known by its nonce, writes.
#[must_use]
pub fn out_prefix(query: &QueryId, stage: u32, task: u32, nonce: &str) -> String {
    format!("{}out/{stage}/{task}@{nonce}/", query_prefix(query))
}

/// One file that an attempt writes; `file` may hold slashes.
#[must_use]
pub fn out(query: &QueryId, stage: u32, task: u32, nonce: &str, file: &str) -> Key {
    Key::made(format!("{}{file}", out_prefix(query, stage, task, nonce)))
}

/// A coordinator's term over the query.
#[must_use]
pub fn owner(query: &QueryId, epoch: u64) -> Key {
    at(query, &format!("owner.{epoch:06}"))
}

/// Someone asked to stop.
#[must_use]
pub fn cancel(query: &QueryId) -> Key {
    at(query, "cancel")
}

fn at(query: &QueryId, name: &str) -> Key {
    Key::made(query_prefix(query) + name)
}
