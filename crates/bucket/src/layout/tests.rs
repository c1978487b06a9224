//! What is formatted reads back, and what is not ours does not.

use apiary_core::{QueryId, SeededRng, SystemClock};

use super::*;

fn query_id() -> QueryId {
    QueryId::new(&SystemClock, &SeededRng::new(3))
}

#[test]
fn a_ledger_entry_reads_back_in_its_own_folder_only() {
    let key = ledger_entry("h/b/f-00000001", Version(42));
    assert_eq!(key.as_str(), "h/b/f-00000001/_delta_log/00000000000000000042.json");
    assert_eq!(parse_ledger_entry("h/b/f-00000001", key.as_str()), Some(Version(42)));
    assert_eq!(parse_ledger_entry("h/b/f", key.as_str()), None);
    for other in ["_last_checkpoint", "00000000000000000042.checkpoint.parquet", "42.json", "+0000000000000000042.json"]
    {
        assert_eq!(parse_ledger_entry("f", &format!("f/_delta_log/{other}")), None, "{other}");
    }
}

#[test]
fn every_object_of_a_ledger_reads_back_in_its_own_folder_only() {
    let v = Version(42);
    let all = [
        (ledger_entry("f", v), LedgerObject::Entry(v)),
        (checkpoint("f", v), LedgerObject::Checkpoint(v)),
        (checksum("f", v), LedgerObject::Checksum(v)),
    ];
    for (key, object) in &all {
        assert_eq!(parse_ledger_object("f", key.as_str()), Some(*object));
        assert_eq!(parse_ledger_object("g", key.as_str()), None);
        // A list that begins here shows all of this version and nothing of the one before.
        assert!(key.as_str() > ledger_from("f", v).as_str() && ledger_from("f", v.next()).as_str() > key.as_str());
    }
    for other in ["_last_checkpoint", "42.crc", "00000000000000000042.checkpoint.0.parquet", "+0000000000000000042.crc"]
    {
        assert_eq!(parse_ledger_object("f", &format!("f/_delta_log/{other}")), None, "{other}");
    }
}

#[test]
fn a_fence_reads_back_for_its_own_frame_only() {
    let (id, other) = (FrameId::random(&SeededRng::new(1)), FrameId::random(&SeededRng::new(2)));
    assert_eq!(parse_fence(&id, fence(&id, 7).as_str()), Some(7));
    assert_eq!(parse_fence(&other, fence(&id, 7).as_str()), None);
}

#[test]
fn registry_entries_and_heartbeats_read_back() {
    assert_eq!(parse_registry(registry(Version(7)).as_str()), Some(Version(7)));
    let id = NodeId::new("pi-3").unwrap();
    assert_eq!(parse_node(node(&id).as_str()), Some(id));
    assert_eq!(parse_node("_apiary/nodes/..json"), None);
}

#[test]
fn cells_read_back() {
    let txn = TxnId::new(&SystemClock, &SeededRng::new(1));
    for n in [0, 7, 123] {
        assert_eq!(parse_cell_path(&cell_path(&txn, n)), Some((txn, n)));
    }
    assert_eq!(cell("f", &txn, 1).as_str(), format!("f/cells/{txn}-01.parquet"));
    assert_eq!(parse_cell_path("cells/x-01.parquet"), None);
}

#[test]
fn pins_and_frame_folders_read_back() {
    let query = query_id();
    assert_eq!(parse_pin(pin(&query).as_str()), Some(query));
    assert_eq!(parse_pin("_apiary/pins/x.json"), None);
    let node = apiary_core::NodeId::new("pi-1").unwrap();
    assert_eq!(parse_query_log(query_log(&node).as_str()), Some(node));
    let id = FrameId::random(&SeededRng::new(5));
    for path in [["h", "b", "f"], ["my hive", "Büro", "a-b"], ["x_", "b", "f-"]] {
        let folder = frame_folder(&FramePath::new(path[0], path[1], path[2]).unwrap(), &id);
        assert_eq!(parse_frame_folder(&folder), Some(id.clone()), "{folder}");
    }
    let strangers = ["h/b/f", "h/b/f-0123456", "h/b/f-0123456g", "b/f-01234567", "a/h/b/f-01234567", "h//f-01234567"];
    for stranger in strangers.into_iter().chain(["_apiary/b/f-01234567", "h/b c/f-01234567", "h/b/-01234567"]) {
        assert_eq!(parse_frame_folder(stranger), None, "{stranger}");
    }
}

