//! Commands from one end to the other, over a bucket in a temporary folder and a colony in this process.

use std::path::Path;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    failure::CliError,
    interrupt::Interrupt,
    terminal::Terminal,
};

mod damage;
mod place;

/// What a command said.
struct Said {
    out: String,
    err: String,
    result: Result<(), CliError>,
}

async fn run(home: &Path, line: &[&str]) -> Said {
    run_at(home, &home.join("bucket"), line).await
}

async fn run_at(home: &Path, storage: &Path, line: &[&str]) -> Said {
    run_until(home, storage, line, &Interrupt::default()).await
}

async fn run_until(home: &Path, storage: &Path, line: &[&str], interrupt: &Interrupt) -> Said {
    let data = home.join("node");
    let place = ["--storage", storage.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let place = if line[0] == "doctor" { &place[..2] } else { &place[..] };
    let cli = Cli::try_parse_from(["apiary"].iter().chain(line).chain(place)).unwrap();
    let (terminal, out, err) = Terminal::captured();
    let result = match cli.command {
        Command::Sql(args) => super::sql::run(args, &terminal, interrupt).await,
        Command::Import(args) => super::import::run(args, &terminal, interrupt).await,
        Command::Status(args) => super::status::run(&args, &terminal).await,
        Command::History(args) => super::history::run(&args, &terminal).await,
        Command::Cells(args) => super::cells::run(&args, &terminal).await,
        Command::Compact(args) => super::compact::run(&args, &terminal).await,
        Command::Checkpoint(args) => super::checkpoint::run(&args, &terminal).await,
        Command::Vacuum(args) => super::vacuum::run(&args, &terminal).await,
        Command::Verify(args) => super::verify::run(&args, &terminal).await,
        Command::Doctor(args) => super::doctor::run(&args, &terminal).await,
        Command::Demo(_) | Command::Start(_) | Command::Health(_) => unreachable!(),
    };
    if let Err(error) = &result {
        let _ = error.tell(&terminal);
    }
    Said { out: out.text(), err: err.text(), result }
}

/// Makes the bucket: what only looks makes none.
async fn found(home: &Path) {
    run(home, &["sql", "CREATE HIVE first"]).await.result.unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_stack_size(16 * 1024 * 1024)
        .build()
        .unwrap();
    runtime.block_on(work)
}

#[test]
fn a_file_is_imported_queried_and_compacted() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("readings.csv");
    std::fs::write(&csv, "region,temp\nnorth,1.5\nsouth,20.25\nnorth,2.5\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        found(home.path()).await;
        let missing = run(home.path(), &["import", csv, "--into", "a.b.c"]).await;
        assert_eq!(missing.result.unwrap_err().kind(), apiary_core::ErrorKind::NotFound);
        assert!(missing.err.contains("--create"), "{}", missing.err);

        let made = run(home.path(), &["import", csv, "--into", "a.b.c", "--create", "--partition-by", "region"]).await;
        made.result.unwrap();
        assert!(made.out.contains("3 rows → 2 cells"), "{}", made.out);

        let sql = "USE a.b; SELECT region, sum(temp) AS total FROM c GROUP BY region ORDER BY region";
        let asked = run(home.path(), &["sql", sql]).await;
        asked.result.unwrap();
        assert_eq!(asked.out, "region,total\nnorth,4.0\nsouth,20.25\n");
        assert!(asked.err.contains("2 rows · "), "{}", asked.err);

        let again = run(home.path(), &["import", csv, csv, "--into", "a.b.c"]).await;
        again.result.unwrap();
        assert!(again.out.contains("2 files: 6 rows"), "{}", again.out);
        let merged = run(home.path(), &["compact", "a.b.c"]).await;
        merged.result.unwrap();
        assert!(merged.out.starts_with("a.b.c: 6 cells → "), "{}", merged.out);
    });
}

#[test]
fn mistakes_in_sql_are_told_with_their_place_and_a_suggestion() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        found(home.path()).await;
        let syntax = run(home.path(), &["sql", "SELECT 1 +"]).await;
        assert_eq!(syntax.result.unwrap_err().kind().exit_code(), 1);
        assert!(syntax.err.starts_with("error: "), "{}", syntax.err);
        assert!(syntax.err.contains('^'), "{}", syntax.err);
        let unknown = run(home.path(), &["sql", "SELECT * FROM a.b.c"]).await;
        assert_eq!(unknown.result.unwrap_err().kind(), apiary_core::ErrorKind::NotFound, "{}", unknown.err);
    });
}

