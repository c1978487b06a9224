//! What is found under which name, and which changes fit.

use super::*;
use crate::registry_entry::{Change, Renamed, Thing};

fn hive(name: &str) -> HiveName {
    HiveName::new(name).unwrap()
}

fn in_box(name: &str) -> BoxName {
    BoxName::new(name).unwrap()
}

fn record(path: &str, folder: &str) -> FrameRecord {
    let id = FrameId::try_from("0123abcd".to_owned()).unwrap();
    FrameRecord { path: path.parse().unwrap(), id, folder: folder.to_owned() }
}

fn create(path: &str) -> Change {
    Change::Create(match path.split('.').collect::<Vec<_>>()[..] {
        [name] => Thing::Hive { hive: hive(name) },
        [of, name] => Thing::Box { hive: hive(of), box_name: in_box(name) },
        _ => Thing::Frame(record(path, &format!("folder of {path}"))),
    })
}

fn namespace() -> Namespace {
    let mut names = Namespace::default();
    for path in ["Analytics", "analytics.sensors", "Analytics.sensors.Temperature"] {
        names.apply(&create(path)).unwrap();
    }
    names
}

fn rename_hive(from: &str, to: &str) -> Change {
    Change::Rename(Renamed::Hive { hive: hive(from), to: hive(to) })
}

#[test]
fn names_are_found_in_any_case_and_shown_as_written() {
    let frame = namespace().frame("ANALYTICS", "Sensors", "temperature").unwrap();
    assert_eq!(frame.path.to_string(), "Analytics.sensors.Temperature");
}

#[test]
fn a_slip_is_answered_with_the_name_that_was_meant() {
    let hint = |hive, in_box, frame| namespace().frame(hive, in_box, frame).unwrap_err().hint().unwrap();
    assert_eq!(hint("analytics", "sensors", "temperatrue"), "did you mean 'Temperature'?");
    assert_eq!(hint("analytics", "sensor", "wind"), "did you mean 'sensors'?");
    assert_eq!(hint("production", "x", "wind"), "there are: Analytics");
    assert_eq!(hint("production", "x", "temperature"), "did you mean 'Analytics.sensors.Temperature'?");
}

#[test]
fn what_does_not_fit_is_refused() {
    let cases: Vec<(Change, &str)> = vec![
        (create("ANALYTICS"), "'Analytics' is there already"),
        (create("none.b"), "there is no hive 'none'"),
        (create("analytics.none.f"), "there is no box 'analytics.none'"),
        (create("analytics.SENSORS"), "'sensors' is there already"),
        (create("analytics.sensors.temperature"), "is there already"),
        (Change::Drop(Thing::Hive { hive: hive("analytics") }), "is not empty"),
        (Change::Drop(Thing::Box { hive: hive("analytics"), box_name: in_box("sensors") }), "is not empty"),
        (Change::Drop(Thing::Hive { hive: hive("none") }), "there is no hive"),
        (Change::Drop(Thing::Frame(record("analytics.sensors.temperature", "another"))), "is in the folder"),
        (rename_hive("none", "x"), "there is no hive"),
    ];
    for (change, why) in cases {
        let error = namespace().apply(&change).unwrap_err();
        assert!(error.contains(why), "{change:?}: {error}");
        assert!(namespace().fits(&[change]).is_err());
    }
}

#[test]
fn a_renamed_hive_takes_its_boxes_and_frames_along() {
    let mut names = namespace();
    let before = names.hive_birth(&hive("analytics")).unwrap();
    names.apply(&rename_hive("analytics", "Lab")).unwrap();
    assert_eq!(names.frame("lab", "sensors", "temperature").unwrap().path.to_string(), "Lab.sensors.Temperature");
    assert_eq!(names.hive_born(before), Some(hive("Lab")));
    let error = names.frame("analytics", "sensors", "temperature").unwrap_err();
    assert_eq!(error.hint().unwrap(), "it was renamed to 'Lab'");
    names.apply(&rename_hive("lab", "LAB")).unwrap();
    assert_eq!(names.hives(), [&hive("LAB")]);
    assert_eq!(names.all_frames()[0].path.to_string(), "LAB.sensors.Temperature");
    // Whoever takes the old name is another, and the hint is gone.
    names.apply(&create("analytics")).unwrap();
    assert_ne!(names.hive_birth(&hive("analytics")).unwrap(), before);
    assert_eq!(names.renamed_to(&["analytics"]), None);
    assert!(names.fits(&[rename_hive("analytics", "lab")]).is_err(), "onto a name that is taken");
}

#[test]
fn a_box_and_a_frame_are_renamed_in_their_place() {
    let mut names = namespace();
    let (of, from, to) = (hive("ANALYTICS"), in_box("Sensors"), in_box("Probes"));
    names.apply(&Change::Rename(Renamed::Box { hive: of, box_name: from, to })).unwrap();
    let frame = names.frame("analytics", "probes", "temperature").unwrap();
    assert_eq!(frame.path.to_string(), "Analytics.Probes.Temperature");
    names.apply(&create("analytics.b")).unwrap();
    let to = "analytics.B.t".parse().unwrap();
    names.apply(&Change::Rename(Renamed::Frame { frame: FrameRecord::clone(&frame), to })).unwrap();
    assert_eq!(names.in_folder(&frame.folder).unwrap().path.to_string(), "Analytics.b.t");
    assert_eq!(names.renamed_to(&["analytics", "sensors"]).as_deref(), Some("Analytics.Probes"));
    assert_eq!(names.renamed_to(&["analytics", "probes", "temperature"]).as_deref(), Some("analytics.B.t"));
}

#[test]
fn a_hint_never_leads_to_what_is_gone() {
    let mut names = namespace();
    names.apply(&rename_hive("analytics", "b")).unwrap();
    names.apply(&rename_hive("b", "analytics")).unwrap();
    assert_eq!(names.renamed_to(&["analytics"]), None);
    assert_eq!(names.renamed_to(&["b"]).as_deref(), Some("analytics"));
    names.apply(&rename_hive("analytics", "c")).unwrap();
    assert_eq!(names.renamed_to(&["b"]).as_deref(), Some("c"));
}

#[test]
fn what_is_tried_on_a_copy_leaves_the_original_as_it_was() {
    let names = namespace();
    names.fits(&[rename_hive("analytics", "x"), create("y"), create("x.b")]).unwrap();
    assert_eq!(names.hives(), [&hive("Analytics")]);
    assert_eq!(names.all_frames()[0].path.to_string(), "Analytics.sensors.Temperature");
}
