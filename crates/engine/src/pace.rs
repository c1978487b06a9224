//! When a query's driver looks at the board: pure.
//!
//! Soon after news, and less often while there is none. Where every worker says what it has ended, a look is for what was
//! not heard, and nothing hurries it.

use std::time::Duration;

/// The first and the longest pause over a folder, and over a store that is asked by requests.
const NEAR: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
const FAR: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// When to look next.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    longest: Duration,
    pause: Duration,
    at: Duration,
}

impl Pace {
    /// From `now` on, over the bucket at `uri`.
    pub(crate) fn of(uri: &str, now: Duration) -> Self {
        let near = uri.starts_with("file:") || uri.starts_with("memory:");
        let (first, longest) = if near { NEAR } else { FAR };
        Self { first, longest, pause: longest, at: now + longest }
    }

    /// There was news.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.pause = self.first;
        self.at = self.at.min(now + self.first);
    }

    /// The board is being looked at.
    pub(crate) fn looked(&mut self, now: Duration, is_told: bool) {
        self.pause = if is_told { self.longest } else { (self.pause * 3 / 2).min(self.longest) };
        self.at = now + self.pause;
    }

    /// How long until the next look; nothing: it is due.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses between looks that are taken when they are due.
    fn pauses(pace: &mut Pace, is_told: bool) -> Vec<u128> {
        let mut now = pace.at;
        let look = |_| {
            pace.looked(now, is_told);
            let left = pace.left(now);
            now += left;
            left.as_millis()
        };
        (0..7).map(look).collect()
    }

    #[test]
    fn pauses_grow_from_news_on() {
        let mut pace = Pace::of("file:///b", Duration::ZERO);
        pace.hurry(Duration::ZERO);
        assert_eq!(pace.left(Duration::ZERO).as_millis(), 10);
        assert_eq!(pauses(&mut pace, false), [15, 22, 33, 50, 75, 100, 100]);
        let mut far = Pace::of("s3://b", Duration::ZERO);
        assert_eq!(pauses(&mut far, false), [500; 7]);
    }

    #[test]
    fn who_is_told_looks_seldom() {
        let mut pace = Pace::of("s3://b", Duration::ZERO);
        assert_eq!(pauses(&mut pace, true), [500; 7]);
    }

    #[test]
    fn news_do_not_put_a_look_off() {
        let mut pace = Pace::of("file:///b", Duration::ZERO);
        for now in (0..30).map(Duration::from_millis) {
            pace.hurry(now);
        }
        assert_eq!(pace.left(Duration::from_millis(30)), Duration::ZERO);
    }
}
