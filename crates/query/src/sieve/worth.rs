//! Whether a filter is worth asking, judged by what it kept. Pure: rows in, a decision out.

/// Asking a row costs about half of what is saved by dropping it, and whoever is in doubt does not ask.
const KEPT_SHARE_MAX: f64 = 0.3;
/// Batches that pass unasked after the first that was not worth it; twice as many after each further one.
const REST_BATCHES_MIN: u32 = 2;
/// Most of them: what lies in order may become selective later.
const REST_BATCHES_MAX: u32 = 64;

/// One filter's record on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worth {
    /// Batches that are still to pass unasked.
    resting: u32,
    /// How many will, if the next one is not worth it.
    rest: u32,
}

impl Worth {
    pub(super) fn new() -> Self {
        Self { resting: 0, rest: REST_BATCHES_MIN }
    }

    /// Whether to ask the filter of the next batch.
    pub(super) fn ask(&mut self) -> bool {
        let ask = self.resting == 0;
        self.resting = self.resting.saturating_sub(1);
        ask
    }

    /// What it kept of a batch.
    pub(super) fn kept(&mut self, kept: usize, of: usize) {
        if kept as f64 <= KEPT_SHARE_MAX * of as f64 {
            self.rest = REST_BATCHES_MIN;
        } else {
            self.resting = self.rest;
            self.rest = (self.rest * 2).min(REST_BATCHES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of a thousand that were asked, where each keeps as many rows as `kept` says.
    fn asked(kept: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut worth = Worth::new();
        let asked = |(batch, kept)| {
            let ask = worth.ask();
            if ask {
                worth.kept(kept, 1000);
            }
            ask.then_some(batch)
        };
        kept.enumerate().filter_map(asked).collect()
    }

    #[test]
    fn a_filter_that_drops_most_rows_is_always_asked() {
        assert_eq!(asked([300; 100].into_iter()).len(), 100);
    }

    #[test]
    fn a_filter_that_keeps_most_rows_is_asked_now_and_then() {
        assert_eq!(asked([301; 300].into_iter()), [0, 3, 8, 17, 34, 67, 132, 197, 262]);
    }

    #[test]
    fn a_filter_that_becomes_selective_is_asked_again() {
        let kept = (0..1000).map(|batch| if batch < 100 { 1000 } else { 3 });
        assert_eq!(asked(kept).len(), 6 + (1000 - 132));
    }
}
