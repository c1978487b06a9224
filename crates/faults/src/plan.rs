//! Which call meets which fault: the first rule that fits, else chance.
//!
//! Pure: calls in, faults out. Chance is drawn once for each call from one seed, so the same calls in the same order
//! meet the same faults.

use std::{fmt, sync::Arc, time::Duration};

use apiary_core::Rng;

use crate::fault::{Fault, Op};

/// Says which keys are meant.
type Keys = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// One line of a script.
#[derive(Clone)]
pub struct Rule {
    op: Option<Op>,
    keys: Keys,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?} {} times after {}", self.op, self.fault, self.times, self.skip)
    }
}

impl Rule {
    /// The next call of this kind, on any key, meets `fault`.
    #[must_use]
    pub fn on(op: Op, fault: Fault) -> Self {
        Self { op: Some(op), ..Self::any(fault) }
    }

    /// The next call of any kind that can meet `fault` does.
    #[must_use]
    pub fn any(fault: Fault) -> Self {
        Self { op: None, keys: Arc::new(|_| true), skip: 0, times: 1, fault }
    }

    /// Only keys, and prefixes of listings, that hold this text.
    #[must_use]
    pub fn keys(self, part: &str) -> Self {
        let part = part.to_owned();
        self.keys_that(move |key| key.contains(&part))
    }

    /// Only keys, and prefixes of listings, of which this is true.
    #[must_use]
    pub fn keys_that(mut self, fits: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.keys = Arc::new(fits);
        self
    }

    /// Not the next call that fits, but the `n`th from now, counted from 1.
    #[must_use]
    pub fn nth(mut self, n: usize) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// So many calls that fit, one after the other.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Every call that fits from then on.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(usize::MAX)
    }

    fn fits(&self, op: Op, key: &str) -> bool {
        self.op.is_none_or(|wanted| wanted == op) && self.fault.can_meet(op) && (self.keys)(key)
    }
}

/// How often each fault comes by chance, in calls of a thousand that can meet it.
#[derive(Clone)]
pub struct Rates {
    keys: Keys,
    rates: Vec<(u64, Fault)>,
    burst_max: u64,
    late_max: Duration,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("rates", &self.rates).finish_non_exhaustive()
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self { keys: Arc::new(|_| true), rates: Vec::new(), burst_max: 1, late_max: Duration::from_secs(600) }
    }
}

impl Rates {
    /// Every fault from which a colony must come back without any help, each in `per_mille` of the calls that can
    /// meet it. Bodies are whole; nobody hangs; permissions and space stay.
    #[must_use]
    pub fn storm(per_mille: u64) -> Self {
        let late = Duration::ZERO;
        [
            Fault::Error,
            Fault::Unavailable,
            Fault::AppliedThenTimeout,
            Fault::AppliedThenError,
            Fault::AppliedThenExists,
            Fault::BareConflict,
            Fault::BarePrecondition,
            Fault::Late(late),
        ]
        .into_iter()
        .fold(Self::default().bursts(4), |rates, fault| rates.with(per_mille, fault))
    }

    /// And this fault in `per_mille` of the calls that can meet it. The time of a fault that is late is drawn up to
    /// [`Rates::late`].
    #[must_use]
    pub fn with(mut self, per_mille: u64, fault: Fault) -> Self {
        self.rates.push((per_mille, fault));
        self
    }

    /// A 503 is followed by up to so many less one.
    #[must_use]
    pub fn bursts(mut self, most: u64) -> Self {
        self.burst_max = most.max(1);
        self
    }

    /// Puts that are late arrive within this time.
    #[must_use]
    pub fn late(mut self, most: Duration) -> Self {
        self.late_max = most;
        self
    }

    /// Only keys, and prefixes of listings, of which this is true.
    #[must_use]
    pub fn keys_that(mut self, fits: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.keys = Arc::new(fits);
        self
    }
}

/// The script and the chance of one store: also for stores that are not made here.
#[derive(Debug, Default)]
pub struct Plan {
    rules: Vec<Rule>,
    rates: Option<Rates>,
    burst_left: u64,
}