#[test]
fn a_damaged_file_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("cut.parquet");
    std::fs::write(&file, b"PAR1 and then the disk was full").unwrap();
    block_on(async {
        let said = run(home.path(), &["import", file.to_str().unwrap(), "--into", "a.b.c", "--create"]).await;
        said.result.unwrap_err();
        assert!(said.err.contains("cut.parquet"), "{}", said.err);
        let hives = run(home.path(), &["sql", "--quiet", "SHOW HIVES", "--format", "jsonl"]).await;
        hives.result.unwrap();
        assert_eq!(hives.out, "");
    });
}

#[test]
fn rows_go_to_a_file_in_the_format_of_its_name() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("out.json");
    block_on(async {
        found(home.path()).await;
        let said = run(home.path(), &["sql", "SELECT 1 AS n, NULL AS t", "-o", file.to_str().unwrap()]).await;
        said.result.unwrap();
        assert_eq!(said.out, "");
    });
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.trim(), r#"[{"n":1,"t":null}]"#);
}

#[test]
fn ctrl_c_stops_a_long_query() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        found(home.path()).await;
        let interrupt = Interrupt::default();
        let pressing = interrupt.clone();
        let endless = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                       WHERE (a.value + b.value) % 7 = 1";
        let press = async {
            tokio::time::timeout(std::time::Duration::from_secs(4), std::future::pending::<()>()).await.unwrap_err();
            pressing.press();
        };
        let line = ["sql", endless, "--set", "execution=local"];
        let bucket = home.path().join("bucket");
        let (said, ()) = tokio::join!(run_until(home.path(), &bucket, &line, &interrupt), press);
        assert!(matches!(said.result, Err(CliError::Interrupted)), "{}{}", said.out, said.err);
    });
}

#[test]
fn the_status_of_a_colony_of_one() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        found(home.path()).await;
        let said = run(home.path(), &["status", "--format", "json"]).await;
        said.result.unwrap();
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(status["nodes"].as_array().unwrap().len(), 1, "{}", said.out);
    });
}

#[test]
fn a_frame_tells_its_history_and_its_cells_and_damage_is_found() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("readings.csv");
    std::fs::write(&csv, "region,temp\nnorth,1.5\nsouth,20.25\nnorth,2.5\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        let create = ["import", csv, csv, "--into", "a.b.c", "--create", "--partition-by", "region"];
        run(home.path(), &create).await.result.unwrap();
        run(home.path(), &["compact", "a.b.c"]).await.result.unwrap();

        let history = run(home.path(), &["history", "a.b.c", "--format", "json"]).await;
        history.result.unwrap();
        let told: serde_json::Value = serde_json::from_str(&history.out).unwrap();
        let operations: Vec<_> =
            told["entries"].as_array().unwrap().iter().map(|e| e["operation"].as_str().unwrap()).collect();
        assert_eq!(operations, ["compaction", "compaction", "append", "append", "create"]);
        let table = run(home.path(), &["history", "a.b.c", "--limit", "1"]).await;
        assert!(table.out.contains("compaction") && table.out.contains("-2"), "{}", table.out);

        let cells = run(home.path(), &["cells", "a.b.c"]).await;
        cells.result.unwrap();
        assert!(cells.out.contains("region=north") && cells.out.contains("temp 1.5…2.5"), "{}", cells.out);
        assert!(cells.err.contains("version 4 · 2 cells · 6 rows"), "{}", cells.err);
        let cells = run(home.path(), &["cells", "a.b.c", "--format", "json"]).await;
        let cells: serde_json::Value = serde_json::from_str(&cells.out).unwrap();
        let path = cells["cells"][0]["path"].as_str().unwrap().to_owned();

        let whole = run(home.path(), &["verify", "--deep"]).await;
        whole.result.unwrap();
        assert!(whole.out.starts_with("registry: ok · version 2 · 3 entries\na.b.c: ok · version 4"), "{}", whole.out);
        assert!(whole.out.contains("2 opened · 4 cells of older versions"), "{}", whole.out);

        damage(&home.path().join("bucket"), &path);
        assert_eq!(run(home.path(), &["verify"]).await.result.map_err(|e| e.kind()), Ok(()), "only --deep opens cells");
        let damaged = run(home.path(), &["verify", "a.b.c", "--deep"]).await;
        assert_eq!(damaged.result.unwrap_err().kind().exit_code(), 1);
        assert!(damaged.out.contains(&path) && damaged.out.contains("checksum"), "{}", damaged.out);
        assert!(damaged.err.contains("a.b.c is damaged: 1 problem"), "{}", damaged.err);
    });
}

