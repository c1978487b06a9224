"""Where tasks are meant to go, as EXPLAIN tells it on three real workers: every task once, shares that follow the nodes'
bees, and, once cells are cached, each task where its cells are."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from apiary import Apiary

from colony import colony

CELLS = 12
SQL = "SELECT k % 7 AS g, count(*), sum(v) FROM readings GROUP BY 1"
# Heartbeats tell what is cached; they come every few seconds.
TOLD_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("placement")
    with colony((folder / "bucket").as_uri(), folder, env={"APIARY_CACHE_SIZE": "64MiB"}) as it, Apiary.connect(it.url) as ap:
        box = ap.create_hive("lab").create_box("main")
        rows = pa.table({"k": range(1000), "v": [float(n) for n in range(1000)]})
        frame = box.create_frame("readings", rows.schema)
        for _ in range(CELLS):
            frame.write(rows)
        ap.sql("USE lab.main")
        ap.sql("SET execution = board")
        ap.sql(f"SET target_partitions = {CELLS}")
        yield ap, [node.id for node in it.nodes]


def first_stage(ap: Apiary) -> dict:
    report = json.loads(ap.sql(f"EXPLAIN FORMAT JSON {SQL}").fetchall()[0][0])
    return report["stages"][0]


def test_every_task_has_a_place_and_every_worker_its_share(session: tuple[Apiary, list[str]]) -> None:
    ap, nodes = session
    stage = first_stage(ap)
    shares = {share["node"]: share for share in stage["placement"]}
    assert set(shares) <= set(nodes) and stage["tasks"] == CELLS, stage
    assert sum(share["tasks"] for share in shares.values()) == CELLS
    assert sum(share["cached"] + share["to_fetch"] for share in shares.values()) == CELLS
    # Three workers with two bees each: nobody gets more than a quarter above its share.
    assert len(shares) == 3 and all(share["tasks"] <= 5 for share in shares.values()), stage
    assert set(stage["reason"].split(", ")) <= {"affinity", "load", "cache", "memory"}
    text = "\n".join(row[0] for row in ap.sql(f"EXPLAIN {SQL}").fetchall())
    assert f"reason: {stage['reason']}" in text and " to fetch)" in text, text


def test_tasks_go_where_their_cells_are(session: tuple[Apiary, list[str]]) -> None:
    ap, _ = session
    began = time.monotonic()
    expected = sorted(ap.sql(SQL).fetchall())
    while True:
        stage = first_stage(ap)
        if sum(share["cached"] for share in stage["placement"]) == CELLS and stage["reason"].startswith("cache"):
            break
        assert time.monotonic() - began < TOLD_SECONDS_MAX, stage
        # A worker that took another's task for once holds its cells, too.
        assert sorted(ap.sql(SQL).fetchall()) == expected
        time.sleep(1.0)
