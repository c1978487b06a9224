//! Progress on standard error: a bar where a person looks, a plain line every two seconds where a log listens, so
//! that nothing long is ever silent.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_core::{Clock, SystemClock, units};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::Terminal;

/// How often a log hears of something long.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// A tick that comes this much early still counts, so that none is skipped for a millisecond.
const TICK_SLACK: Duration = Duration::from_millis(100);
/// What is done sooner shows no bar: a flash tells nobody anything.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often a bar moves.
const TICK_INTERVAL: Duration = Duration::from_millis(120);

/// Progress of one piece of work; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    terminal: Terminal,
    what: String,
    bar: Option<ProgressBar>,
    state: Arc<Mutex<State>>,
    started: Duration,
}

#[derive(Debug)]
struct State {
    position: u64,
    total: Option<u64>,
    unit: &'static str,
    detail: String,
    told: Duration,
}

impl Progress {
    /// Begins `what`, counted in `unit`s, of `total` if that is known.
    pub(crate) fn counting(
        terminal: &Terminal,
        what: impl Into<String>,
        unit: &'static str,
        total: Option<u64>,
    ) -> Self {
        let what = what.into();
        let now = SystemClock.monotonic();
        let state = State { position: 0, total, unit, detail: String::new(), told: now };
        let bar = terminal.err_is_terminal().then(|| bar(&what, total.is_some_and(|total| total > 0), total));
        Self { terminal: terminal.clone(), what, bar, state: Arc::new(Mutex::new(state)), started: now }
    }

    /// Begins `what`, of which only the time is known.
    pub(crate) fn waiting(terminal: &Terminal, what: impl Into<String>) -> Self {
        Self::counting(terminal, what, "", None)
    }

    /// Says how far it is.
    pub(crate) fn set(&self, position: u64, total: Option<u64>, detail: impl Into<String>) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.position = position;
            state.total = total.or(state.total);
            state.detail = detail.into();
        }
        self.show();
    }

    /// Runs `work` and keeps telling that it goes on.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(LINE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => self.show(),
            }
        }
    }

    /// Lets `print` write lines to the screen without mixing them with the bar.
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Ends; the bar leaves no trace, the caller says the result.
    pub(crate) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &self.bar {
            if let Some(total) = state.total {
                bar.set_length(total);
            }
            bar.set_position(state.position);
            bar.set_message(state.line());
            return;
        }
        let now = SystemClock.monotonic();
        if now.saturating_sub(state.told) + TICK_SLACK >= LINE_INTERVAL {
            state.told = now;
            let since = units::duration(now.saturating_sub(self.started));
            let line = state.line();
            let gap = if line.is_empty() { "" } else { " · " };
            self.terminal.note(format_args!("  {} … {line}{gap}{since}", self.what));
        }
    }
}

impl State {
    fn line(&self) -> String {
        let counted = match (self.unit, self.total) {
            ("", _) => String::new(),
            (_, None) if self.position == 0 => String::new(),
            (unit, Some(total)) => format!("{} of {} {unit}", units::count(self.position), units::count(total)),
            (unit, None) => format!("{} {unit}", units::count(self.position)),
        };
        match (counted.is_empty(), self.detail.is_empty()) {
            (true, _) => self.detail.clone(),
            (false, true) => counted,
            (false, false) => format!("{counted} · {}", self.detail),
        }
    }
}

fn bar(what: &str, counted: bool, total: Option<u64>) -> ProgressBar {
    let template = if counted {
        "  {prefix} {bar:24.yellow/dim} {msg} · {elapsed}"
    } else {
        "  {spinner:.yellow} {prefix} {msg} · {elapsed}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style.progress_chars("━━ "));
    bar.set_prefix(what.to_owned());
    bar.set_draw_target(ProgressDrawTarget::hidden());
    bar.enable_steady_tick(TICK_INTERVAL);
    let hidden = bar.downgrade();
    tokio::spawn(async move {
        SystemClock.sleep(PATIENCE).await;
        if let Some(bar) = hidden.upgrade().filter(|bar| !bar.is_finished()) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    });
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let mut state = State { position: 1500, total: None, unit: "", detail: String::new(), told: Duration::ZERO };
        assert_eq!(state.line(), "");
        state.unit = "rows";
        assert_eq!(state.line(), "1 500 rows");
        state.total = Some(3000);
        state.detail = "2 workers".to_owned();
        assert_eq!(state.line(), "1 500 of 3 000 rows · 2 workers");
    }

    #[test]
    fn what_is_quick_is_not_told_to_a_log() {
        let (terminal, _, err) = Terminal::captured();
        let progress = Progress::counting(&terminal, "writing", "rows", Some(10));
        progress.set(10, None, "");
        progress.done();
        assert_eq!(err.text(), "");
    }
}