impl Plan {
    /// Adds a rule; those that were added earlier come first.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Deals faults out by chance from now on, or no longer.
    pub fn deal(&mut self, rates: Option<Rates>) {
        self.rates = rates;
        self.burst_left = 0;
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Rules that have not been used up.
    #[must_use]
    pub fn rules_left(&self) -> usize {
        self.rules.len()
    }

    /// What this call meets. Every rule that fits counts the call; the first that is due is used.
    pub fn meet(&mut self, op: Op, key: &str, rng: &dyn Rng) -> Option<Fault> {
        let mut met = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.fits(op, key)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if met.is_none() {
                rule.times = if rule.times == usize::MAX { rule.times } else { rule.times - 1 };
                met = Some(rule.fault);
            }
        }
        self.rules.retain(|rule| rule.times > 0);
        met.or_else(|| self.chance(op, key, rng))
    }

    fn chance(&mut self, op: Op, key: &str, rng: &dyn Rng) -> Option<Fault> {
        let rates = self.rates.as_ref()?;
        // Drawn whatever comes of it, so that a change of one rate moves no other call's luck.
        let (mut luck, how_long) = (rng.below(1000), rng.next_u64());
        if !(rates.keys)(key) {
            return None;
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return Some(Fault::Unavailable);
        }
        for (rate, fault) in rates.rates.iter().filter(|(_, fault)| fault.can_meet(op)) {
            if luck >= *rate {
                luck -= rate;
                continue;
            }
            let most = u64::try_from(rates.late_max.as_millis()).unwrap_or(u64::MAX).max(1);
            let late = Duration::from_millis(how_long % most);
            return Some(match fault {
                Fault::Late(_) => Fault::Late(late),
                Fault::LateAndHang(_) => Fault::LateAndHang(late),
                Fault::Slow(most) => Fault::Slow(most.mul_f64(how_long as f64 / u64::MAX as f64)),
                Fault::Unavailable => {
                    self.burst_left = how_long % rates.burst_max;
                    Fault::Unavailable
                }
                fault => *fault,
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::SeededRng;

    use super::*;

    fn met(plan: &mut Plan, calls: &[(Op, &str)]) -> Vec<Option<Fault>> {
        let rng = SeededRng::new(1);
        calls.iter().map(|(op, key)| plan.meet(*op, key, &rng)).collect()
    }

    #[test]
    fn a_rule_meets_the_calls_it_names_and_no_other() {
        let mut plan = Plan::default();
        plan.add(Rule::on(Op::Create, Fault::BareConflict).keys("log/").nth(2).times(2));
        let calls = [(Op::Create, "log/1"), (Op::Put, "log/1"), (Op::Create, "x"), (Op::Create, "log/2")];
        assert_eq!(met(&mut plan, &calls), [None, None, None, Some(Fault::BareConflict)]);
        let calls = [(Op::Get, "log/2"), (Op::Create, "log/3"), (Op::Create, "log/4")];
        assert_eq!(met(&mut plan, &calls), [None, Some(Fault::BareConflict), None]);
        assert_eq!(plan.rules_left(), 0);
    }

    #[test]
    fn a_rule_for_all_meets_only_calls_that_can_meet_it() {
        let mut plan = Plan::default();
        plan.add(Rule::any(Fault::Truncated));
        let calls = [(Op::Put, "x"), (Op::List, "x"), (Op::Get, "x"), (Op::Get, "x")];
        assert_eq!(met(&mut plan, &calls), [None, None, Some(Fault::Truncated), None]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_comes_as_often_as_asked() {
        let calls: Vec<(Op, &str)> = (0..10_000).map(|_| (Op::Create, "x")).collect();
        let deal = || {
            let mut plan = Plan::default();
            plan.deal(Some(Rates::default().with(100, Fault::Error).with(100, Fault::BareConflict)));
            met(&mut plan, &calls)
        };
        let (one, two) = (deal(), deal());
        assert_eq!(one, two);
        for fault in [Fault::Error, Fault::BareConflict] {
            let count = one.iter().filter(|met| **met == Some(fault)).count();
            assert!((900..1_100).contains(&count), "{fault:?}: {count}");
        }
    }
}
