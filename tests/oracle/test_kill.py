"""Nodes die at every point of the protocol, and nothing that was acknowledged is lost or doubled.

Each round starts a node that will die, lets clients work until it does, starts another on the same bucket, sends again
what was not answered, and checks every row and every object. `APIARY_KILL_ROUNDS=100` runs a hundred rounds; a round's
number is its seed. The bucket is the same in all rounds of a store, so that each death meets what others left.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import apiary
import pytest
from apiary import Apiary

from colony import s3_server
from kill import FAILPOINTS, Bucket, chance, died_at, is_unknown, rows

ROUNDS = int(os.environ.get("APIARY_KILL_ROUNDS", "12"))
WAYS = [*FAILPOINTS, "random_kill", "sleep"]
SEEN: Counter[str] = Counter()
ROUNDS_DONE: set[int] = set()


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bucket]]:
    folder = tmp_path_factory.mktemp("kill")
    with s3_server() as (storage, env):
        for name in ("local", "s3"):
            (folder / name).mkdir()
        both = {
            "local": Bucket((folder / "bucket").as_uri(), folder / "local"),
            "s3": Bucket(storage, folder / "s3", env),
        }
        try:
            yield both
        finally:
            for bucket in both.values():
                bucket.colony.stop()


def way_of(number: int) -> tuple[str, str]:
    """Every way on the local store first, then every way on S3, and so on."""
    return WAYS[number % len(WAYS)], ["local", "s3"][number // len(WAYS) % 2]


@pytest.mark.parametrize("number", range(ROUNDS), ids=lambda n: f"{n}-{'-'.join(way_of(n))}")
def test_what_was_acknowledged_survives(buckets: dict[str, Bucket], number: int) -> None:
    way, store = way_of(number)
    bucket = buckets[store]
    round_of(bucket, way, number)
    node, ap = bucket.start()
    try:
        frame = bucket.frame(ap)
        bucket.check(ap)
        bucket.retry(frame)
        assert not bucket.unknown
        bucket.check(ap)
        bucket.verify(ap)
        bucket.check_order(ap)
    finally:
        ap.stop()
        node.stop()
    ROUNDS_DONE.add(number)


def test_every_failpoint_was_seen_to_fire() -> None:
    if len(ROUNDS_DONE) < max(ROUNDS, len(WAYS)):
        pytest.skip("not every round ran")
    print(f"{len(ROUNDS_DONE)} rounds: {dict(SEEN)}")
    assert set(WAYS) <= set(SEEN), f"never fired: {set(WAYS) - set(SEEN)}"


def round_of(bucket: Bucket, way: str, number: int) -> None:
    """One death, and what led to it."""
    rng = chance(number)
    if way in ("before_put", "after_put_before_ack", "mid_upload"):
        die_writing(bucket, way, number, nth=rng.randint(1, 4))
    elif way == "random_kill":
        die_at_random(bucket, number, rng.uniform(0.02, 0.6))
    elif way == "sleep":
        sleep_through_a_restart(bucket, number, rng.uniform(0.0, 0.08))
    else:
        die_in_care(bucket, way, number)
    SEEN[way] += 1


def die_writing(bucket: Bucket, way: str, number: int, nth: int) -> None:
    node, ap = bucket.start(failpoint=f"{way}:{nth}")
    # Making the names and the frame puts entries too: the node may die of those already.
    try:
        frame = bucket.frame(ap)
    except apiary.ApiaryError as error:
        assert is_unknown(error), repr(error)
    else:
        writers = [threading.Thread(target=write_until_death, args=(bucket, frame, f"{number}-{w}")) for w in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive(), "a write to a dead node hangs"
    ap.stop()
    assert died_at(node) == way


def write_until_death(bucket: Bucket, frame: apiary.Frame, name: str, most: int = 200) -> None:
    for n in range(most):
        if not bucket.write(frame, f"{name}-{n}"):
            return


def die_at_random(bucket: Bucket, number: int, after: float) -> None:
    node, ap = bucket.start()
    frame = bucket.frame(ap)
    writers = [threading.Thread(target=write_until_death, args=(bucket, frame, f"{number}-{w}")) for w in range(3)]
    for writer in writers:
        writer.start()
    time.sleep(after)
    node.kill()
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive(), "a write to a dead node hangs"
    ap.stop()
    assert bucket.unknown, "the kill hit no write"


def sleep_through_a_restart(bucket: Bucket, number: int, after: float) -> None:
    """A node falls asleep in the middle of a write; another is asked for the same, works on, compacts; then the sleeper
    wakes and goes on as if nothing had happened."""
    sleeper, ap = bucket.start()
    frame = bucket.frame(ap)
    names = [f"{number}-{w}" for w in range(3)]
    writers = [threading.Thread(target=bucket.write, args=(frame, name)) for name in names]
    for writer in writers:
        writer.start()
    time.sleep(after)
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        node, other = bucket.start()
        again = bucket.frame(other)
        for name in names:
            assert bucket.write(again, name), "a node that lives does not answer"
        again.compact()
        again.checkpoint()
        bucket.check(other)
        other.stop()
        node.stop()
    finally:
        sleeper.process.send_signal(signal.SIGCONT)
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive(), "a write hangs that slept"
    bucket.check(ap)
    ap.stop()
    sleeper.kill()


def die_in_care(bucket: Bucket, way: str, number: int) -> None:
    """Dies while it makes a checkpoint or a vacuum, or between a frame and its name."""
    node, ap = bucket.start()
    frame = bucket.frame(ap)
    for n in range(3):
        assert bucket.write(frame, f"{number}-{n}")
    frame.compact()
    ap.stop()
    node.stop()
    if way == "between_checkpoint_and_hint":

        def checkpoint(ap: Apiary) -> None:
            # A version that no compactor has made a checkpoint of by itself.
            bucket.write(bucket.frame(ap), f"{number}-last")
            bucket.frame(ap).checkpoint()

        die_once(bucket, way, checkpoint)
        node, ap = bucket.start()
        assert bucket.frame(ap).checkpoint().version == bucket.frame(ap).describe().version
    elif way == "mid_vacuum":
        # The cells that were merged go at once, in batches: some are gone by then, others are not.
        vacuum = lambda ap: bucket.frame(ap).vacuum(run=True, retain=timedelta(0), force=True)  # noqa: E731
        die_once(bucket, way, vacuum)
        node, ap = bucket.start()
        vacuum(ap)
    else:
        name = f"new_{number}"
        die_once(bucket, way, lambda ap: bucket.frame(ap, name))
        node, ap = bucket.start()
        frame = bucket.frame(ap, name)
        frame.write(rows("x"))
        assert frame.count() == len(rows("x"))
        ap.stop()
        node.stop()
        die_once(bucket, way, lambda ap: ap.sql(f"DROP FRAME kill.b.{name}").fetchall())
        node, ap = bucket.start()
        with pytest.raises(apiary.ApiaryError):
            ap.frame(f"kill.b.{name}").write(rows("y"))
        assert bucket.frame(ap, name).count() == 0, "rows of a frame that was dropped"
    ap.stop()
    node.stop()


def die_once(bucket: Bucket, way: str, work: Callable[[Apiary], object]) -> None:
    """One call to a node that dies of it."""
    node, ap = bucket.start(failpoint=way)
    with pytest.raises(apiary.ApiaryError) as broke:
        work(ap)
    ap.stop()
    assert died_at(node) == way
    assert is_unknown(broke.value), repr(broke.value)
