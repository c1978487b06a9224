"""A client that reads slowly costs no memory: the coordinator's stays bounded while hundreds of megabytes go through it,
and workers do not compute far ahead of what was read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pyarrow as pa
import pytest
from apiary import Apiary

from colony import Colony, colony

# The coordinator's resident memory may grow so much while a larger answer goes through it: on the board by what a few
# batches take on their way, locally by what the few partitions hold that run side by side.
GROWTH_BYTES_MAX = 200 << 20
ANSWER_BYTES_MIN = 500 << 20
COPIES, PARTITIONS = 6, 6
TASKS = COPIES * PARTITIONS
# Two workers with 2 bees each, and 4 ahead of the client.
WINDOW = 8
# A copy has fewer row groups than partitions: what is empty is taken at once. What the client's end buffers is taken, too.
TAKEN_AT_ONCE_MAX = COPIES + 2
STALL_SECONDS = 12.0
WINDOW_FULL_SECONDS_MAX = 90.0
SQL = " UNION ALL ".join(["SELECT * FROM lineitem"] * COPIES)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Looks at a process's memory until the block ends."""

    def __init__(self, pid: int) -> None:
        self.pid, self.first = pid, resident_bytes(pid)
        self.most = self.first
        self._end = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            self.most = max(self.most, resident_bytes(self.pid))

    def __enter__(self) -> Watch:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._looking.join()

    @property
    def growth(self) -> int:
        return self.most - self.first


def published(it: Colony) -> int:
    """Tasks on the board, whatever became of them, however often they were tried."""
    board = Path(url2pathname(urlparse(it.storage).path)) / "_queries"
    return len({task.name.split(".")[0] for task in board.glob("*/s*/t*.task")})


def read_slowly(reader: pa.RecordBatchReader, in_between: Callable[[], None]) -> tuple[int, int]:
    """Rows and bytes; the reader rests after its first batch."""
    rows = size = 0
    for number, batch in enumerate(reader):
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if number == 0:
            in_between()
    return rows, size


@pytest.fixture(scope="module")
def two_workers(tpch_bucket: str, tmp_path_factory: pytest.TempPathFactory):
    with colony(tpch_bucket, tmp_path_factory.mktemp("streaming"), workers=2) as it:
        yield it


def ask(it: Colony, execution: str) -> Apiary:
    ap = Apiary.connect(it.url)
    ap.sql("USE tpch.main")
    ap.sql(f"SET execution = {execution}")
    ap.sql(f"SET target_partitions = {PARTITIONS}")
    return ap


def test_a_slow_client_slows_the_workers_and_fills_no_memory(two_workers: Colony) -> None:
    it = two_workers
    assert it.coordinator is not None
    with ask(it, "board") as ap:
        wanted = COPIES * ap.sql("SELECT count(*) FROM lineitem").scalar()
        seen: list[int] = []

        def stall() -> None:
            began = time.monotonic()
            while published(it) < WINDOW and time.monotonic() - began < WINDOW_FULL_SECONDS_MAX:
                time.sleep(0.1)
            time.sleep(STALL_SECONDS)
            seen.append(published(it))

        with Watch(it.coordinator.process.pid) as watch:
            rows, size = read_slowly(pa.RecordBatchReader.from_stream(ap.sql(SQL)), stall)
        assert (rows, size > ANSWER_BYTES_MIN) == (wanted, True), f"{rows} rows, {size >> 20} MiB"
        assert WINDOW <= seen[0] <= WINDOW + TAKEN_AT_ONCE_MAX < TASKS, f"{seen[0]} of {TASKS} tasks were published before the client had read one"
        assert watch.growth < GROWTH_BYTES_MAX, f"the coordinator grew by {watch.growth >> 20} MiB"
        print(f"board: {size >> 20} MiB; {seen[0]} of {TASKS} tasks published while the client rested; "
              f"coordinator {watch.first >> 20} MiB, at most {watch.growth >> 20} MiB more")  # fmt: skip


def test_a_slow_client_of_a_local_query_fills_no_memory(two_workers: Colony) -> None:
    it = two_workers
    assert it.coordinator is not None
    with ask(it, "local") as ap:
        wanted = COPIES * ap.sql("SELECT count(*) FROM lineitem").scalar()
        with Watch(it.coordinator.process.pid) as watch:
            reader = pa.RecordBatchReader.from_stream(ap.sql(SQL))
            rows, size = read_slowly(reader, lambda: time.sleep(STALL_SECONDS))
        assert (rows, size > ANSWER_BYTES_MIN) == (wanted, True), f"{rows} rows, {size >> 20} MiB"
        assert watch.growth < GROWTH_BYTES_MAX, f"the coordinator grew by {watch.growth >> 20} MiB"
        print(f"local: {size >> 20} MiB; coordinator {watch.first >> 20} MiB, at most {watch.growth >> 20} MiB more")
