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

fn history(frame: &[&str], limit: u64) -> Show {
    Show::History { frame: FrameRef(frame.iter().map(|part| (*part).to_owned()).collect()), limit }
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
        ("SHOW HISTORY demo.sensors.t", Statement::Show(history(&["demo", "sensors", "t"], 20))),
        ("show history t limit 3", Statement::Show(history(&["t"], 3))),
        ("SHOW NODES", Statement::Show(Show::Nodes)),
        ("SHOW SETTINGS;;", Statement::Show(Show::Settings)),
        ("DESC a.\"b c\".D", Statement::Describe(FrameRef(texts(&["a", "b c", "D"])))),
    ];
    for (sql, statement) in cases {
        assert_eq!(parse(sql).unwrap(), statement, "{sql}");
    }
    assert!(refused("SHOW FRAME").contains("(did you mean FRAMES?)"));
    assert!(refused("SHOW HISTORY t LIMIT 0").contains("a number from 1 to 10000"));
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
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW", "CREATE FRAME"),
        ("CREATE TABLE t AS SELECT 1", "CREATE FRAME … AS SELECT", "apiary import"),
        ("CREATE TABLE t (a INT) AS SELECT 1", "CREATE FRAME … AS SELECT", "apiary import"),
        ("CREATE OR REPLACE TABLE t (a INT)", "CREATE OR REPLACE", "DROP FRAME IF EXISTS"),
        ("CREATE TABLE t (a INT PRIMARY KEY)", "PRIMARY", "leave the rest out"),
        ("CREATE TABLE t (a INT, UNIQUE (a))", "UNIQUE", "leave the rest out"),
        ("DROP VIEW v", "DROP VIEW", "hives, boxes and frames"),
        ("ALTER TABLE t ADD COLUMN b INT", "ALTER … ADD", "RENAME TO"),
        ("ALTER TABLE t RENAME COLUMN a TO b", "ALTER … RENAME COLUMN", "RENAME TO"),
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

fn created(sql: &str) -> Create {
    match parse(sql) {
        Ok(Statement::Create(create)) => create,
        other => panic!("{sql}: {other:?}"),
    }
}

fn frame(parts: &[&str]) -> Named {
    Named::Frame(FrameRef(parts.iter().map(|part| (*part).to_owned()).collect()))
}

#[test]
fn hives_boxes_and_frames_are_created_by_both_names() {
    let of_box =
        |hive: Option<&str>, name: &str| Named::Box { hive: hive.map(str::to_owned), box_name: name.to_owned() };
    for (sql, named, if_not_exists) in [
        ("CREATE HIVE demo", Named::Hive("demo".to_owned()), false),
        ("create database if not exists \"My Hive\";", Named::Hive("My Hive".to_owned()), true),
        ("CREATE BOX sensors", of_box(None, "sensors"), false),
        ("CREATE SCHEMA IF NOT EXISTS demo.sensors", of_box(Some("demo"), "sensors"), true),
        ("CREATE FRAME t (a INT)", frame(&["t"]), false),
        ("CREATE TABLE IF NOT EXISTS d.s.\"if\" (a INT)", frame(&["d", "s", "if"]), true),
        ("CREATE TABLE \"a.b\".t (a INT)", frame(&["a.b", "t"]), false),
    ] {
        let create = created(sql);
        assert_eq!((create.named, create.if_not_exists), (named, if_not_exists), "{sql}");
    }
}

#[test]
fn the_columns_of_a_new_frame_have_sql_types() {
    use datafusion::arrow::datatypes::{DataType as T, TimeUnit as U};
    for (sql, data_type) in [
        ("boolean", T::Boolean),
        ("tinyint", T::Int8),
        ("SMALLINT", T::Int16),
        ("INT", T::Int32),
        ("INTEGER UNSIGNED", T::UInt32),
        ("int64", T::Int64),
        ("UBIGINT", T::UInt64),
        ("FLOAT", T::Float32),
        ("DOUBLE PRECISION", T::Float64),
        ("DECIMAL", T::Decimal128(38, 10)),
        ("decimal(15, 2)", T::Decimal128(15, 2)),
        ("NUMERIC(5)", T::Decimal128(5, 0)),
        ("VARCHAR(255)", T::Utf8),
        ("CHARACTER VARYING(10)", T::Utf8),
        ("TEXT", T::Utf8),
        ("BLOB", T::Binary),
        ("DATE", T::Date32),
        ("TIME", T::Time64(U::Microsecond)),
        ("TIMESTAMP", T::Timestamp(U::Microsecond, None)),
        ("TIMESTAMP(9)", T::Timestamp(U::Nanosecond, None)),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", T::Timestamp(U::Millisecond, None)),
        ("TIMESTAMPTZ", T::Timestamp(U::Microsecond, Some("UTC".into()))),
        ("TIMESTAMP WITH TIME ZONE", T::Timestamp(U::Microsecond, Some("UTC".into()))),
    ] {
        let frame = created(&format!("CREATE FRAME t (c {sql}, d {sql} NOT NULL)")).frame.unwrap();
        let fields = frame.schema.fields();
        assert_eq!((fields[0].data_type(), fields[0].is_nullable()), (&data_type, true), "{sql}");
        assert_eq!((fields[1].data_type(), fields[1].is_nullable()), (&data_type, false), "{sql}");
    }
    let frame =
        created("CREATE FRAME t (\"Two Words\" INT NULL, b TEXT) PARTITIONED BY (b, \"Two Words\")").frame.unwrap();
    assert_eq!(frame.schema.field(0).name(), "Two Words");
    assert_eq!(frame.partition_by, ["b", "Two Words"]);
}

