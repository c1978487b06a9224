//! Doors for fuzzing: each takes any bytes to a decoder of this crate, and must not panic. Nobody else goes through.

use crate::{ColonyFormat, ColonySecret, Heartbeat, QueryLog, board};

/// A heartbeat, a log of queries, the colony's format and its secret.
pub fn heartbeat(data: &[u8]) {
    Heartbeat::fuzz(data);
    QueryLog::fuzz(data);
    ColonyFormat::fuzz(data);
    ColonySecret::fuzz(data);
}

/// A task or a result. The sum at the end is put right, or nothing would get past it.
pub fn board(data: &[u8]) {
    board::fuzz_proto(data);
}

/// A claim, a failure, a question, a term.
pub fn board_json(data: &[u8]) {
    board::fuzz_json(data);
}

#[cfg(test)]
mod tests {
    use apiary_core::{Incarnation, NodeId, QueryId, SystemClock, SystemRng};
    use apiary_faults::mutate::drive;

    use prost::Message;

    use super::*;
    use crate::{
        TaskId,
        board::{ClaimRecord, DoneRecord, InlineFile, QueryRecord, TaskObject},
        heartbeat::tests::sample,
    };

    #[test]
    fn any_bytes_as_an_object_of_the_colony_are_one_or_an_error() {
        let beat = sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 3);
        let samples = [
            serde_json::to_vec(&beat).unwrap(),
            br#"{"cluster":"c","format":1,"features":[]}"#.to_vec(),
            format!(r#"{{"format":1,"secret":"{}"}}"#, "ab".repeat(32)).into_bytes(),
        ];
        drive("heartbeat", &samples, heartbeat);
    }

    #[test]
    fn any_bytes_as_an_object_of_the_board_are_one_or_an_error() {
        let query = QueryId::new(&SystemClock, &SystemRng);
        let (node, life) = (NodeId::new("pi-1").unwrap(), Incarnation::new(&SystemClock, &SystemRng));
        let id = TaskId::new(query, 1, 0);
        let object = TaskObject { plan: vec![1; 50].into(), timeout_ms: 5, ..TaskObject::of(id.attempt(1)) };
        drive("task", &[object.encode_to_vec()], board);
        let mut record = DoneRecord::of(1, "nonce-of-pi-1", &node, life);
        record.inline.push(InlineFile { file: "data.arrow".into(), body: vec![2; 60].into() });
        drive("done", &[record.encode_to_vec()], board);
        let samples = [
            serde_json::to_vec(&ClaimRecord::new(node, life, "nonce-of-pi-1")).unwrap(),
            serde_json::to_vec(&QueryRecord::new(query, "SELECT 1", "ada", "55.2")).unwrap(),
        ];
        drive("board_json", &samples, board_json);
    }
}
