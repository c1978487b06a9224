"""A query on whose tasks nobody works ends, and says what is missing; it does not wait for its timeout."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from apiary import Apiary, ApiaryError

from colony import colony
from test_recovery import kill_one_that_works

# 30 s without a worker, after a worker that died fell silent.
ALONE_SECONDS_MAX = 75.0
SQL = "SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1"


def said(ap: Apiary) -> tuple[ApiaryError, float]:
    began = time.monotonic()
    with pytest.raises(ApiaryError) as caught:
        ap.sql(SQL).fetchall()
    return caught.value, time.monotonic() - began


def test_without_a_worker_the_board_says_so(tpch_bucket: str, tmp_path: Path) -> None:
    with colony(tpch_bucket, tmp_path, workers=0) as it, Apiary.connect(it.url) as ap:
        ap.sql("USE tpch.main")
        ap.sql("SET execution = board")
        error, took = said(ap)
        assert "nobody works on query" in str(error) and "no worker" in str(error), error
        assert "apiary start --roles worker" in str(error), error
        assert 25 < took < ALONE_SECONDS_MAX, f"after {took:.1f} s"
        # One that comes in time does the work.
        starting = threading.Timer(3, lambda: it.start("worker"))
        starting.start()
        assert len(ap.sql(SQL).fetchall()) == 3
        starting.join()


def test_when_all_workers_die_the_query_ends(tpch_bucket: str, tmp_path: Path) -> None:
    with colony(tpch_bucket, tmp_path, workers=1, env={"APIARY_FAILPOINT_TASK_DELAY_MS": "3000"}) as it:
        with Apiary.connect(it.url) as ap:
            ap.sql("USE tpch.main")
            ap.sql("SET execution = board")
            told: list[tuple[ApiaryError, float]] = []
            asking = threading.Thread(target=lambda: told.append(said(ap)))
            asking.start()
            kill_one_that_works(it, it.nodes[1:])
            asking.join(ALONE_SECONDS_MAX)
            assert told, "the query still waits"
            error, took = told[0]
            assert "nobody works on query" in str(error), error
            print(f"{error!s} after {took:.1f} s")
