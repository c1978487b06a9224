//! Cells that are not what was written: the same rows, or an error that names the cell, and never anything else.

use std::sync::Arc;

use apiary_bucket::{Bucket, Key};
use apiary_core::{ErrorKind, Rng, SeededRng};
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use super::kit::{Colony, lines, session};
use crate::Result;

const FLIPS: usize = 500;

type Body = bytes::Bytes;

/// Everything in the bucket.
async fn objects(bucket: &Bucket) -> Vec<(Key, Body)> {
    let mut objects = Vec::new();
    for listed in bucket.list("", None, 1000).await.unwrap() {
        let key = Key::parse(&listed.key).unwrap();
        let body = bucket.get(&key).await.unwrap().unwrap();
        objects.push((key, body));
    }
    objects
}

/// What a colony that never saw these objects before answers.
async fn ask(objects: &[(Key, Body)], broken: usize, body: Body, sql: &str) -> Result<Vec<String>> {
    let bucket = Bucket::in_memory();
    for (i, (key, whole)) in objects.iter().enumerate() {
        let body = if i == broken { body.clone() } else { whole.clone() };
        bucket.put(key, body).await.unwrap();
    }
    let (_, batches) = Colony::over(bucket).ask(sql, &session("demo", "sensors")).await?;
    Ok(lines(&batches))
}

async fn one_cell() -> Colony {
    let colony = Colony::new();
    let hours = 0..400i64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("region", Arc::new(StringArray::from_iter_values(hours.clone().map(|i| format!("region {}", i % 90))))),
        ("hour", Arc::new(Int64Array::from_iter_values(hours.clone()))),
        ("temp", Arc::new(Float64Array::from_iter_values(hours.map(|i| (i as f64).sqrt())))),
    ];
    colony.frame("Demo.Sensors.temperature", &[], &[RecordBatch::try_from_iter(columns).unwrap()]).await;
    colony
}

fn flipped(whole: &Body, rng: &SeededRng) -> Body {
    let mut body = whole.to_vec();
    let at = rng.below(body.len() as u64) as usize;
    body[at] ^= 1 << rng.below(8);
    body.into()
}

struct Corpus {
    objects: Vec<(Key, Body)>,
    broken: usize,
    key: String,
    whole: Body,
}

async fn corpus() -> Corpus {
    let objects = objects(&one_cell().await.bucket).await;
    let broken = objects.iter().position(|(key, _)| key.as_str().ends_with(".parquet")).unwrap();
    let (key, whole) = objects[broken].clone();
    Corpus { objects, broken, key: key.to_string(), whole }
}

impl Corpus {
    async fn ask(&self, body: Body, sql: &str) -> Result<Vec<String>> {
        ask(&self.objects, self.broken, body, sql).await
    }

    async fn gives_the_same_or_names_the_cell(&self, body: Body, sql: &str, expected: &[String]) -> bool {
        match self.ask(body, sql).await {
            Ok(rows) => {
                assert_eq!(rows, expected, "{sql}");
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains(&self.key), "{error}");
                true
            }
        }
    }
}

const ALL: &str = "SELECT * FROM temperature";
const SOME: &str = "SELECT region, sum(temp) FROM temperature WHERE hour < 300 GROUP BY region";

#[tokio::test]
async fn a_flipped_bit_in_a_cell_gives_the_same_rows_or_an_error_that_names_it() {
    let corpus = corpus().await;
    let rng = SeededRng::new(11);
    let mut named = 0;
    let expected = [
        (ALL, corpus.ask(corpus.whole.clone(), ALL).await.unwrap()),
        (SOME, corpus.ask(corpus.whole.clone(), SOME).await.unwrap()),
    ];
    for i in 0..FLIPS {
        let (sql, expected) = &expected[i % 2];
        let body = flipped(&corpus.whole, &rng);
        named += usize::from(corpus.gives_the_same_or_names_the_cell(body, sql, expected).await);
    }
    assert!(named > FLIPS * 9 / 10, "{named} of {FLIPS}: in a cell this small nearly all is read");
}

#[tokio::test]
async fn a_cell_that_ends_early_is_an_error_that_names_it() {
    let corpus = corpus().await;
    let expected = corpus.ask(corpus.whole.clone(), SOME).await.unwrap();
    for end in (0..corpus.whole.len()).step_by(64) {
        let body = corpus.whole.slice(..end);
        assert!(corpus.gives_the_same_or_names_the_cell(body, SOME, &expected).await, "{end} bytes");
    }
}

/// What the test above would find if nothing were checked: a cell whose sums are not recognised.
#[tokio::test]
async fn without_sums_a_flipped_bit_gives_wrong_rows() {
    let mut corpus = corpus().await;
    let mark = corpus.whole.windows(6).position(|bytes| bytes == b"APSUMS").unwrap();
    let mut plain = corpus.whole.to_vec();
    plain[mark..mark + 6].fill(0);
    corpus.whole = plain.into();
    let expected = corpus.ask(corpus.whole.clone(), ALL).await.unwrap();
    let rng = SeededRng::new(11);
    let mut wrong = 0;
    for _ in 0..100 {
        wrong += usize::from(corpus.ask(flipped(&corpus.whole, &rng), ALL).await.is_ok_and(|rows| rows != expected));
    }
    assert!(wrong > 10, "{wrong} of 100");
    println!("{wrong} of 100 flipped bits give wrong rows without sums");
}
