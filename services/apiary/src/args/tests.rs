//! What may be typed and what may not.

use clap::{CommandFactory, Parser, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_bucket_and_a_coordinator_exclude_each_other() {
    let error = parse("apiary sql x --storage /tmp/a --connect grpc://b:1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_slip_in_an_option_gets_a_suggestion() {
    let text = parse("apiary sql x --formt csv").unwrap_err().to_string();
    assert!(text.contains("'--format'"), "{text}");
    let text = parse("apiary sttus").unwrap_err().to_string();
    assert!(text.contains("'status'"), "{text}");
}

#[test]
fn an_unknown_format_lists_the_known_ones() {
    let text = parse("apiary sql x --format xml").unwrap_err().to_string();
    assert!(text.contains("table, csv, json, jsonl"), "{text}");
}

#[test]
fn import_needs_files_and_a_whole_path() {
    assert!(parse("apiary import --into a.b.c").is_err());
    assert!(parse("apiary import x.csv --into a.b.c.d").is_err() && parse("apiary import x.csv --into a..c").is_err());
    assert!(parse("apiary import x.csv --into a.b.c --partition-by region").is_err(), "only with --create");
    let Command::Import(import) =
        parse("apiary import x.csv y.csv --into a.b.c --create --partition-by region").unwrap().command
    else {
        panic!("another command")
    };
    assert_eq!((import.files.len(), import.into.to_string().as_str()), (2, "a.b.c"));
    assert_eq!(import.partition_by, ["region"]);
}

#[test]
fn roles_come_as_a_list() {
    let Command::Start(start) = parse("apiary start --roles coordinator,worker --memory 1GiB").unwrap().command else {
        panic!("another command")
    };
    assert_eq!(start.roles, [RoleArg::Coordinator, RoleArg::Worker]);
    assert_eq!(start.memory.as_deref(), Some("1GiB"));
    assert!(parse("apiary start --roles queen").is_err());
    assert!(parse("apiary start --memory plenty").is_err());
}

#[test]
fn settings_are_name_and_value() {
    let Command::Sql(sql) = parse("apiary sql x --set Execution=board --use demo.sensors").unwrap().command else {
        panic!("another command")
    };
    assert_eq!(sql.set, [("execution".to_owned(), "board".to_owned())]);
    assert!(parse("apiary sql x --set execution").is_err());
}

#[test]
fn the_demo_keeps_to_counts_it_can_show() {
    assert!(parse("apiary demo --rows 2_000_000").is_ok());
    assert!(parse("apiary demo --rows 5").is_err());
}

#[test]
fn a_frame_is_named_as_in_sql() {
    for (typed, meant) in [("t", "main.main.t"), ("b.t", "main.b.t"), ("h.b.t", "h.b.t")] {
        let Command::History(history) = parse(&format!("apiary history {typed}")).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(history.frame.to_string(), meant);
    }
}

#[test]
fn a_time_without_a_unit_is_refused_with_the_units() {
    for line in ["apiary vacuum --retain 10", "apiary checkpoint t --clean-log=10"] {
        let text = parse(line).unwrap_err().to_string();
        assert!(text.contains("10 of what? add a unit: 10d, 10h, 10min or 10s"), "{text}");
    }
    assert!(parse("apiary vacuum --retain 10d").is_ok() && parse("apiary vacuum --retain soon").is_err());
}

#[test]
fn a_delimiter_is_one_character() {
    for (typed, byte) in [(";", b';'), ("|", b'|'), ("tab", b'\t'), ("\\t", b'\t')] {
        let line = ["apiary", "import", "x.csv", "--into", "t", "--delimiter", typed];
        let Command::Import(import) = Cli::try_parse_from(line).unwrap().command else { panic!("another command") };
        assert_eq!(import.delimiter, Some(byte));
    }
    assert!(parse("apiary import x.csv --into t --delimiter ;;").is_err());
    assert!(parse("apiary import x.csv --into t --delimiter \"").is_err());
}
