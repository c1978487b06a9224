"""Nodes die and fall asleep while TPC-H runs, and every answer has the right rows.

A colony of two coordinators and three workers, each a process of its own. In each round a query runs on the board; as
soon as the victim is in the middle of it (a worker that holds a live claim, the coordinator that drives it while
somebody holds one) it is killed, or stopped as a machine that swaps or loses its network is. The client names both
coordinators, asks once, and must get the rows that the same query has in peace; `test_tpch.py` holds those against
DuckDB. At the end nothing of any query is left in the bucket. The wall clocks of every second node, and of those that take
the place of the dead, jump by up to 400 days each second.

`APIARY_CHAOS_ROUNDS=50` runs fifty rounds; a round's number is its seed.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

from colony import BIN, Colony, Node, apiary, environment
from rows import assert_same_rows

ROUNDS = int(os.environ.get("APIARY_CHAOS_ROUNDS", "4"))
QUERIES = {n: (Path(__file__).parents[1] / "tpch" / f"q{n:02}.sql").read_text() for n in [1, 3, 5, 10, 12, 18]}
WAYS = ["kill a worker", "stop a worker", "kill a coordinator", "stop a coordinator"]
# A result waits a little before it is offered, so that claims live long enough to be hit.
TASK_DELAY_MS = 400
# Leftovers go at this age instead of after a day.
SWEEP_AGE_MS = 15_000
ANSWER_SECONDS_MAX = 150.0
SWEPT_SECONDS_MAX = 90.0
# By how many days a wall clock is wrong, to either side and each second anew.
CLOCK = {"APIARY_FAILPOINT_CLOCK_DAYS": "400"}
# What a worker that is gone may cost besides the query's own time, noticed by its broken stream or, at the latest, by its
# silence.
WORKER_SECONDS_MAX = 30.0


@dataclass
class Chaos:
    """The colony, and what was done to it."""

    colony: Colony
    coordinators: list[Node]
    workers: list[Node]
    answers: dict[int, list[tuple]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    hit: Counter[str] = field(default_factory=Counter)

    @property
    def board(self) -> Path:
        return Path(url2pathname(urlparse(self.colony.storage).path)) / "_queries"

    def ask(self, number: int, first: Node) -> subprocess.Popen[str]:
        """Asks through `first`; the client knows the other coordinators too."""
        places = [first, *(node for node in self.coordinators if node is not first)]
        urls = ",".join(f"grpc://127.0.0.1:{node.port}" for node in places)
        return subprocess.Popen(
            [BIN / "apiary", "sql", QUERIES[number], "--connect", urls, "--use", "tpch.main", "--format", "json",
             "--set", "execution=board", "--quiet"],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def peace(self, number: int) -> list[tuple]:
        """The rows while nobody is harmed, on one machine."""
        if number not in self.answers:
            began = time.monotonic()
            done = apiary("sql", QUERIES[number], "--connect", self.colony.url, "--use", "tpch.main", "--format",
                          "json", "--set", "execution=local", "--quiet")  # fmt: skip
            self.answers[number] = rows_of(done.stdout)
            self.seconds[number] = time.monotonic() - began
        return self.answers[number]

    def live_claims(self) -> Iterator[tuple[str, Path]]:
        """Who works on what: (worker's id, the query's folder)."""
        for claim in map(Path, glob.glob(str(self.board / "*/s*/t*.claim"))):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
                worker = json.loads(claim.read_text())["worker"]
                if not (claim.parent / f"{claim.name.split('.')[0]}.done").exists():
                    yield worker, claim.parents[1]

    def is_in_the_middle(self, victim: Node) -> bool:
        if victim in self.workers:
            return any(worker == victim.id for worker, _ in self.live_claims())
        return any(self.owner(query) == victim.id for _, query in self.live_claims())

    def owner(self, query: Path) -> str | None:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            epochs = sorted(query.glob("owner.*"), key=lambda path: int(path.name.split(".")[1]))
            return json.loads(epochs[-1].read_text())["coordinator"] if epochs else None
        return None

    def replace(self, node: Node) -> None:
        """Another machine in the place of one that died."""
        pool = self.workers if node in self.workers else self.coordinators
        new = self.colony.start(*start_of(pool is self.workers, number=pool.index(node)), **CLOCK)
        pool[pool.index(node)] = new
        self.colony.coordinator = self.coordinators[0]

    def days_off(self) -> list[float]:
        """By how many days the clock of each node's last heartbeat was off from that of the store."""
        beats = (self.board.parent / "_apiary" / "nodes").glob("*.json")
        return [abs(json.loads(beat.read_text())["wall_ms"] / 1e3 - beat.stat().st_mtime) / 86400 for beat in beats]

    def leftovers(self) -> list[str]:
        # os.walk forgives folders that vanish meanwhile.
        return [f"{folder}/{name}" for folder, _, names in os.walk(self.board) for name in names]


