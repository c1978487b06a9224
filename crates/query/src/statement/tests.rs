//! What parses, as what, and what does not.

use apiary_core::ErrorKind;

use super::*;

fn refused(sql: &str) -> String {
    let error = parse(sql).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SqlSyntax, "{error}");
    error.to_string()
}

fn unsupported(sql: &str) -> (String, String) {
    let error = parse(sql).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn use_takes_a_hive_or_a_box() {
    let hive = |name: &str| Statement::Use(Use::Hive(name.to_owned()));
    let of_box = |hive: Option<&str>, name: &str| {
        Statement::Use(Use::Box { hive: hive.map(str::to_owned), box_name: name.to_owned() })
    };
    let cases = [
        ("USE demo", hive("demo")),
        ("use hive Demo;", hive("Demo")),
        ("USE hive", hive("hive")),
        ("USE BOX sensors", of_box(None, "sensors")),
        ("USE demo.sensors", of_box(Some("demo"), "sensors")),
        ("USE BOX \"my hive\".\"my box\" -- done", of_box(Some("my hive"), "my box")),
    ];
    for (sql, statement) in cases {
        assert_eq!(parse(sql).unwrap(), statement, "{sql}");
    }
    assert_eq!(refused("USE"), "line 1, column 4: expected hive or hive.box, found the end\n1 | USE\n       ^");
    assert!(refused("USE a.b.c").contains("expected"));
}

#[test]
fn set_takes_words_numbers_units_and_texts() {
    let set =
        |name: &str, value: Option<&str>| Statement::Set { name: name.to_owned(), value: value.map(str::to_owned) };
    let cases = [
        ("SET execution = board", set("execution", Some("board"))),
        ("set execution to 'local'", set("execution", Some("local"))),
        ("SET query_timeout = 5 min", set("query_timeout", Some("5 min"))),
        ("SET target_partitions = 4;", set("target_partitions", Some("4"))),
        ("SET execution = DEFAULT", set("execution", None)),
        ("RESET execution", set("execution", None)),
    ];
    for (sql, statement) in cases {
        assert_eq!(parse(sql).unwrap(), statement, "{sql}");
    }
    assert!(refused("SET execution").contains("expected '=' and a value, found the end"));
    assert!(refused("SET a = b c").contains("expected the end of the statement, found 'c'"));
}

#[test]
fn show_and_describe_name_what_they_list() {
    let texts = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let cases = [
        ("SHOW HIVES", Statement::Show(Show::Hives)),
        ("show boxes", Statement::Show(Show::Boxes { hive: None })),
        ("SHOW BOXES IN demo", Statement::Show(Show::Boxes { hive: Some("demo".to_owned()) })),
        ("SHOW FRAMES FROM demo.sensors", Statement::Show(Show::Frames { within: texts(&["demo", "sensors"]) })),
        ("SHOW NODES", Statement::Show(Show::Nodes)),
        ("SHOW SETTINGS;;", Statement::Show(Show::Settings)),
        ("DESC a.\"b c\".D", Statement::Describe(FrameRef(texts(&["a", "b c", "D"])))),
    ];
    for (sql, statement) in cases {
        assert_eq!(parse(sql).unwrap(), statement, "{sql}");
    }
    assert!(refused("SHOW FRAME").contains("(did you mean FRAMES?)"));
    assert_eq!(unsupported("SHOW TABLES").1, "write SHOW FRAMES");
}

#[test]
fn explain_takes_its_options_in_any_order() {
    let Statement::Explain(explain) = parse("EXPLAIN VERBOSE ANALYZE FORMAT JSON\nSELECT 1").unwrap() else {
        panic!("no EXPLAIN")
    };
    assert!(explain.analyze && explain.verbose && explain.json);
    assert_eq!(explain.query.query_sql(), "SELECT 1");
    assert_eq!(parse(explain.query.query_sql()).unwrap(), parse("SELECT 1").unwrap());
    assert!(refused("EXPLAIN").contains("expected a query, found the end"));
    assert!(refused("EXPLAIN USE x").contains("expected a query, found 'USE'"));
    assert_eq!(unsupported("EXPLAIN INSERT INTO t SELECT 1").0, "INSERT is not supported in SQL");
}

#[test]
fn queries_come_through_in_many_shapes() {
    for sql in [
        "SELECT 1",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "-- a comment\nSELECT 'a;b' /* ; */;",
        "SELECT date '1998-12-01' - interval '90' day",
    ] {
        assert!(matches!(parse(sql), Ok(Statement::Query(_))), "{sql}");
    }
}

#[test]
fn what_is_not_a_query_is_refused_with_the_way_to_do_it() {
    for (sql, what, way) in [
        ("INSERT INTO t VALUES (1)", "INSERT", "apiary import"),
        ("copy t to 'x.parquet'", "COPY", "apiary sql"),
        ("CREATE TABLE t (a INT)", "CREATE", "--create"),
        ("DELETE FROM t", "DELETE", "append-only"),
        ("BEGIN", "BEGIN", "one transaction"),
        ("SELECT 1 INTO t", "SELECT INTO", "apiary import"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "INSERT", "apiary import"),
    ] {
        let (message, hint) = unsupported(sql);
        assert_eq!(message, format!("{what} is not supported in SQL"), "{sql}");
        assert!(hint.contains(way), "{sql}: {hint}");
    }
}

#[test]
fn a_syntax_error_shows_its_place() {
    assert_eq!(
        refused("SELECT region,\n  FROM demo.sensors.temperature\n  WHERE"),
        "line 3, column 8: expected an expression, found the end\n3 |   WHERE\n           ^"
    );
    assert_eq!(refused("SELEC 1"), "line 1, column 1: expected an SQL statement, found SELEC\n1 | SELEC 1\n    ^");
    assert_eq!(
        refused("SELECT 'open"),
        "line 1, column 8: unterminated string literal\n1 | SELECT 'open\n           ^"
    );
}

#[test]
fn one_statement_at_a_time() {
    let error = refused("SELECT 1; SELECT 2");
    assert_eq!(
        error,
        "line 1, column 11: one statement at a time: a second one begins here\n1 | SELECT 1; SELECT 2\n              ^"
    );
    assert!(refused("  -- nothing\n").contains("there is no statement here"));
    assert!(refused("").contains("there is no statement here"));
}

#[test]
fn too_long_or_too_deep_is_refused() {
    let error = parse(&" ".repeat(SQL_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
    assert!(refused(&deep).contains("nested too deeply"));
}

#[test]
fn from_alone_means_all_columns() {
    let Ok(Statement::Query(short)) = parse("FROM a.b.c LIMIT 3") else { panic!("no query") };
    assert_eq!(short.ast().to_string(), "SELECT * FROM a.b.c LIMIT 3");
}
