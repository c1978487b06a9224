"""A worker whose machine loses its power is replaced within half a minute though only the bucket can tell: no nudge is
heard, and no stream breaks. The colony has idled before, so heartbeats and looks at the board have grown rare."""

from __future__ import annotations

import contextlib
import glob
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from apiary import Apiary

from colony import Colony, Node, colony

# By then another worker has claimed what the dead one had.
REPLACED_SECONDS_MAX = 30.0
# A result waits so long before it is offered: its claim is alive when the kill comes.
TASK_DELAY_MS = 3_000
# Beats of a colony without a query are so far apart.
IDLE_INTERVAL_S = 10.0
IDLE_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 120.0
SQL = "SELECT l_returnflag, l_linestatus, count(*), sum(l_quantity) FROM lineitem GROUP BY 1, 2 ORDER BY 1, 2"


@dataclass
class Answer:
    rows: list[tuple] | None = None
    error: BaseException | None = None


def folder(it: Colony) -> Path:
    return Path(url2pathname(urlparse(it.storage).path))


def wait_until_idle(it: Colony) -> None:
    deadline = time.monotonic() + IDLE_SECONDS_MAX
    while time.monotonic() < deadline:
        beats = [json.loads(path.read_text()) for path in (folder(it) / "_apiary/nodes").glob("*.json")]
        alive = [beat for beat in beats if beat["node"] in {node.id for node in it.nodes if node.process.poll() is None}]
        if alive and all(beat["interval_s"] >= IDLE_INTERVAL_S for beat in alive):
            return
        time.sleep(0.5)
    raise AssertionError(f"the colony never came to rest: {beats}")


def live_claims(it: Colony) -> dict[tuple[str, str], str]:
    """(a task's folder and name, its attempt): who works on it."""
    found = {}
    for claim in map(Path, glob.glob(str(folder(it) / "_queries/*/s*/t*.claim"))):
        task, attempt, _ = claim.name.split(".")
        with contextlib.suppress(FileNotFoundError, ValueError):
            worker = json.loads(claim.read_text())["worker"]
            if not (claim.parent / f"{task}.done").exists():
                found[str(claim.parent / task), attempt] = worker
    return found


def kill_one_that_works(it: Colony, workers: list[Node], seconds: float = 60.0) -> tuple[Node, set[str]]:
    """Kills a worker with a live claim; it, and the tasks that it leaves behind."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        claims = live_claims(it)
        for victim in workers:
            if any(worker == victim.id for worker in claims.values()):
                victim.kill()
                left = {task for (task, _), worker in live_claims(it).items() if worker == victim.id}
                assert left, "every task of the victim was done before the kill"
                return victim, left
        time.sleep(0.01)
    raise AssertionError("no worker claimed anything")


def wait_until_replaced(it: Colony, victim: Node, left: set[str]) -> float:
    """Until every task that the victim left is claimed by somebody else; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < ANSWER_SECONDS_MAX:
        others = {task for (task, _), worker in live_claims(it).items() if worker != victim.id}
        left = {task for task in left - others if not Path(f"{task}.done").exists()}
        if not left:
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"nobody took {left} over")


def test_a_dead_worker_is_replaced_within_half_a_minute_by_the_bucket_alone(tpch_bucket: str, tmp_path: Path) -> None:
    env = {"APIARY_FAILPOINT_NO_NUDGES": "1", "APIARY_FAILPOINT_TASK_DELAY_MS": str(TASK_DELAY_MS)}
    with colony(tpch_bucket, tmp_path, env=env) as it, Apiary.connect(it.url) as ap:
        ap.sql("USE tpch.main")
        ap.sql("SET execution = local")
        wanted = ap.sql(SQL).fetchall()
        ap.sql("SET execution = board")
        ap.sql("SET target_partitions = 6")
        workers = it.nodes[1:]
        for _ in range(2):
            wait_until_idle(it)
            answer = Answer()

            def ask(answer: Answer = answer) -> None:
                try:
                    answer.rows = ap.sql(SQL).fetchall()
                except BaseException as error:  # noqa: BLE001 - the main thread judges it
                    answer.error = error

            asking = threading.Thread(target=ask)
            asking.start()
            victim, left = kill_one_that_works(it, workers)
            workers.remove(victim)
            took = wait_until_replaced(it, victim, left)
            asking.join(ANSWER_SECONDS_MAX)
            assert answer.error is None, answer.error
            assert answer.rows == wanted
            print(f"{len(left)} tasks of a worker that was killed were taken over after {took:.1f} s")
            assert took < REPLACED_SECONDS_MAX
