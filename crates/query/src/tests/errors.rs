//! What a user reads when a name is wrong. Message and hint, word for word.

use apiary_core::ErrorKind;

use super::{kit::session, plans::sensors};
use crate::Session;

#[tokio::test]
async fn wrong_names_are_shown_in_their_place_with_the_right_ones() {
    let colony = sensors().await;
    let (none, in_box) = (Session::default(), session("demo", "sensors"));
    let cases = [
        (
            &none,
            "SELECT * FROM demo.sensors.temprature",
            "there is no frame demo.sensors.temprature\n1 | SELECT * FROM demo.sensors.temprature\n                               ^",
            "did you mean Demo.Sensors.temperature?",
        ),
        (
            &none,
            "SELECT * FROM temperature",
            "there is no frame temperature (main.main.temperature)\n1 | SELECT * FROM temperature\n                  ^",
            "did you mean Demo.Sensors.temperature?",
        ),
        (
            &none,
            "SELECT * FROM sensors.zebra",
            "there is no frame sensors.zebra (main.sensors.zebra)\n1 | SELECT * FROM sensors.zebra\n                          ^",
            "write hive.box.zebra, or USE hive.box first",
        ),
        (
            &in_box,
            "SELECT regoin,\n  temp FROM temperature",
            "there is no column 'regoin'\n1 | SELECT regoin,\n           ^",
            "did you mean 'region'?",
        ),
        (
            &in_box,
            "SELECT t.zzz FROM temperature t",
            "there is no column 't.zzz'\n1 | SELECT t.zzz FROM temperature t\n             ^",
            "the columns are region, hour, temp",
        ),
        (
            &in_box,
            "SELECT x.temp FROM temperature t",
            "there is no column 'x.temp'\n1 | SELECT x.temp FROM temperature t\n             ^",
            "there is no 'x' in FROM; there is t",
        ),
        (
            &in_box,
            "SELECT temp FROM temperature a JOIN temperature b ON a.hour = b.hour",
            "the column 'temp' is in more than one of the frames\n\
             1 | SELECT temp FROM temperature a JOIN temperature b ON a.hour = b.hour\n           ^",
            "write the frame's name or alias before it: x.temp",
        ),
        (
            &in_box,
            "SELECT summ(temp) FROM temperature",
            "there is no function 'summ'\n1 | SELECT summ(temp) FROM temperature\n           ^",
            "did you mean 'sum'?",
        ),
    ];
    for (session, sql, message, hint) in cases {
        let error = colony.error(sql, session).await;
        assert_eq!(error.to_string(), message, "{sql}");
        assert_eq!(error.hint().unwrap_or_default(), hint, "{sql}");
        assert!([ErrorKind::NotFound, ErrorKind::SqlSyntax].contains(&error.kind()), "{sql}: {:?}", error.kind());
    }
}

#[tokio::test]
async fn what_fails_while_running_is_an_sql_error() {
    let colony = sensors().await;
    for sql in ["SELECT 1 / (hour - hour) FROM temperature", "SELECT CAST(region AS INT) FROM temperature"] {
        let error = colony.error(sql, &session("demo", "sensors")).await;
        assert_eq!(error.kind(), ErrorKind::SqlSyntax, "{sql}: {error}");
        let text = error.to_string();
        assert!(!text.contains("DataFusion") && !text.contains("__") && !text.ends_with('.'), "{text}");
    }
}

#[tokio::test]
async fn a_cell_that_is_gone_is_named() {
    let colony = sensors().await;
    let listed = colony.bucket.list("Demo/Sensors/", None, 1000).await.unwrap();
    for cell in listed.iter().filter(|listed| listed.key.ends_with(".parquet")) {
        let key = apiary_bucket::Key::parse(&cell.key).unwrap();
        colony.bucket.delete(&key).await.unwrap();
    }
    let error = colony.error("SELECT sum(temp) FROM temperature", &session("demo", "sensors")).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(".parquet' is gone from the bucket"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("older than vacuum keeps")), "{:?}", error.hint());
}
