"""A log that was cleaned, as everyone else sees it: other engines, a process that dies half way, one that sleeps
through all of it. A cleanup stands still for two minutes before its first delete; both of them do so at once."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import apiary
import deltalake
import polars as pl
from apiary import Apiary

from colony import Colony, Node
from kill import connect, died_at, is_unknown

SCHEMA = {"x": "int64", "name": "string"}
# The sleeper's slots are cleaned away; an epoch has 1 024 versions.
SLEEPS_AT, CHECKPOINT, NEWEST = 60, 1_030, 1_036
DAY = 86_400


def frame_of(ap: Apiary) -> apiary.Frame:
    return ap.create_hive("clean").create_box("b").create_frame("t", SCHEMA)


def grow(frame: apiary.Frame, first: int, last: int) -> None:
    """Version n holds the rows 1 to n."""
    for n in range(first, last + 1):
        assert frame.write([{"x": n, "name": f"n{n}"}]).version == n


def age(folder: Path, days: float) -> None:
    """Everything below a folder was written so many days ago, as far as the store knows."""
    then = time.time() - days * DAY
    for file in folder.rglob("*"):
        os.utime(file, (then, then))


def readers_see(table: Path, version: int) -> None:
    """Both engines find the rows of that version, each once."""
    wanted = list(range(1, version + 1))
    theirs = deltalake.DeltaTable(str(table), version=version).to_pyarrow_table().column("x").to_pylist()
    assert sorted(theirs) == wanted, f"deltalake, version {version}"
    assert sorted(pl.read_delta(str(table), version=version)["x"]) == wanted, f"polars, version {version}"


def entry(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020}.json"


def dies_in_cleanup(storage: str, folder: Path, deaths: list[str]) -> None:
    colony = Colony(storage, folder)
    # First the old checkpoints' checksums go, then they, then a thousand entries.
    node = colony.start("coordinator,compactor", APIARY_FAILPOINT="mid_cleanup:3")
    ap = connect(node)
    try:
        frame_of(ap).checkpoint(clean_older_than=timedelta(days=7))
    except apiary.ApiaryError as error:
        assert is_unknown(error), repr(error)
    ap.stop()
    deaths.append(died_at(node))
    colony.stop()


def woken(sleeper: Node, ap: Apiary) -> int:
    """A write of one who slept through the cleanup, asked for until it is answered."""
    sleeper.process.send_signal(signal.SIGCONT)
    frame = ap.frame("clean.b.t")
    for _ in range(20):
        try:
            return frame.write([{"x": NEWEST + 1, "name": "woken"}], idempotency_key="woken").version
        except apiary.ApiaryError as error:
            assert is_unknown(error), repr(error)
    raise AssertionError("a sleeper that woke never writes again")


def test_other_engines_the_dead_and_the_sleeping_see_a_cleaned_log_right(tmp_path: Path) -> None:
    bucket, copy = tmp_path / "bucket", tmp_path / "copy"
    for name in ("sleeper", "node", "dying"):
        (tmp_path / name).mkdir()
    asleep, awake = Colony(bucket.as_uri(), tmp_path / "sleeper"), Colony(bucket.as_uri(), tmp_path / "node")
    sleeper = asleep.start("coordinator")
    slept = connect(sleeper)
    grow(frame_of(slept), 1, SLEEPS_AT)
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        node = awake.start("coordinator,compactor")
        ap = connect(node)
        frame = frame_of(ap)
        for first, last in ((SLEEPS_AT + 1, 500), (501, CHECKPOINT)):
            grow(frame, first, last)
            frame.checkpoint()
        grow(frame, CHECKPOINT + 1, NEWEST)
        table = bucket / frame.describe().folder
        for version in (SLEEPS_AT, CHECKPOINT - 1, CHECKPOINT, CHECKPOINT + 3, NEWEST):
            readers_see(table, version)

        age(table, 30)
        shutil.copytree(bucket, copy)
        deaths: list[str] = []
        dying = threading.Thread(target=dies_in_cleanup, args=(copy.as_uri(), tmp_path / "dying", deaths))
        dying.start()
        done = frame.checkpoint(clean_older_than=timedelta(days=7))
        dying.join(120)

        assert deaths == ["mid_cleanup"], "the failpoint was never seen to fire"
        assert done.cleaned_below is not None and CHECKPOINT <= done.cleaned_below <= NEWEST, done
        for place in (table, copy / table.relative_to(bucket)):
            assert not entry(place, SLEEPS_AT + 1).exists() and entry(place, NEWEST).exists()
            for version in range(done.cleaned_below, NEWEST + 1):
                readers_see(place, version)
        left = [entry(copy / table.relative_to(bucket), version).exists() for version in range(1_024)]
        assert 0 < sum(left) < 1_024, "the cleanup that died was done, or had not begun"
        with Apiary("after", storage=copy.as_uri()) as after:
            assert after.sql("SELECT count(*), count(DISTINCT x) FROM clean.b.t").fetchall() == [(NEWEST, NEWEST)]
            assert all(report.ok for report in after.verify(deep=True))

        version = woken(sleeper, slept)
        assert version == NEWEST + 1 and not entry(table, SLEEPS_AT + 1).exists()
        readers_see(table, NEWEST + 1)
        assert frame.verify(deep=True).ok
        ap.stop()
    finally:
        sleeper.process.send_signal(signal.SIGCONT)
        slept.stop()
        asleep.stop()
        awake.stop()