#[test]
fn a_vacuum_lists_before_it_deletes_and_never_takes_what_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("n.csv");
    std::fs::write(&csv, "n\n1\n2\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        run(home.path(), &["import", csv, "--into", "a.b.c", "--create"]).await.result.unwrap();
        run(home.path(), &["import", csv, "--into", "a.b.c"]).await.result.unwrap();
        run(home.path(), &["compact", "a.b.c"]).await.result.unwrap();
        let early = run(home.path(), &["vacuum", "a.b.c"]).await;
        assert!(early.out.starts_with("a.b.c: nothing to delete · 2 stay"), "{}", early.out);
        assert!(early.out.contains("stays: written within retention"), "{}", early.out);

        let hasty = run(home.path(), &["vacuum", "a.b.c", "--retain", "5min", "--run"]).await;
        assert_eq!(hasty.result.unwrap_err().kind(), apiary_core::ErrorKind::InvalidInput);
        assert!(hasty.err.contains("less than an hour") && hasty.err.contains("force"), "{}", hasty.err);

        let forced = ["vacuum", "a.b.c", "--retain", "0s", "--force"];
        let told = run(home.path(), &forced).await;
        assert!(told.out.starts_with("a.b.c: 2 files would go"), "{}", told.out);
        assert!(told.out.contains("removed by version 3"), "{}", told.out);
        assert!(told.err.contains("nothing was deleted; --run deletes"), "{}", told.err);
        let done = run(home.path(), &[&forced[..], &["--run", "--format", "json"]].concat()).await;
        done.result.unwrap();
        let done: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&done[0]["deleted_files"], &done[0]["opened_version"]), (&2.into(), &4.into()));
        assert_eq!(done[0]["files"][0]["code"], "removed");

        let all = run(home.path(), &["vacuum", "--run"]).await;
        all.result.unwrap();
        assert!(all.out.contains("a.b.c: nothing to delete · 1 cell in version 5"), "{}", all.out);
        assert!(all.out.contains("rest of the bucket: nothing to delete"), "{}", all.out);
        let rows = run(home.path(), &["sql", "SELECT count(*), sum(n) FROM a.b.c", "--format", "csv"]).await;
        assert!(rows.out.ends_with("4,6\n"), "{}", rows.out);
        run(home.path(), &["verify", "--deep"]).await.result.unwrap();
    });
}

/// Flips a byte in the middle of the object that ends in `path`.
fn damage(bucket: &Path, path: &str) {
    let frames = std::fs::read_dir(bucket.join("a/b")).unwrap();
    let file = frames.map(|frame| frame.unwrap().path().join(path)).find(|file| file.exists()).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
}

#[test]
fn an_import_can_replace_what_is_there_and_a_checkpoint_is_written_once() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("readings.csv");
    std::fs::write(&csv, "region,temp\nnorth,1.5\nsouth,20.25\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        run(home.path(), &["import", csv, "--into", "a.b.c", "--create"]).await.result.unwrap();
        let two = run(home.path(), &["import", csv, csv, "--into", "a.b.c", "--overwrite"]).await;
        assert_eq!(two.result.unwrap_err().kind().exit_code(), 2);
        run(home.path(), &["import", csv, "--into", "a.b.c", "--overwrite"]).await.result.unwrap();
        let asked = run(home.path(), &["sql", "SELECT count(*) AS n FROM a.b.c"]).await;
        assert_eq!(asked.out, "n\n2\n");
        let first = run(home.path(), &["checkpoint", "a.b.c"]).await;
        first.result.unwrap();
        assert!(first.out.starts_with("a.b.c: checkpoint of version 2 written · 1 cell"), "{}", first.out);
        let again = run(home.path(), &["checkpoint", "a.b.c", "--clean-log"]).await;
        assert!(again.out.contains("was there already") && again.err.contains("nothing cleaned"), "{}", again.err);
    });
}

#[test]
fn an_import_that_is_stopped_before_anything_was_written_takes_its_frame_back() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("n.csv");
    std::fs::write(&csv, "n\n1\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        found(home.path()).await;
        let interrupt = Interrupt::default();
        let pressing = interrupt.clone();
        let bucket = home.path().join("bucket");
        let made = bucket.join("a/b");
        // Pressed as soon as the frame is there: before its rows are, or a moment after.
        let press = async {
            while !made.exists() {
                tokio::task::yield_now().await;
            }
            pressing.press();
        };
        let line = ["import", csv, "--into", "a.b.c", "--create"];
        let (said, ()) = tokio::join!(run_until(home.path(), &bucket, &line, &interrupt), press);
        let frames = run(home.path(), &["sql", "SHOW FRAMES IN a.b", "--format", "jsonl"]).await;
        match said.result {
            Err(CliError::Interrupted) => {
                assert_eq!(frames.out, "", "{}", said.err);
                assert!(said.err.contains("dropped a.b.c, which is empty"), "{}", said.err);
            }
            other => assert!(frames.out.contains("\"c\""), "{other:?} {} {}", said.err, frames.out),
        }
    });
}