def start_of(is_worker: bool, number: int) -> tuple[str]:
    if is_worker:
        return ("worker",)
    return ("coordinator,compactor" if number == 0 else "coordinator",)


def rows_of(text: str) -> list[tuple]:
    return [tuple(row.values()) for row in json.loads(text)]


@pytest.fixture(scope="module")
def chaos(tpch_bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    hooks = {"APIARY_FAILPOINT_TASK_DELAY_MS": str(TASK_DELAY_MS), "APIARY_FAILPOINT_SWEEP_AGE_MS": str(SWEEP_AGE_MS)}
    colony = Colony(tpch_bucket, tmp_path_factory.mktemp("chaos"), hooks)
    try:
        clocks = [{}, CLOCK, {}]
        coordinators = [colony.start(*start_of(False, n), **clocks[n]) for n in range(2)]
        workers = [colony.start(*start_of(True, n), **clocks[n]) for n in range(3)]
        colony.wait(3)
        yield Chaos(colony, coordinators, workers)
    finally:
        for node in colony.nodes:
            with contextlib.suppress(ProcessLookupError):
                node.process.send_signal(signal.SIGCONT)
        colony.stop()


@pytest.mark.parametrize("number", range(ROUNDS), ids=lambda n: f"{n}-{WAYS[n % len(WAYS)].replace(' ', '-')}")
def test_whoever_dies_the_rows_are_right(chaos: Chaos, number: int) -> None:
    rng, way = random.Random(f"chaos {number}"), WAYS[number % len(WAYS)]
    query = rng.choice(list(QUERIES))
    wanted = chaos.peace(query)
    is_worker = "worker" in way
    # A coordinator that is asked, or whichever worker is at work: where a small query is done is not chance.
    first = rng.choice(chaos.coordinators)
    victims = rng.sample(chaos.workers, len(chaos.workers)) if is_worker else [first]
    how = signal.SIGKILL if "kill" in way else signal.SIGSTOP
    client, victim = strike_in_the_middle(chaos, query, first, victims, how)
    began = time.monotonic()
    try:
        if way == "stop a coordinator":
            # Shorter than anybody's patience, or so long that the client has to go elsewhere.
            wake_after(victim, client, 3.0 if number < len(WAYS) else rng.choice([1.0, 3.0, 45.0]))
        out, err = client.communicate(timeout=ANSWER_SECONDS_MAX)
        took = time.monotonic() - began
    finally:
        client.kill()
        client.wait(10)
        if "stop" in way:
            victim.process.send_signal(signal.SIGCONT)
    assert client.returncode == 0, f"{way}, q{query}: {err}\n{tail(chaos)}"
    assert_same_rows(rows_of(out), wanted, f"{way}, q{query}")
    if is_worker:
        assert took < WORKER_SECONDS_MAX + chaos.seconds[query], f"{way}, q{query}: the answer took {took:.1f} s"
    print(f"round {number}: {way} in the middle of q{query}; the answer came {took:.1f} s later")
    chaos.hit[way] += 1
    if "kill" in way:
        victim.process.wait(10)
        chaos.replace(victim)
        chaos.colony.wait(len(chaos.workers))


def strike_in_the_middle(
    chaos: Chaos, query: int, first: Node, victims: list[Node], how: signal.Signals
) -> tuple[subprocess.Popen[str], Node]:
    """Asks until one of the victims is in the middle of it, and strikes. A query that ends before is judged all the
    same."""
    for _ in range(10):
        client = chaos.ask(query, first)
        while client.poll() is None:
            victim = next((node for node in victims if chaos.is_in_the_middle(node)), None)
            if victim:
                victim.process.send_signal(how)
                return client, victim
            time.sleep(0.003)
        out, err = client.communicate(timeout=10)
        assert client.returncode == 0, err
        assert_same_rows(rows_of(out), chaos.peace(query), f"in peace, q{query}")
    raise AssertionError(f"no victim ever took part:\n{tail(chaos)}")


def wake_after(victim: Node, client: subprocess.Popen[str], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(seconds)
    victim.process.send_signal(signal.SIGCONT)


def tail(chaos: Chaos) -> str:
    return "\n".join(f"{node.log.name}: {node.log.read_text()[-1200:]}" for node in chaos.colony.nodes)


def test_every_way_hit_and_nothing_is_left(chaos: Chaos) -> None:
    if sum(chaos.hit.values()) < ROUNDS:
        pytest.skip("not every round ran")
    assert set(WAYS[:ROUNDS]) <= set(chaos.hit), chaos.hit
    assert max(chaos.days_off()) > 1.0, "no clock was wrong"
    began = time.monotonic()
    while left := chaos.leftovers():
        assert time.monotonic() - began < SWEPT_SECONDS_MAX, f"orphans: {left[:20]}"
        time.sleep(0.5)
    print(f"{dict(chaos.hit)}; nothing was left after {time.monotonic() - began:.1f} s")