#[test]
fn a_long_frame_name_is_cut_between_letters() {
    let path = FramePath::new("h", "b", &"ü".repeat(127)).unwrap();
    let id = FrameId::random(&SeededRng::new(5));
    let folder = frame_folder(&path, &id);
    let last = folder.rsplit('/').next().unwrap();
    assert!(last.len() <= 255 && last.ends_with(id.as_str()), "{last}");
    assert_eq!(frame_folder(&FramePath::new("h", "b", "f").unwrap(), &id), format!("h/b/f-{id}"));
    let odd = FramePath::new("my hive", "Büro", "a+b_c").unwrap();
    assert_eq!(frame_folder(&odd, &id), format!("my-hive/B-ro/a-b_c-{id}"));
}

#[test]
fn every_board_key_reads_back() {
    let q = &query_id();
    let (stage, task_, attempt) = (3, 7, 1);
    let file = Key::parse(&format!("{}data-0.arrow", out_prefix(q, 3, 7, "n1"))).unwrap();
    assert_eq!(out(q, 3, 7, "n1", "data-0.arrow"), file);
    let table = [
        (query(q), BoardKey::Query),
        (stages(q), BoardKey::Stages),
        (task(q, 3, 7, 1), BoardKey::Task { stage, task: task_, attempt }),
        (task_sql(q, 3, 7), BoardKey::TaskSql { stage, task: task_ }),
        (claim(q, 3, 7, 1), BoardKey::Claim { stage, task: task_, attempt }),
        (failed(q, 3, 7, 1), BoardKey::Failed { stage, task: task_, attempt }),
        (done(q, 3, 7), BoardKey::Done { stage, task: task_ }),
        (file, BoardKey::Out { stage, task: task_, nonce: "n1".into(), file: "data-0.arrow".into() }),
        (owner(q, 12), BoardKey::Owner { epoch: 12 }),
        (cancel(q), BoardKey::Cancel),
        (task(q, 123, 12_345, 10), BoardKey::Task { stage: 123, task: 12_345, attempt: 10 }),
    ];
    for (key, expected) in table {
        assert_eq!(BoardKey::parse(key.as_str()), Some(expected), "{key}");
    }
    assert_eq!(task(q, 3, 7, 1).as_str(), format!("_queries/{q}/s03/t0007.a1.task"));
}

#[test]
fn strangers_on_the_board_are_not_read() {
    let q = query_id();
    assert_eq!(parse_open(open_query(&q).as_str()), Some(q));
    assert_eq!(BoardKey::parse(open_query(&q).as_str()), None);
    for rest in ["", "x", "s03/t0007.a1.other", "s+3/t0007.done", "owner.x", "out/1/2/f", "s03/t7.a1.b.task"] {
        assert_eq!(BoardKey::parse(&format!("_queries/{q}/{rest}")), None, "{rest}");
    }
}

#[test]
fn a_key_cannot_leave_the_bucket() {
    for bad in ["", "/a", "a//b", "a/../b", "..", "a/.", "a\nb", &"x".repeat(901)] {
        assert!(Key::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(Key::parse("büro 2/日本").unwrap().to_path().unwrap().as_ref(), "büro 2/日本");
}

#[test]
fn any_text_as_a_key_is_a_key_or_none() {
    let (query, frame) = (query_id(), FrameId::random(&SeededRng::new(5)));
    let txn = TxnId::new(&SystemClock, &SeededRng::new(1));
    let keys = [
        ledger_entry("h/b/f-00000001", Version(42)),
        checkpoint("h/b/f-00000001", Version(42)),
        registry(Version(7)),
        node(&NodeId::new("pi-3").unwrap()),
        fence(&frame, 12),
        cell("h/b/f-00000001", &txn, 3),
        task(&query, 3, 7, 1),
        done(&query, 3, 7),
        owner(&query, 12),
        open_query(&query),
        out(&query, 3, 7, "n1", "data-0.arrow"),
    ];
    let samples: Vec<Vec<u8>> = keys.iter().map(|key| key.as_str().as_bytes().to_vec()).collect();
    apiary_faults::mutate::drive("keys", &samples, |data| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if let Ok(key) = Key::parse(text) {
            let path = key.to_path().unwrap();
            assert_eq!(path.as_ref(), text, "a key is the path that it says");
        }
        let folder = "h/b/f-00000001";
        if let Some(version) = parse_ledger_entry(folder, text) {
            assert_eq!(ledger_entry(folder, version).as_str(), text);
        }
        if let Some(version) = parse_registry(text) {
            assert_eq!(registry(version).as_str(), text);
        }
        if let Some(id) = parse_node(text) {
            assert_eq!(node(&id).as_str(), text);
        }
        if let Some(id) = parse_query_log(text) {
            assert_eq!(query_log(&id).as_str(), text);
        }
        if let Some(epoch) = parse_fence(&frame, text) {
            assert_eq!(fence(&frame, epoch).as_str(), text);
        }
        let _ = (parse_open(text), BoardKey::parse(text), parse_frame_folder(text), parse_pin(text), is_cell(text));
        let _ = (parse_ledger_object(folder, text), parse_cell_path(text));
    });
}
