//! What `SET` can change. Unknown names are refused, so that a slip never silently does nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use apiary_core::{
    limits::{QUERY_TIMEOUT, RESULT_BYTES_MAX},
    suggest::nearest,
    units,
};
use serde::{Deserialize, Serialize};

use crate::{QueryError, Result};

/// Most partitions a session may ask for: more than any colony has bees, few enough to plan.
const TARGET_PARTITIONS_MAX: usize = 1024;

/// Longest query timeout.
const QUERY_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which way a query is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// The gate decides by what is left to read.
    #[default]
    Auto,
    /// On the coordinator alone.
    Local,
    /// On the task board.
    Board,
}

impl Execution {
    /// The word that `SET execution` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Board => "board",
        }
    }
}

/// A step of planning that can be left out: to measure it, or to find the one at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanStep {
    /// Joins in the order that costs least.
    JoinOrder,
    /// Groups that the join above has no use for are not made.
    SemiJoins,
    /// The side of a join that is built is shared by all partitions, unless it is large.
    SharedBuilds,
    /// Filters are told what share of their rows they keep.
    FilterEstimates,
    /// Texts are read as views.
    TextViews,
}

impl PlanStep {
    const ALL: [Self; 5] =
        [Self::JoinOrder, Self::SemiJoins, Self::SharedBuilds, Self::FilterEstimates, Self::TextViews];

    /// The word that `SET plan_without` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoinOrder => "join_order",
            Self::SemiJoins => "semi_joins",
            Self::SharedBuilds => "shared_builds",
            Self::FilterEstimates => "filter_estimates",
            Self::TextViews => "text_views",
        }
    }
}

/// One line of `SHOW SETTINGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is now.
    pub value: String,
    /// What it is unless set.
    pub default: &'static str,
    /// What it does, with its range.
    pub description: &'static str,
}

const NAMES: [&str; 5] = ["execution", "max_result_bytes", "query_timeout", "target_partitions", "plan_without"];

/// The settings of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    execution: Option<Execution>,
    max_result_bytes: Option<u64>,
    query_timeout: Option<Duration>,
    target_partitions: Option<usize>,
    plan_without: BTreeSet<PlanStep>,
}

impl Settings {
    /// Which way queries run.
    #[must_use]
    pub fn execution(&self) -> Execution {
        self.execution.unwrap_or_default()
    }

    /// The largest answer, as far as its size can be told before, that may go through the bucket.
    #[must_use]
    pub fn max_result_bytes(&self) -> u64 {
        self.max_result_bytes.unwrap_or(RESULT_BYTES_MAX)
    }

    /// How long a query may run.
    #[must_use]
    pub fn query_timeout(&self) -> Duration {
        self.query_timeout.unwrap_or(QUERY_TIMEOUT)
    }

    /// Into how many partitions a plan is cut; `None`: as many as there are bees.
    #[must_use]
    pub fn target_partitions(&self) -> Option<usize> {
        self.target_partitions
    }

    /// Whether plans are made with `step`.
    #[must_use]
    pub fn plans_with(&self, step: PlanStep) -> bool {
        !self.plan_without.contains(&step)
    }

