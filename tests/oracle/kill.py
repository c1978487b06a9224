"""A bucket whose nodes die: what a client was told, what it was not told, and what must be true of both."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import apiary
from apiary import Apiary

from colony import BIN, Colony, Node

FAILPOINTS = [
    "before_put",
    "after_put_before_ack",
    "mid_upload",
    "between_checkpoint_and_hint",
    "between_frame_and_registry",
    "mid_vacuum",
]
DEATH_SECONDS_MAX = 30.0
ROWS = 30
SCHEMA = {"batch": "string", "n": "int64", "part": "string"}


def rows(batch: str) -> list[dict]:
    """One batch: three cells of a frame that is parted by `part`."""
    return [{"batch": batch, "n": n, "part": "abc"[n % 3]} for n in range(ROWS)]


@dataclass
class Bucket:
    """A bucket, the nodes on it, and what clients know of one frame."""

    storage: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    operations: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.colony = Colony(self.storage, self.folder, self.env)

    def start(self, roles: str = "coordinator,compactor", failpoint: str = "") -> tuple[Node, Apiary]:
        """A node and a client of it, as soon as it answers."""
        env = {"APIARY_FAILPOINT": failpoint} if failpoint else {}
        node = self.colony.start(roles, **env)
        return node, connect(node)

    def frame(self, ap: Apiary, name: str = "rows") -> apiary.Frame:
        return ap.create_hive("kill").create_box("b").create_frame(name, SCHEMA, partition_by=["part"])

    def write(self, frame: apiary.Frame, batch: str) -> bool:
        """Writes a batch under its own key, and remembers what was answered; false if nothing was."""
        operation: dict[str, Any] = {"by": frame.path, "key": batch, "start": time.monotonic_ns(), "told": "unknown"}
        self.operations.append(operation)
        try:
            written = frame.write(rows(batch), idempotency_key=batch)
        except apiary.ApiaryError as error:
            assert is_unknown(error), f"{batch}: {error!r}"
            if batch not in self.acknowledged:
                self.unknown.add(batch)
            return False
        told = "already_applied" if written.already_applied else "committed"
        operation.update(end=time.monotonic_ns(), told=told, version=written.version)
        self.acknowledged.add(batch)
        self.unknown.discard(batch)
        return True

    def check(self, ap: Apiary) -> None:
        """Each acknowledged batch is there once and whole, each unknown one once or not at all, nothing else is."""
        found = ap.sql("SELECT batch, count(*) AS rows, sum(n) AS total FROM kill.b.rows GROUP BY batch").fetchall()
        whole = ROWS, ROWS * (ROWS - 1) // 2
        wrong = {batch: (count, total) for batch, count, total in found if (count, total) != whole}
        assert not wrong, f"not once and whole: {wrong}"
        there = {batch for batch, _, _ in found}
        assert self.acknowledged <= there, f"acknowledged and lost: {self.acknowledged - there}"
        assert there <= self.acknowledged | self.unknown, f"from nowhere: {there - self.acknowledged - self.unknown}"

    def check_order(self, ap: Apiary) -> None:
        """One order of all that was asked explains all that was answered; for a local bucket, whose log lies open."""
        if not self.storage.startswith("file:"):
            return
        log = Path(url2pathname(urlparse(self.storage).path)) / self.frame(ap).describe().folder / "_delta_log"
        operations = self.folder / "operations.json"
        operations.write_text(json.dumps(self.operations))
        done = subprocess.run([BIN / "linear-check", log, operations], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def retry(self, frame: apiary.Frame) -> None:
        """What was not answered is sent again under its key, and answered."""
        for batch in sorted(self.unknown):
            assert self.write(frame, batch), f"{batch} is not answered by a node that lives"

    def verify(self, ap: Apiary) -> None:
        """The whole bucket, down to the bytes of its cells."""
        for report in ap.verify(deep=True):
            assert report.ok, report
            assert report.frame is None or report.cells_opened == report.cells


def is_unknown(error: apiary.ApiaryError) -> bool:
    """Whether a client that is told this knows nothing: its node is gone, or says itself that it does not know."""
    return isinstance(error, (apiary.ConnectionLost, apiary.OutcomeUnknown)) or error.retryable


def connect(node: Node) -> Apiary:
    deadline = time.monotonic() + DEATH_SECONDS_MAX
    while True:
        try:
            return Apiary.connect(f"grpc://127.0.0.1:{node.port}")
        except apiary.ApiaryError as error:
            ended = node.process.poll()
            assert ended is None, f"the node ended with {ended}:\n{node.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{error}:\n{node.log.read_text()[-3000:]}"
            time.sleep(0.05)


def died_at(node: Node) -> str:
    """The failpoint at which a node died: it must have, and say so."""
    node.process.wait(DEATH_SECONDS_MAX)
    log = node.log.read_text()
    assert node.process.returncode == -signal.SIGABRT, f"ended with {node.process.returncode}:\n{log[-3000:]}"
    [line] = [line for line in log.splitlines() if line.startswith("failpoint ")]
    return line.removeprefix("failpoint ")


def chance(seed: int) -> random.Random:
    return random.Random(f"kill {seed}")
