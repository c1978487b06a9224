//! Places where a process can be told to die, so that tests know exactly what it had done and what it had not.
//!
//! `APIARY_FAILPOINT="name[:nth]"` ends the process the nth time (the first, without a number) it comes by the place
//! `name`: at once, as a power cut would, with no destructor run and no reply sent. A line on standard error says
//! which place it was. Without the variable a place costs one look at a static value. Never read anything from a
//! failpoint: it decides nothing but the end.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

/// The variable that arms one failpoint.
pub const VARIABLE: &str = "APIARY_FAILPOINT";

/// Every place that has a name.
pub const NAMES: [&str; 7] = [
    // A ledger entry is complete and not yet sent.
    "before_put",
    // A ledger entry is in the bucket, and nobody was told.
    "after_put_before_ack",
    // Some cells of a transaction are in the bucket, others are not.
    "mid_upload",
    // A checkpoint is in the bucket, and the hint still points to the one before.
    "between_checkpoint_and_hint",
    // A frame's own ledger was written, and the registry was not.
    "between_frame_and_registry",
    // Some of what a vacuum deletes is gone, other objects are not.
    "mid_vacuum",
    // Some of what a cleanup of a log deletes is gone, some is not.
    "mid_cleanup",
];

/// A failpoint that was asked for.
#[derive(Debug)]
struct Armed {
    name: String,
    nth: u64,
    hits: AtomicU64,
}

static ARMED: LazyLock<Result<Option<Armed>, String>> = LazyLock::new(|| match std::env::var(VARIABLE) {
    Ok(text) => parse(&text).map(Some),
    Err(std::env::VarError::NotPresent) => Ok(None),
    Err(error) => Err(error.to_string()),
});

/// What is wrong with the variable, if anything. Whoever starts a node asks this first, so that a slip in a name ends
/// the start and not, silently, the test.
pub fn check() -> Result<(), String> {
    ARMED.as_ref().map(drop).map_err(Clone::clone)
}

/// The place called `name`: returns, or never does.
pub fn hit(name: &str) {
    let Ok(Some(armed)) = &*ARMED else { return };
    if armed.is_due(name) {
        eprintln!("failpoint {name}");
        std::process::abort();
    }
}

impl Armed {
    /// Counts a visit of the armed place, and says whether it is the one that was asked for.
    fn is_due(&self, name: &str) -> bool {
        debug_assert!(NAMES.contains(&name), "the failpoint '{name}' is not in the table");
        name == self.name && self.hits.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

fn parse(text: &str) -> Result<Armed, String> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    if !NAMES.contains(&name) {
        return Err(format!("there is no failpoint '{name}'; there are: {}", NAMES.join(", ")));
    }
    match nth.parse() {
        Ok(nth) if nth > 0 => Ok(Armed { name: name.to_owned(), nth, hits: AtomicU64::new(0) }),
        _ => Err(format!("'{nth}' is no count of visits; write {name}:2 for the second")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_visit_of_the_armed_place_is_due_and_no_other() {
        let armed = parse("mid_upload:2").unwrap();
        assert_eq!(
            ["mid_upload", "before_put", "mid_upload", "mid_upload"].map(|name| armed.is_due(name)),
            [false, false, true, false]
        );
        assert!(parse("before_put").unwrap().is_due("before_put"));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = parse("before_putt").unwrap_err();
        assert!(NAMES.iter().all(|name| error.contains(name)), "{error}");
        assert!(parse("before_put:0").is_err() && parse("before_put:x").is_err() && parse("").is_err());
    }

    #[test]
    fn nothing_is_armed_without_the_variable() {
        assert_eq!(check(), Ok(()));
        hit("before_put");
    }
}
