//! Names in any case, USE, SHOW, DESCRIBE and `information_schema`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::{
    kit::{Colony, lines, session},
    plans::sensors,
};
use crate::{ColonyRows, FrameRef, NodeRow, Session, Show, Statement, parse};

async fn mixed() -> Colony {
    let colony = sensors().await;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("Region", Arc::new(StringArray::from(vec!["north", "south", "north"]))),
        ("Head Count", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("ID", Arc::new(Int64Array::from(vec![7, 8, 9]))),
    ];
    colony.frame("Demo.Sensors.People", &[], &[RecordBatch::try_from_iter(columns).unwrap()]).await;
    colony
}

async fn shown(colony: &Colony, sql: &str, session: &Session) -> Vec<String> {
    let Statement::Show(show) = parse(sql).unwrap() else { panic!("{sql} is no SHOW") };
    lines(&[colony.planner.show(&show, session, &ColonyRows::default()).await.unwrap()])
}

#[tokio::test]
async fn names_match_in_any_case_and_aliases_stay() {
    let colony = mixed().await;
    for (sql, rows) in [
        (
            "SELECT Region, MAX(Temp) AS Hottest FROM DEMO.sensors.TEMPERATURE WHERE HOUR < 9 GROUP BY REGION ORDER BY hottest LIMIT 1",
            vec!["| east | -3.0 |"],
        ),
        (
            "SELECT REGION AS r, sum(\"Head Count\") AS n FROM demo.sensors.people AS P GROUP BY region HAVING SUM(\"Head Count\") > 2",
            vec!["| north | 4 |"],
        ),
        (
            "SELECT p.id, People.ID FROM demo.sensors.PEOPLE JOIN demo.sensors.people p USING (Id) WHERE p.ID = 8",
            vec!["| 8 | 8 |"],
        ),
        (
            "WITH x AS (SELECT id AS Region FROM demo.sensors.people) SELECT region FROM X WHERE REGION > 8",
            vec!["| 9 |"],
        ),
        (
            "SELECT count(*) FROM Demo.Sensors.People p, Demo.Sensors.Temperature t WHERE p.region = t.Region AND t.hour = 1",
            vec!["| 3 |"],
        ),
    ] {
        assert_eq!(colony.rows(sql).await, rows, "{sql}");
    }
    // Both frames have the column, spelled differently: it is one name for the statement.
    let sql = "SELECT P.\"Region\", t.REGION, ID AS Key FROM demo.sensors.people p JOIN demo.sensors.temperature t USING (region)";
    let planned = colony.plan(sql, &Session::default()).await;
    let names: Vec<_> = planned.unwrap().schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["region", "region", "key"]);
}

#[tokio::test]
async fn use_sets_where_names_are_looked_for() {
    let colony = mixed().await;
    let mut session = Session::default();
    for sql in ["USE demo", "USE BOX sensors", "USE DEMO.sensors"] {
        let Statement::Use(target) = parse(sql).unwrap() else { panic!("{sql} is no USE") };
        session = colony.planner.use_(&target, &session).await.unwrap();
    }
    assert_eq!(session.to_parts().0, "Demo");
    let (_, rows) = colony.ask("SELECT count(*) FROM people", &session).await.unwrap();
    assert_eq!(lines(&rows), ["| 3 |"]);
    let Statement::Use(wrong) = parse("USE demo.sensor").unwrap() else { panic!("no USE") };
    let error = colony.planner.use_(&wrong, &session).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no box Demo.sensor");
    assert_eq!(error.hint().as_deref(), Some("did you mean Demo.Sensors?"));
}

#[tokio::test]
async fn show_and_describe_list_what_is_there() {
    let colony = mixed().await;
    let none = Session::default();
    assert_eq!(shown(&colony, "SHOW HIVES", &none).await, ["| Demo |"]);
    assert_eq!(shown(&colony, "SHOW BOXES", &none).await, ["| Demo | Sensors |"]);
    let frames = ["| Demo | Sensors | People |", "| Demo | Sensors | temperature |"];
    assert_eq!(shown(&colony, "SHOW FRAMES", &none).await, frames);
    assert_eq!(shown(&colony, "SHOW FRAMES IN demo", &none).await, frames);
    assert_eq!(shown(&colony, "SHOW FRAMES IN sensors", &session("demo", "")).await, frames);
    assert_eq!(shown(&colony, "SHOW SETTINGS", &none).await.len(), 5);
    let history = shown(&colony, "SHOW HISTORY sensors.People LIMIT 2", &session("demo", "")).await;
    assert!(history.len() == 2 && history[0].contains("| create") && history[1].contains("| append"), "{history:?}");
    let nodes = vec![NodeRow { node: "pi-3".to_owned(), ..NodeRow::default() }];
    let rows = ColonyRows { nodes, ..ColonyRows::default() };
    let batch = colony.planner.show(&Show::Nodes, &none, &rows).await.unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 10));
    let name = FrameRef(vec!["TEMPERATURE".to_owned()]);
    let described = colony.planner.describe(&name, &session("demo", "sensors")).await.unwrap();
    assert_eq!(
        lines(&[described]),
        ["| hour | Int64 | false | false |", "| region | Utf8 | false | true |", "| temp | Float64 | false | false |"]
    );
}

#[tokio::test]
async fn the_information_schema_lists_hives_as_catalogs() {
    let colony = mixed().await;
    let tables = "SELECT table_catalog, table_schema, table_name FROM information_schema.tables \
                  WHERE table_schema <> 'information_schema'";
    let frames = ["| Demo | Sensors | People |", "| Demo | Sensors | temperature |"];
    assert_eq!(colony.rows(tables).await, frames);
    let columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'People'";
    let expected = ["| Head Count | Int64 |", "| ID | Int64 |", "| Region | Utf8 |"];
    assert_eq!(colony.rows(columns).await, expected);
}
