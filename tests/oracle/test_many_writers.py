"""Processes that write one frame at once, in every kind of way, while others read it: each reader sees one whole version,
and in the end everything that was acknowledged is there once."""

from __future__ import annotations

import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import apiary
import pytest
from apiary import Apiary

from kill import Bucket, is_unknown

APPENDS = 500
CLIENTS = 8
# Past 1 024, where the ledger's second epoch begins.
MIXED_VERSIONS = 1_050
MIXED_SECONDS_MAX = 120.0
# Readers must have read before, between and after these versions.
MILESTONES = [100, 200, 1_000]
# Readers and care wait for so many versions between two turns, so that writers get most of the machine.
READ_EVERY = 8
CARE_EVERY = 16
GENERATION_ROWS = 12
PARTS = ["p0", "p1", "p2"]
CHORES = ["compact", "checkpoint", "vacuum"]

Answer = TypeVar("Answer")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    it = Bucket((tmp_path / "bucket").as_uri(), tmp_path)
    try:
        yield it
    finally:
        it.colony.stop()


def tried(work: Callable[[], Answer], patience: int = 50) -> Answer:
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


def vacuumed(frame: apiary.Frame, retain: timedelta) -> int:
    """Files that went."""
    report = frame.vacuum(run=True, retain=retain, force=True)
    assert report.refused is None, report
    return report.deleted_files


class Mix:
    """One frame that two processes do everything to at once, until it has so many versions."""

    def __init__(self, aps: list[Apiary]) -> None:
        schema = {"part": "string", "gen": "string", "x": "int64"}
        self.aps = aps
        self.frames = [ap.create_hive("many").create_box("b").create_frame("mix", schema, "part") for ap in aps]
        self.newest = 0
        self.done: list[str] = []
        self.appended = ["first"]
        self.read_at: list[int] = []
        self.failed = threading.Event()
        for part in PARTS:
            self.frames[0].write(generation(part, "first"))
        self.frames[0].write([{"part": "log", "gen": "first", "x": 0}])
        self.end = time.monotonic() + MIXED_SECONDS_MAX

    def run(self) -> None:
        jobs = [
            *(("append", 0, lambda n, of=of, by=by: self.append(of, by, n)) for of in (0, 1) for by in "ab"),
            *(("overwrite", 0, lambda n, of=of, by=by: self.overwrite(of, by, n)) for of in (0, 1) for by in "ab"),
            *(("read", READ_EVERY, lambda n, ap=ap: self.read(ap)) for ap in self.aps),
            *(("care", CARE_EVERY, lambda n, of=of: self.care(of, n)) for of in (0, 1)),
        ]
        with ThreadPoolExecutor(len(jobs)) as pool:
            for running in [pool.submit(self.loop, *job) for job in jobs]:
                running.result(MIXED_SECONDS_MAX + 60)

    def loop(self, kind: str, every: int, work: Callable[[int], object]) -> None:
        n = turn = 0
        try:
            while self.newest < MIXED_VERSIONS and time.monotonic() < self.end and not self.failed.is_set():
                if self.newest < turn:
                    time.sleep(0.01)
                    continue
                turn = self.newest + every
                try:
                    work(n)
                    self.done.append(kind)
                except apiary.ApiaryError as error:
                    assert is_unknown(error), f"{kind}: {error!r}"
                    self.done.append(f"{kind} in vain")
                n += 1
        except BaseException:
            self.failed.set()
            raise

    def append(self, of: int, by: str, n: int) -> None:
        # Now and then two ask for the same under one key.
        name = f"{of}-{n}" if n % 8 == 0 else f"{of}{by}-{n}"
        written = tried(lambda: self.frames[of].write([{"part": "log", "gen": name, "x": 0}], idempotency_key=name))
        self.appended.append(name)
        self.newest = max(self.newest, written.version)

    def overwrite(self, of: int, by: str, n: int) -> None:
        part, name = PARTS[(n + of) % len(PARTS)], f"o{of}{by}-{n}"
        rows, parts = generation(part, name), [{"part": part}]
        written = self.frames[of].overwrite(rows, partitions=parts, idempotency_key=name)
        self.newest = max(self.newest, written.version)

    def read(self, ap: Apiary) -> None:
        newest = self.newest
        sql = "SELECT part, count(*) AS n, sum(x) AS total, count(DISTINCT gen) AS gens FROM many.b.mix GROUP BY part"
        seen = {part: (n, total, gens) for part, n, total, gens in ap.sql(sql).fetchall()}
        for part in PARTS:
            assert seen[part] == (GENERATION_ROWS, 100 * GENERATION_ROWS, 1), f"{part} is torn: {seen}"
        assert seen["log"][0] == seen["log"][2], f"doubled rows: {seen}"
        self.read_at.append(newest)

    def care(self, of: int, n: int) -> None:
        frame = self.frames[of]
        chore = CHORES[(n + of) % len(CHORES)]
        if chore == "compact":
            frame.compact()
        elif chore == "checkpoint":
            frame.checkpoint()
        else:
            vacuumed(frame, timedelta(seconds=5))
        self.done.append(f"{chore} {of}")


def test_writers_of_every_kind_and_care_beside_readers_past_the_first_epoch(bucket: Bucket) -> None:
    aps = [bucket.start("coordinator,compactor")[1] for _ in range(2)]
    mix = Mix(aps)
    mix.run()
    done, version = Counter(mix.done), mix.frames[0].describe().version
    assert version >= MIXED_VERSIONS, f"only version {version} after {MIXED_SECONDS_MAX:.0f} s; it did {dict(done)}"
    wanted = {"append", "overwrite", "read", *(f"{chore} {of}" for chore in CHORES for of in (0, 1))}
    assert wanted <= set(done), f"something never happened: {wanted - set(done)}"
    # Both at once, of all that is not current; and then one who has never seen the frame.
    assert tried(mix.frames[1].checkpoint).version >= version
    with ThreadPoolExecutor(2) as pool:
        went = list(pool.map(lambda frame: tried(lambda: vacuumed(frame, timedelta(0))), mix.frames))
    assert any(went), "the vacuums found nothing to delete"
    _, third = bucket.start("coordinator")
    for ap in (*aps, third):
        mix.read(ap)
        found = [gen for (gen,) in ap.sql("SELECT gen FROM many.b.mix WHERE part = 'log'").fetchall()]
        assert sorted(found) == sorted(set(mix.appended)), "an append was lost or doubled"
    assert {bisect(MILESTONES, at) for at in mix.read_at} == set(range(len(MILESTONES) + 1)), "too few reads"
    history = mix.frames[0].history(10_000)
    assert [entry.version for entry in reversed(history)] == list(range(history[0].version + 1))
    assert {"append", "overwrite", "compaction"} <= {entry.operation for entry in history}
    assert all(report.ok for report in aps[0].verify(deep=True))
    for ap in (*aps, third):
        ap.stop()
