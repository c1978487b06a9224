//! Any text as a statement is one, or an error that shows its place: never a panic, and never slow.

use apiary_faults::mutate::drive;

#[test]
fn any_text_as_sql_is_a_statement_or_an_error() {
    let statements = [
        "SELECT region, sum(temp) AS total FROM a.b.c WHERE hour >= 3 AND region IN ('north', 'süd') GROUP BY region",
        "WITH x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x ORDER BY n DESC LIMIT 5",
        "CREATE FRAME a.b.c (id BIGINT NOT NULL, \"Ö d\" TEXT, at TIMESTAMP) PARTITIONED BY (id)",
        "DROP HIVE IF EXISTS a CASCADE",
        "ALTER FRAME a.b.c RENAME TO d",
        "SET query_timeout = '5 min'",
        "EXPLAIN ANALYZE SELECT count(*) FROM a.b.c AS OF 3",
        "SHOW FRAMES IN a.b; USE a.b",
        "SELECT '-- /* no comment', \"x\"\"y\" /* one */ -- two\nFROM t",
    ];
    let samples = statements.map(|sql| sql.as_bytes().to_vec());
    drive("sql", &samples, |data| {
        let Ok(sql) = std::str::from_utf8(data) else { return };
        if let Err(error) = crate::parse(sql) {
            assert!(!error.to_string().is_empty());
        }
    });
}
