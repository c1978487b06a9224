"""Real processes for the tests: nodes, an S3 server, the command line. Everything is bounded in time and ends with
the test that started it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(os.environ.get("APIARY_BIN_DIR", Path(__file__).parents[2] / "target" / "debug"))
START_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 240.0


def free_port() -> int:
    """A port whose neighbours 10 and 20 above are free as well: one node's three roles."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 65000 and all(_is_free(port + step) for step in (0, 10, 20)):
            return port
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def environment(**extra: str) -> dict[str, str]:
    """The process's environment without what would leak in from a developer's shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("APIARY_", "AWS_", "MIMALLOC_"))}
    return {**kept, "RUST_BACKTRACE": "0", **extra}


def apiary(*arguments: str, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end."""
    done = subprocess.run(
        [BIN / "apiary", *arguments],
        env=environment(**options.pop("env", {})),  # type: ignore[arg-type]
        capture_output=True,
        text=True,
        timeout=options.pop("timeout", COMMAND_SECONDS_MAX),  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )
    if check and done.returncode != 0:
        raise AssertionError(f"apiary {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@dataclass
class Node:
    """One process with one or more roles."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def id(self) -> str:
        """Its id in the colony, from what it printed."""
        found = re.search(r"^node (\S+) joined", self.log.read_text(), re.MULTILINE)
        assert found, self.log.read_text()
        return found.group(1)

    def kill(self) -> None:
        """As if the power went."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Colony:
    """Nodes on one bucket, each a process of its own."""

    storage: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    memory: str = "2GiB"
    nodes: list[Node] = field(default_factory=list)
    coordinator: Node | None = None

    @property
    def url(self) -> str:
        assert self.coordinator is not None
        return f"grpc://127.0.0.1:{self.coordinator.port}"

    def start(self, roles: str, **env: str) -> Node:
        number = len(self.nodes)
        port = free_port()
        log = self.folder / f"node-{number}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [BIN / "apiary", "start", "--storage", self.storage, "--roles", roles, "--listen", f"127.0.0.1:{port}",
                 "--data-dir", str(self.folder / f"node-{number}"), "--cores", "2", "--memory", self.memory],
                env=environment(**self.env, **env),
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )  # fmt: skip
        node = Node(process, port, log)
        self.nodes.append(node)
        if "coordinator" in roles:
            self.coordinator = node
        return node

    def wait(self, workers: int) -> float:
        """Waits until so many workers are alive, and says how long that took."""
        began = time.monotonic()
        seen = ""
        while time.monotonic() - began < START_SECONDS_MAX:
            for node in self.nodes:
                if node.process.poll() not in (None, -signal.SIGKILL):
                    raise AssertionError(f"a node ended:\n{node.log.read_text()[-4000:]}")
            done = apiary("status", "--connect", self.url, "--format", "json", check=False, timeout=20)
            seen = done.stdout + done.stderr
            if done.returncode == 0 and self._alive_workers(json.loads(done.stdout)) >= workers:
                return time.monotonic() - began
            time.sleep(0.2)
        raise AssertionError(f"{workers} workers were not alive after {START_SECONDS_MAX} s:\n{seen}")

    @staticmethod
    def _alive_workers(status: dict) -> int:
        return sum(node["state"] == "alive" and "worker" in node["roles"] for node in status["nodes"])

    def sql(self, statement: str, *settings: str) -> tuple[list[dict], str]:
        """Rows and the line under them."""
        chosen = [part for setting in settings for part in ("--set", setting)]
        done = apiary("sql", statement, "--connect", self.url, "--format", "json", *chosen)
        return json.loads(done.stdout), done.stderr.strip()

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()


@contextmanager
def colony(storage: str, folder: Path, workers: int = 3, env: dict[str, str] | None = None) -> Iterator[Colony]:
    """A coordinator with a compactor, and so many workers, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    it = Colony(storage, folder, env or {})
    try:
        it.start("coordinator,compactor")
        for _ in range(workers):
            it.start("worker")
        it.wait(workers)
        yield it
    finally:
        it.stop()


@contextmanager
def s3_server(bucket: str = "apiary", options: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """An S3 store over HTTP with signed requests: (storage URI, environment). The test server, or any other store at
    APIARY_TEST_S3_URL with the AWS_* variables of this shell, under a prefix of its own."""
    if not options and (other := os.environ.get("APIARY_TEST_S3_URL")):
        place, _, query = other.partition("?")
        given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        yield f"{place.rstrip('/')}/apiary-test-{time.time_ns()}" + (f"?{query}" if query else ""), given
        return
    port = free_port()
    process = subprocess.Popen(
        [BIN / "s3-test-server", "--listen", f"127.0.0.1:{port}", "--bucket", bucket, *options],
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening" in line, line
        env = {
            "AWS_ACCESS_KEY_ID": "apiary-test-key",
            "AWS_SECRET_ACCESS_KEY": "apiary/test+secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        yield f"s3://{bucket}/colony?path_style=true", env
    finally:
        process.kill()
        process.wait(10)