#[test]
fn care_tells_programs_what_it_did_and_people_that_there_was_nothing_to_do() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("n.csv");
    std::fs::write(&csv, "n;m\n1;2\n").unwrap();
    let csv = csv.to_str().unwrap();
    block_on(async {
        let line = ["import", csv, "--into", "t", "--create", "--delimiter", ";"];
        run(home.path(), &line).await.result.unwrap();
        let idle = run(home.path(), &["compact", "main.t"]).await;
        assert_eq!(idle.out, "main.main.t: nothing to merge · 1 cell · version 1\n");
        let told = run(home.path(), &["compact", "t", "--format", "json"]).await;
        let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!((&told["frame"], &told["cells_after"]), (&"main.main.t".into(), &1.into()));
        let told = run(home.path(), &["checkpoint", "t", "--format", "json"]).await;
        let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!((&told["written"], &told["version"]), (&true.into(), &1.into()));
        let two = run(home.path(), &["sql", "SELECT n FROM t; SELECT m FROM t", "--format", "json"]).await;
        assert_eq!(two.out, "[{\"n\":1}]\n[{\"m\":2}]\n", "one array a statement");
    });
}

#[test]
fn a_cell_that_is_cut_is_told_in_plain_words_and_once() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("n.csv");
    std::fs::write(&csv, "n\n1\n2\n").unwrap();
    block_on(async {
        let line = ["import", csv.to_str().unwrap(), "--into", "a.b.c", "--create"];
        run(home.path(), &line).await.result.unwrap();
        let cells = run(home.path(), &["cells", "a.b.c", "--format", "json"]).await;
        let cells: serde_json::Value = serde_json::from_str(&cells.out).unwrap();
        let path = cells["cells"][0]["path"].as_str().unwrap().to_owned();
        let frame = std::fs::read_dir(home.path().join("bucket/a/b")).unwrap().next().unwrap().unwrap().path();
        let body = std::fs::read(frame.join(&path)).unwrap();
        std::fs::remove_file(frame.join(&path)).unwrap();
        std::fs::write(frame.join(&path), &body[..body.len() / 2]).unwrap();
        let asked = run(home.path(), &["sql", "SELECT * FROM a.b.c"]).await;
        let cut = format!("is cut short: it has {} of at least {} bytes", body.len() / 2, body.len());
        assert!(asked.err.contains(&path) && asked.err.contains(&cut), "{}", asked.err);
        assert!(
            asked.err.contains("restore it") && !asked.err.to_lowercase().contains("parquet error"),
            "{}",
            asked.err
        );
        let verified = run(home.path(), &["verify", "--deep"]).await;
        assert!(verified.err.contains("is damaged: 1 problem"), "{}{}", verified.out, verified.err);
        assert!(verified.out.contains("it is cut short: it has"), "{}", verified.out);
    });
}

#[test]
fn a_row_that_cannot_be_written_is_named_with_its_file() {
    let home = tempfile::tempdir().unwrap();
    let csv = home.path().join("regions.csv");
    std::fs::write(&csv, "region,n\nnorth,1\n,2\n").unwrap();
    block_on(async {
        let line = ["import", csv.to_str().unwrap(), "--into", "t", "--create", "--partition-by", "region"];
        let said = run(home.path(), &line).await;
        assert!(said.err.contains("regions.csv: partition column 'region' has "), "{}", said.err);
        assert!(said.err.contains("in row 2"), "{}", said.err);
    });
}

/// 2: the line itself cannot be followed, whatever is in the bucket. 1: it was tried. `docs/operating.md` says so.
#[test]
fn exit_codes_follow_one_rule() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        found(home.path()).await;
        let table: &[(&[&str], u8)] = &[
            (&["sql", "SELECT 1 +"], 1),
            (&["sql", "SELECT * FROM nowhere"], 1),
            (&["sql", "DROP HIVE nowhere"], 1),
            (&["sql", "SET nonsense = 1"], 1),
            (&["sql", ";"], 2),
            (&["sql", "SELECT 1", "--use", "a.b.c"], 2),
            (&["history", "a.b.c"], 1),
            (&["import", "nowhere.csv", "--into", "t"], 1),
            (&["vacuum", "--retain", "1s"], 2),
        ];
        for (line, code) in table {
            let said = run(home.path(), line).await;
            assert_eq!(said.result.unwrap_err().kind().exit_code(), *code, "{line:?}: {}", said.err);
        }
        let far = run_at(home.path(), Path::new("ftp://host/x"), &["sql", "SELECT 1"]).await;
        assert_eq!(far.result.unwrap_err().kind().exit_code(), 2, "{}", far.err);
    });
}