#[test]
fn a_slip_in_a_definition_shows_its_place() {
    assert_eq!(
        refused("CREATE FRAME t (a BIGNT)"),
        "line 1, column 19: expected a type such as BIGINT, DOUBLE, TEXT, BOOLEAN, DATE or TIMESTAMP (did you mean \
         BIGINT?), found 'BIGNT'\n1 | CREATE FRAME t (a BIGNT)\n                      ^"
    );
    for (sql, text) in [
        ("CREATE FRAME t", "column 15: expected '(' and the columns, found the end"),
        ("CREATE FRAME t ()", "column 17: expected the name of a column, found ')'"),
        ("CREATE FRAME t (a INT,)", "expected the name of a column, found ')'"),
        ("CREATE FRAME t (a)", "expected a type, found ')'"),
        ("CREATE FRAME t (a INT8)", "INT8 means to different people"),
        ("CREATE FRAME t (a DECIMAL(39, 2))", "column 26: expected (digits"),
        ("CREATE FRAME t (a DECIMAL(5, 6))", "1 to 38 digits"),
        ("CREATE FRAME t (a TEXT UNSIGNED)", "expected ',' or ')', found 'UNSIGNED'"),
        ("CREATE FRAME t (a DOUBLE UNSIGNED)", "expected ',' or ')', found 'UNSIGNED'"),
        ("CREATE FRAME t (a DATE UNSIGNED)", "expected an integer type before UNSIGNED"),
        ("CREATE FRAME t (a TIMESTAMP(4))", "(0), (3), (6) or (9)"),
        ("CREATE FRAME t (a INT NOT)", "expected NULL, found ')'"),
        ("CREATE FRAME t (a INT) PARTITIONED (a)", "expected BY and columns, found '('"),
        ("CREATE FRAME t (a INT) WITH (x = 1)", "expected the end of the statement, found 'WITH'"),
        ("CREATE FRAME a.b.c.d (x INT)", "expected a frame: hive.box.frame, found 'd'"),
        ("CREATE HIVE a.b", "expected the name of a hive, found 'b'"),
        ("CREATE HIVE IF EXISTS a", "expected NOT EXISTS"),
        ("CREATE NEST x", "expected HIVE, BOX or FRAME, found 'NEST'"),
        ("DROP FRAME", "expected a frame: hive.box.frame, found the end"),
        ("DROP FRAME IF t", "expected EXISTS, found 't'"),
        ("DROP FRAME a, b", "expected the end of the statement, found ','"),
        ("ALTER FRAME t", "expected RENAME TO and a name, found the end"),
        ("ALTER FRAME t RENAME u", "expected TO and a name, found 'u'"),
        ("ALTER HIVE t RENAME TO a.b", "expected the name of a hive, found 'b'"),
        ("EXPLAIN DROP FRAME t", "expected a query, found 'DROP'"),
    ] {
        let error = refused(sql);
        assert!(error.contains(text) && error.contains('^'), "{sql}: {error}");
    }
}

#[test]
fn what_is_dropped_or_renamed_is_named_in_full_or_in_part() {
    let Ok(Statement::Drop(drop)) = parse("DROP TABLE IF EXISTS a.b.c CASCADE") else { panic!("no DROP") };
    assert_eq!(drop, Drop { named: frame(&["a", "b", "c"]), if_exists: true, cascade: true });
    let Ok(Statement::Drop(drop)) = parse("drop schema s restrict") else { panic!("no DROP") };
    let named = Named::Box { hive: None, box_name: "s".to_owned() };
    assert_eq!(drop, Drop { named, if_exists: false, cascade: false });
    let Ok(Statement::Rename(rename)) = parse("ALTER DATABASE \"Old\" RENAME TO New") else { panic!("no ALTER") };
    let to = FrameRef(vec!["New".to_owned()]);
    assert_eq!(rename, Rename { named: Named::Hive("Old".to_owned()), if_exists: false, to });
}

#[test]
fn cancel_takes_the_id_of_a_query() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for sql in [format!("CANCEL QUERY '{id}'"), format!("cancel query ' {id}'; -- enough")] {
        assert_eq!(parse(&sql).unwrap(), Statement::Cancel(id.parse().unwrap()), "{sql}");
    }
    let wrong = refused("CANCEL QUERY 'mine'");
    assert!(wrong.starts_with("line 1, column 14: expected the id of a query in quotes"), "{wrong}");
    for sql in ["CANCEL", "CANCEL 'x'", "CANCEL QUERY", &format!("CANCEL QUERY '{id}' NOW"), "EXPLAIN CANCEL QUERY 'x'"]
    {
        assert!(refused(sql).contains("expected"), "{sql}");
    }
    assert!(unsupported("KILL 7").1.contains("CANCEL QUERY"));
}
