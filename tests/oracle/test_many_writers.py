"""Processes that write one frame at once, in every kind of way, while others read it: each reader sees one whole version,
and in the end everything that was acknowledged is there once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import apiary
import pytest
from apiary import Apiary

from kill import Bucket, is_unknown

APPENDS = 500
CLIENTS = 8
MIXED_SECONDS = 8.0
GENERATION_ROWS = 12


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    it = Bucket((tmp_path / "bucket").as_uri(), tmp_path)
    try:
        yield it
    finally:
        it.colony.stop()


def tried(work: Callable[[], apiary.WriteResult], patience: int = 50) -> apiary.WriteResult:
    """Asks again as long as the answer says that this can help."""
    for _ in range(patience):
        try:
            return work()
        except apiary.ApiaryError as error:
            if not is_unknown(error):
                raise
            time.sleep(0.02)
    return work()


def test_two_processes_of_500_appends_each_lose_and_double_nothing(bucket: Bucket) -> None:
    nodes = [bucket.start("coordinator") for _ in range(2)]
    frames = [ap.create_hive("many").create_box("b").create_frame("t", {"id": "int64"}) for _, ap in nodes]
    versions: list[int] = []
    counts: list[int] = []
    done = threading.Event()

    def append(n: int) -> None:
        written = tried(lambda: frames[n % 2].write([{"id": n}], idempotency_key=f"a{n}"))
        versions.append(written.version)

    def read() -> None:
        with Apiary.connect(f"grpc://127.0.0.1:{nodes[0][0].port}") as reader:
            while not done.is_set():
                sql = "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM many.b.t"
                [(n, ids)] = reader.sql(sql).fetchall()
                assert n == ids, f"{n} rows, {ids} of them different"
                counts.append(n)

    with ThreadPoolExecutor(2 * CLIENTS + 1) as pool:
        reading = pool.submit(read)
        list(pool.map(append, range(2 * APPENDS)))
        done.set()
        reading.result(60)
    assert counts == sorted(counts), "a reader saw rows disappear"
    for _, ap in nodes:
        ids = [n for (n,) in ap.sql("SELECT id FROM many.b.t ORDER BY id").fetchall()]
        assert ids == list(range(2 * APPENDS))
    newest = frames[0].describe().version
    assert max(versions) == newest and len(set(versions)) == newest, "an acknowledgement names a version that is not"
    told = frames[0].history(limit=10_000)
    assert sum(entry.transactions for entry in told if entry.operation == "append") == 2 * APPENDS
    assert {entry.node for entry in told if entry.operation == "append"} > {told[0].node}, "one process did it all"
    for _, ap in nodes:
        ap.stop()


def generation(part: str, name: str) -> list[dict]:
    """Rows that only make sense together: their sum is always the same."""
    half = GENERATION_ROWS // 2
    return [{"part": part, "gen": name, "x": 100 + i if i < half else 100 - (i - half)} for i in range(GENERATION_ROWS)]


def test_writers_of_every_kind_and_care_beside_readers(bucket: Bucket) -> None:
    schema = {"part": "string", "gen": "string", "x": "int64"}
    _, first = bucket.start("coordinator,compactor")
    _, second = bucket.start("coordinator")
    frames = [ap.create_hive("many").create_box("b").create_frame("mix", schema, "part") for ap in (first, second)]
    parts = ["p0", "p1"]
    for part in parts:
        frames[0].write(generation(part, "first"))
    frames[0].write([{"part": "log", "gen": "first", "x": 0}])
    appended: list[str] = ["first"]
    kinds: dict[str, int] = {}
    end = time.monotonic() + MIXED_SECONDS

    def loop(kind: str, work: Callable[[int], object]) -> None:
        n = 0
        while time.monotonic() < end:
            try:
                work(n)
                kinds[kind] = kinds.get(kind, 0) + 1
            except apiary.ApiaryError as error:
                assert is_unknown(error), f"{kind}: {error!r}"
            n += 1

    def append(of: int, n: int) -> None:
        name = f"{of}-{n}"
        tried(lambda: frames[of].write([{"part": "log", "gen": name, "x": 0}], idempotency_key=name))
        appended.append(name)

    def overwrite(of: int, n: int) -> None:
        part, name = parts[n % 2], f"o{of}-{n}"
        frames[of].overwrite(generation(part, name), partitions=[{"part": part}], idempotency_key=name)

    def read(ap: Apiary, _: int) -> None:
        sql = "SELECT part, count(*) AS n, sum(x) AS total, count(DISTINCT gen) AS gens FROM many.b.mix GROUP BY part"
        seen = {part: (n, total, gens) for part, n, total, gens in ap.sql(sql).fetchall()}
        for part in parts:
            assert seen[part] == (GENERATION_ROWS, 100 * GENERATION_ROWS, 1), f"{part} is torn: {seen}"
        assert seen["log"][0] == seen["log"][2], f"doubled rows: {seen}"

    def care(n: int) -> None:
        frame = frames[0]
        [frame.compact, frame.checkpoint, lambda: frame.vacuum(run=True, retain=timedelta(seconds=5), force=True)][n % 3]()

    jobs = [
        *(("append", lambda n, of=of: append(of, n)) for of in (0, 1) for _ in range(2)),
        *(("overwrite", lambda n, of=of: overwrite(of, n)) for of in (0, 1)),
        *(("read", lambda n, ap=ap: read(ap, n)) for ap in (first, second)),
        ("care", care),
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for running in [pool.submit(loop, kind, work) for kind, work in jobs]:
            running.result(MIXED_SECONDS + 120)
    assert {"append", "overwrite", "read", "care"} <= set(kinds), f"something never happened: {kinds}"
    found = [gen for (gen,) in second.sql("SELECT gen FROM many.b.mix WHERE part = 'log'").fetchall()]
    assert sorted(found) == sorted(set(appended)), "an append was lost or doubled"
    read(first, 0)
    assert {"append", "overwrite", "compaction"} <= {entry.operation for entry in frames[0].history(10_000)}
    assert all(report.ok for report in first.verify(deep=True))
    for ap in (first, second):
        ap.stop()
