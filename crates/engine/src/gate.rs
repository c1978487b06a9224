//! Local or board: one decision per query, with its reason in words.
//!
//! Pure: numbers in, decision out. The reason is shown to people by EXPLAIN and under every result, so it is
//! written here, beside the rule it explains. Small queries dominate on small machines, therefore everything that
//! is in doubt runs locally.

use std::fmt;

use apiary_core::units;

/// Below this many bytes nothing is gained by other machines.
const LOCAL_BYTES_MIN: u64 = 64_000_000;

/// What one bee reads in about the time that one more stage costs.
const LOCAL_BYTES_PER_BEE: u64 = 32_000_000;

/// What the session asked for: `SET execution = …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting {
    /// The gate decides.
    #[default]
    Auto,
    /// In the coordinator's own process.
    Local,
    /// Over the bucket.
    Board,
}

/// What the gate looks at.
#[derive(Debug, Clone, Default)]
pub struct GateInput {
    /// What the session asked for.
    pub setting: Setting,
    /// Bytes of cells left after pruning.
    pub bytes_kept: u64,
    /// Bees of this node.
    pub local_bees: usize,
    /// Workers alive in the colony.
    pub live_workers: usize,
    /// Nodes alive in the colony, this one included.
    pub live_nodes: usize,
    /// Bytes of the answer, if the planner has an idea.
    pub output_bytes: Option<u64>,
    /// The largest answer that may travel the bucket twice: `SET max_result_bytes = …`.
    pub output_bytes_max: u64,
}

/// Where a query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the coordinator's own process.
    Local,
    /// As tasks over the bucket.
    Board,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Board => "board",
        })
    }
}

/// Where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where it runs.
    pub way: Way,
    /// Why, for people.
    pub reason: String,
}

impl Decision {
    fn new(way: Way, reason: impl Into<String>) -> Self {
        Self { way, reason: reason.into() }
    }
}

/// The bytes up to which a node with `bees` bees keeps a query to itself.
#[must_use]
pub fn local_bytes_max(bees: usize) -> u64 {
    LOCAL_BYTES_MIN.max(LOCAL_BYTES_PER_BEE.saturating_mul(bees as u64))
}

/// Decides.
#[must_use]
pub fn decide(input: &GateInput) -> Decision {
    match input.setting {
        Setting::Local => return Decision::new(Way::Local, "SET execution = local"),
        // Who says so waits for a worker, and not for long: the board tells when nobody comes.
        Setting::Board if input.live_workers == 0 => {
            return Decision::new(Way::Board, "SET execution = board, though no worker is alive yet");
        }
        Setting::Board => return Decision::new(Way::Board, "SET execution = board"),
        Setting::Auto => {}
    }
    let limit = local_bytes_max(input.local_bees);
    let (scan, limit_text) = (units::bytes(input.bytes_kept), units::bytes(limit));
    if input.bytes_kept <= limit {
        return Decision::new(Way::Local, format!("{scan} to scan, up to {limit_text} stays local"));
    }
    if input.live_workers == 0 {
        return Decision::new(Way::Local, format!("{scan} to scan, but no worker is alive"));
    }
    if input.live_nodes <= 1 {
        return Decision::new(Way::Local, format!("{scan} to scan, but only one node is alive"));
    }
    match input.output_bytes {
        Some(bytes) if bytes > input.output_bytes_max => {
            let (bytes, limit) = (units::bytes(bytes), units::bytes(input.output_bytes_max));
            Decision::new(Way::Local, format!("the answer is about {bytes} > {limit} max_result_bytes"))
        }
        _ => Decision::new(Way::Board, format!("{scan} to scan > {limit_text} local limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> GateInput {
        GateInput {
            bytes_kept: 412_000_000,
            local_bees: 3,
            live_workers: 3,
            live_nodes: 4,
            output_bytes_max: 256 << 20,
            ..GateInput::default()
        }
    }

    #[test]
    fn a_large_scan_goes_to_the_board_and_says_why() {
        let decision = decide(&busy());
        assert_eq!(decision.way, Way::Board);
        assert_eq!(decision.reason, "412 MB to scan > 96.0 MB local limit");
    }

    #[test]
    fn a_small_scan_stays() {
        assert_eq!(decide(&GateInput { bytes_kept: 96_000_000, ..busy() }).way, Way::Local);
        assert_eq!(decide(&GateInput { bytes_kept: 96_000_001, ..busy() }).way, Way::Board);
    }

    #[test]
    fn few_bees_do_not_lower_the_limit_under_its_floor() {
        assert_eq!(local_bytes_max(1), 64_000_000);
        assert_eq!(local_bytes_max(0), 64_000_000);
        assert_eq!(local_bytes_max(4), 128_000_000);
    }

    #[test]
    fn a_lonely_node_does_it_itself() {
        assert_eq!(decide(&GateInput { live_nodes: 1, live_workers: 1, ..busy() }).way, Way::Local);
        assert_eq!(decide(&GateInput { live_workers: 0, ..busy() }).way, Way::Local);
    }

    #[test]
    fn a_large_answer_stays() {
        let large = GateInput { output_bytes: Some(1 << 30), ..busy() };
        assert_eq!(decide(&large).reason, "the answer is about 1.1 GB > 268 MB max_result_bytes");
        assert_eq!(decide(&GateInput { output_bytes_max: 1 << 30, ..large }).way, Way::Board);
    }

    #[test]
    fn the_session_has_the_last_word() {
        let small = GateInput { bytes_kept: 1, live_workers: 1, live_nodes: 1, ..GateInput::default() };
        assert_eq!(decide(&GateInput { setting: Setting::Board, ..small.clone() }).way, Way::Board);
        assert_eq!(decide(&GateInput { setting: Setting::Local, ..busy() }).way, Way::Local);
        let nobody = decide(&GateInput { live_workers: 0, setting: Setting::Board, ..small });
        assert_eq!((nobody.way, nobody.reason.contains("no worker is alive yet")), (Way::Board, true));
    }
}