    /// Sets `name`, in any case, to `value`; the word `default` resets it. Fails with kind `InvalidInput`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let (known, value) = (Self::known(name)?, value.trim().to_lowercase());
        let reset = value == "default";
        let refuse = |expected: &'static str| QueryError::SettingValue { name: known, value: value.clone(), expected };
        match known {
            "execution" if reset => self.execution = None,
            "execution" => {
                let ways = [Execution::Auto, Execution::Local, Execution::Board];
                let way = ways.into_iter().find(|way| way.as_str() == value);
                self.execution = Some(way.ok_or_else(|| refuse("auto, local or board"))?);
            }
            "max_result_bytes" if reset => self.max_result_bytes = None,
            "max_result_bytes" => {
                let bytes = units::parse_bytes(&value).ok_or_else(|| refuse("a size such as '256 MiB' or '4 GB'"))?;
                self.max_result_bytes = Some(bytes);
            }
            "query_timeout" if reset => self.query_timeout = None,
            "query_timeout" => {
                let range = Duration::from_millis(1)..=QUERY_TIMEOUT_MAX;
                let timeout = units::parse_duration(&value).filter(|timeout| range.contains(timeout));
                self.query_timeout =
                    Some(timeout.ok_or_else(|| refuse("a time such as '30 s' or '5 min', up to 7 days"))?);
            }
            "target_partitions" if reset || value == "auto" => self.target_partitions = None,
            "target_partitions" => {
                let count = value.parse().ok().filter(|count| (1..=TARGET_PARTITIONS_MAX).contains(count));
                self.target_partitions = Some(count.ok_or_else(|| refuse("a number from 1 to 1024, or auto"))?);
            }
            _ if reset || value == "none" => self.plan_without.clear(),
            _ => {
                let step = |word: &str| PlanStep::ALL.into_iter().find(|step| step.as_str() == word.trim());
                let steps = value.split(',').map(step).collect::<Option<_>>();
                self.plan_without = steps.ok_or_else(|| {
                    refuse(
                        "join_order, semi_joins, shared_builds, filter_estimates or text_views, or some of them with \
                         commas, or none",
                    )
                })?;
            }
        }
        Ok(())
    }

    fn known(name: &str) -> Result<&'static str> {
        let folded = name.to_lowercase();
        NAMES.into_iter().find(|known| *known == folded).ok_or_else(|| QueryError::SettingName {
            name: name.to_owned(),
            nearest: nearest(&folded, NAMES).map(str::to_owned),
        })
    }

    /// What has been set, by name, as `SET` would take it.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let timeout = self.query_timeout.map(|timeout| format!("{} ms", timeout.as_millis()));
        let entries = [
            self.execution.map(|way| way.as_str().to_owned()),
            self.max_result_bytes.map(|bytes| bytes.to_string()),
            timeout,
            self.target_partitions.map(|count| count.to_string()),
            (!self.plan_without.is_empty()).then(|| self.steps_left_out()),
        ];
        let named = NAMES.into_iter().zip(entries);
        named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn steps_left_out(&self) -> String {
        self.plan_without.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Every setting, for `SHOW SETTINGS`.
    #[must_use]
    pub fn list(&self) -> Vec<Setting> {
        let partitions = self.target_partitions.map_or_else(|| "auto".to_owned(), |count| count.to_string());
        vec![
            Setting {
                name: "execution",
                value: self.execution().as_str().to_owned(),
                default: "auto",
                description: "where a query runs: auto decides by the bytes left to read, or local, or board",
            },
            Setting {
                name: "max_result_bytes",
                value: match self.max_result_bytes() {
                    RESULT_BYTES_MAX => "256 MiB".to_owned(),
                    other => units::bytes(other),
                },
                default: "256 MiB",
                description: "an answer that is known to be larger is not sent through the bucket: its query runs locally",
            },
            Setting {
                name: "query_timeout",
                value: shown(self.query_timeout()),
                default: "60 min",
                description: "how long a query may run before it is cancelled, up to 7 days",
            },
            Setting {
                name: "target_partitions",
                value: partitions,
                default: "auto",
                description: "into how many parts a plan is cut, 1 to 1024; auto: one for each bee",
            },
            Setting {
                name: "plan_without",
                value: if self.plan_without.is_empty() { "none".to_owned() } else { self.steps_left_out() },
                default: "none",
                description: "steps of planning to leave out, to measure them: join_order, semi_joins, shared_builds, \
                              filter_estimates, text_views",
            },
        ]
    }
}

fn shown(timeout: Duration) -> String {
    let whole_minutes = timeout >= Duration::from_secs(60) && timeout.as_secs_f64() % 60.0 == 0.0;
    if whole_minutes { format!("{} min", timeout.as_secs() / 60) } else { units::duration(timeout) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_core::ErrorKind;

    #[test]
    fn settings_read_back_what_they_write() {
        let mut settings = Settings::default();
        settings.set("EXECUTION", "Board").unwrap();
        settings.set("query_timeout", "1.5 s").unwrap();
        settings.set("target_partitions", "3").unwrap();
        settings.set("max_result_bytes", "1 GiB").unwrap();
        settings.set("plan_without", "semi_joins,Join_Order").unwrap();
        let mut again = Settings::default();
        for (name, value) in settings.to_map() {
            again.set(&name, &value).unwrap();
        }
        assert_eq!(again, settings);
        assert!(!again.plans_with(PlanStep::SemiJoins) && Settings::default().plans_with(PlanStep::SemiJoins));
        assert_eq!((again.execution(), again.query_timeout()), (Execution::Board, Duration::from_millis(1500)));
        assert_eq!(again.max_result_bytes(), 1 << 30);
    }

    #[test]
    fn default_takes_a_setting_back() {
        let mut settings = Settings::default();
        settings.set("execution", "local").unwrap();
        settings.set("execution", "DEFAULT").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(settings.to_map().is_empty());
        let unset = settings.list().into_iter().all(|setting| setting.value == setting.default);
        assert!(unset, "{:?}", settings.list());
    }

    #[test]
    fn what_show_settings_shows_set_takes() {
        let mut settings = Settings::default();
        settings.set("plan_without", "semi_joins").unwrap();
        settings.set("target_partitions", "3").unwrap();
        for shown in Settings::default().list() {
            settings.set(shown.name, &shown.value).unwrap();
        }
        assert_eq!(settings.list(), Settings::default().list());
    }

    #[test]
    fn a_slip_in_a_name_is_refused_with_a_suggestion() {
        let error = Settings::default().set("exection", "local").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "there is no setting 'exection'");
        assert_eq!(error.hint().as_deref(), Some("did you mean 'execution'? SHOW SETTINGS lists them all"));
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let refused = [
            ("target_partitions", "0"),
            ("max_result_bytes", "-1"),
            ("query_timeout", "8 days"),
            ("execution", "fast"),
            ("plan_without", "joins"),
        ];
        for (name, value) in refused {
            let error = Settings::default().set(name, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{value}' is no value for {name}; ")), "{error}");
        }
    }
}
