"""TPC-H through real processes, against DuckDB on the same files: on the board, with a worker killed, over S3."""

from __future__ import annotations

import contextlib
import glob
import threading
import time
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import duckdb
import pytest
from apiary import Apiary

from colony import Colony, Node, colony, s3_server
from rows import assert_same_rows
from tpch import TABLES, import_tpch

QUERIES = {int(file.stem[1:]): file.read_text() for file in sorted((Path(__file__).parents[1] / "tpch").glob("q*.sql"))}
# Those whose stages are wide enough that several workers must have taken part.
BOARD = [1, 3, 5, 6, 10, 12, 18]
# How often a query is asked again until a certain worker has had a part in it.
TRIES_MAX = 5


@pytest.fixture(scope="module")
def answers(tpch_files: Path) -> dict[int, list[tuple]]:
    """What DuckDB says."""
    duck = duckdb.connect()
    for table in TABLES:
        duck.execute(f"CREATE VIEW {table} AS SELECT * FROM '{tpch_files / table}.parquet'")
    return {number: duck.execute(sql).fetchall() for number, sql in QUERIES.items()}


def run(ap: Apiary, number: int, answers: dict[int, list[tuple]]) -> object:
    result = ap.sql(QUERIES[number])
    assert_same_rows(result.fetchall(), answers[number], f"q{number}")
    return result.stats


def run_by_several(ap: Apiary, number: int, answers: dict[int, list[tuple]]) -> None:
    """On the board, with tasks done by two workers or more. Workers pull, so one that wakes first may take all of a
    small query; then it is asked again, and the rows are judged each time."""
    for _ in range(TRIES_MAX):
        stats = run(ap, number, answers)
        assert stats.execution == "board", f"q{number}: {stats}"
        if stats.nodes >= 2 or number not in BOARD:
            return
    raise AssertionError(f"q{number} was done by one worker alone each time: {stats}")


def session(it: Colony, execution: str, partitions: str = "6") -> Apiary:
    """A session whose stages have one task for each of six partitions; by default tasks follow the bytes, and these
    frames are small."""
    ap = Apiary.connect(it.url)
    ap.sql("USE tpch.main")
    ap.sql(f"SET execution = {execution}")
    ap.sql(f"SET target_partitions = {partitions}")
    return ap


def test_there_are_22_queries() -> None:
    assert sorted(QUERIES) == list(range(1, 23))


def test_the_local_way_gives_the_rows_of_duckdb(tpch_bucket: str, tmp_path: Path, answers: dict) -> None:
    with Apiary("tpch", storage=tpch_bucket) as ap:
        ap.sql("USE tpch.main")
        ap.sql("SET execution = local")
        for number in QUERIES:
            assert run(ap, number, answers).execution == "local"


@pytest.fixture(scope="module")
def three_workers(tpch_bucket: str, tmp_path_factory: pytest.TempPathFactory):
    with colony(tpch_bucket, tmp_path_factory.mktemp("colony")) as it:
        yield it


def test_three_workers_give_the_rows_of_duckdb(three_workers: Colony, answers: dict) -> None:
    with session(three_workers, "board") as ap:
        for number in QUERIES:
            run_by_several(ap, number, answers)


def test_small_stages_are_few_and_give_the_same_rows(three_workers: Colony, answers: dict) -> None:
    with session(three_workers, "board") as fine, session(three_workers, "board", "default") as coarse:
        for number in QUERIES:
            many, few = run(fine, number, answers), run(coarse, number, answers)
            assert few.execution == "board", f"q{number}: {few}"
            assert (few.stages, few.tasks) <= (many.stages, many.tasks), f"q{number}: {few} {many}"
            # Nearly every stage is small enough for one task, and some are done by the one that reads them.
            assert few.tasks <= few.stages + 2, f"q{number}: {few}"


def test_a_worker_killed_with_a_live_claim_changes_no_row(
    tpch_bucket: str, tmp_path: Path, answers: dict
) -> None:
    # Each task waits a little before it says it is done, so that a claim is live when the kill comes.
    slow = {"APIARY_FAILPOINT_TASK_DELAY_MS": "400"}
    with colony(tpch_bucket, tmp_path, env=slow) as it, session(it, "board") as ap:
        for number, victim in zip([3, 12], [it.nodes[1], it.nodes[2]], strict=True):
            for _ in range(TRIES_MAX):
                seen: dict[str, object] = {}

                def query(number: int = number, seen: dict = seen) -> None:
                    try:
                        seen["stats"] = run(ap, number, answers)
                    except BaseException as error:  # noqa: BLE001 - the main thread judges it
                        seen["error"] = error

                runner = threading.Thread(target=query)
                runner.start()
                killed = kill_on_live_claim(it, victim, runner)
                runner.join(180)
                assert "error" not in seen, seen["error"]
                assert "stats" in seen, "the query hangs"
                if killed:
                    break
            assert killed, f"the worker claimed nothing:\n{victim.log.read_text()[-2000:]}"
            assert seen["stats"].retries >= 1, f"the kill hit nothing: {seen['stats']}"


def kill_on_live_claim(it: Colony, victim: Node, runner: threading.Thread) -> bool:
    """Kills the worker while the bucket holds a claim of its own whose task nobody has done; false if it had none, since
    the other two were faster."""
    queries = Path(url2pathname(urlparse(it.storage).path)) / "_queries"
    claims = str(queries / "*/s*/t*.claim")  # glob.glob forgives folders that vanish meanwhile
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and runner.is_alive():
        for claim in map(Path, glob.glob(claims)):
            task = claim.name.split(".")[0]
            with contextlib.suppress(FileNotFoundError):
                if victim.id in claim.read_text() and not (claim.parent / f"{task}.done").exists():
                    victim.kill()
                    assert not (claim.parent / f"{task}.done").exists(), "the task was done before the kill"
                    return True
        time.sleep(0.005)
    return False


def test_the_bucket_alone_is_enough(tpch_bucket: str, tmp_path: Path, answers: dict) -> None:
    # No nudge is heard: whatever a worker learns it finds in the bucket.
    with colony(tpch_bucket, tmp_path, env={"APIARY_FAILPOINT_NO_NUDGES": "1"}) as it, session(it, "board") as ap:
        for number in QUERIES:
            run_by_several(ap, number, answers)


def test_a_worker_of_another_version_leaves_the_work_to_others(
    tpch_files: Path, tmp_path: Path, answers: dict
) -> None:
    # A bucket of its own: the workers of other tests would take the work.
    storage = (tmp_path / "bucket").as_uri()
    import_tpch(tpch_files, "--storage", storage, "--data-dir", str(tmp_path / "importer"))
    with colony(storage, tmp_path, workers=1) as it:
        stranger = it.start("worker", APIARY_FAILPOINT_OTHER_ENGINE="1")
        it.wait(2)
        with session(it, "board") as ap:
            for number in BOARD:
                stats = run(ap, number, answers)
                assert (stats.execution, stats.nodes, stats.retries) == ("board", 1, 0), f"q{number}: {stats}"
        assert "left to others" in stranger.log.read_text()


def test_the_same_rows_over_s3(tpch_files: Path, tmp_path: Path, answers: dict) -> None:
    with s3_server() as (storage, env):
        import_tpch(tpch_files, "--storage", storage, "--data-dir", str(tmp_path / "importer"), env=env)
        with colony(storage, tmp_path, env=env) as it, session(it, "board") as ap:
            for number in QUERIES:
                run_by_several(ap, number, answers)
