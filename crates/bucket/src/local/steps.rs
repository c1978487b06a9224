//! The steps of a write, by name: where a test kills it, or fills the disk, and sees what is left.
//!
//! In a product a step is nothing. In a test one thread at a time has a plan: the process dies before the nth step (no
//! step after it happens, and nothing is tidied up), or that step fails once and the write goes on to tidy up.

#[cfg(not(test))]
#[inline]
pub(super) fn step(_: &'static str) -> std::io::Result<()> {
    Ok(())
}

/// Whether the process has died: what ends by itself must do nothing then.
#[cfg(not(test))]
#[inline]
pub(super) fn is_dead() -> bool {
    false
}

#[cfg(test)]
pub(super) use planned::{Plan, is_dead, run, step};

#[cfg(test)]
mod planned {
    use std::{cell::RefCell, io};

    /// What befalls the writes of this thread.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::local) enum Plan {
        /// Nothing.
        Live,
        /// Death before the nth step, counted from 0.
        DieBefore(usize),
        /// The nth step fails with this error.
        Fail(usize, io::ErrorKind),
    }

    #[derive(Debug)]
    struct State {
        plan: Plan,
        steps: Vec<&'static str>,
        dead: bool,
    }

    thread_local! {
        static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
    }

    /// Does `work` under a plan; returns what it gave and the steps that it took.
    pub(in crate::local) fn run<T>(plan: Plan, work: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
        STATE.with_borrow_mut(|state| *state = Some(State { plan, steps: Vec::new(), dead: false }));
        let result = work();
        let steps = STATE.with_borrow_mut(Option::take).map_or_else(Vec::new, |state| state.steps);
        (result, steps)
    }

    pub(in crate::local) fn step(name: &'static str) -> io::Result<()> {
        STATE.with_borrow_mut(|state| {
            let Some(state) = state else { return Ok(()) };
            let n = state.steps.len();
            state.dead |= state.plan == Plan::DieBefore(n);
            if state.dead {
                return Err(io::Error::other("the process is dead"));
            }
            state.steps.push(name);
            match state.plan {
                Plan::Fail(at, kind) if at == n => Err(kind.into()),
                _ => Ok(()),
            }
        })
    }

    pub(in crate::local) fn is_dead() -> bool {
        STATE.with_borrow(|state| state.as_ref().is_some_and(|state| state.dead))
    }
}
