"""The correctness gate's own statements, on the board with three workers and locally, against DataFusion in one process.

`tests/statements/*.sql`, one statement a line. `ordered.sql` is compared row by row as it comes; in `limits.sql` any
rows of the statement without its LIMIT and OFFSET are right, as many as DataFusion gives; the rest has no order."""

from __future__ import annotations

import collections
import re
from pathlib import Path

import pytest
from apiary import Apiary

from colony import colony
from gate_data import fill, oracle, rows_of
from rows import assert_same_rows, coarse_row

FOLDER = Path(__file__).parents[1] / "statements"
STATEMENTS = [
    (file.stem, line.rstrip(";"))
    for file in sorted(FOLDER.glob("*.sql"))
    for line in file.read_text().splitlines()
    if line and not line.startswith("--")
]
LIMIT = re.compile(r"\s(LIMIT|OFFSET) \d+")
# What the board cannot cut runs locally and says so; nothing else may.
LOCAL_BY_NATURE = re.compile(r"RECURSIVE|generate_series")


@pytest.fixture(scope="module")
def context():
    return oracle()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("gate")
    storage = fill(folder)
    with colony(storage, folder) as it, Apiary.connect(it.url) as ap:
        ap.sql("USE gate.main")
        yield ap


def test_there_are_two_hundred_statements_at_least() -> None:
    assert len(STATEMENTS) >= 200
    assert len({sql for _, sql in STATEMENTS}) == len(STATEMENTS)


@pytest.mark.parametrize(("file", "sql"), STATEMENTS, ids=[f"{file}:{sql[:60]}" for file, sql in STATEMENTS])
def test_the_board_and_the_local_way_give_the_rows_of_datafusion(session: Apiary, context, file: str, sql: str) -> None:
    wanted = rows_of(context, sql)
    superset = rows_of(context, LIMIT.sub("", sql)) if file == "limits" else []
    # As many tasks as the bytes are worth, and one for each of six partitions.
    for execution, partitions in (("board", "default"), ("board", "6"), ("local", "default")):
        session.sql(f"SET execution = {execution}")
        session.sql(f"SET target_partitions = {partitions}")
        result = session.sql(sql)
        got = result.to_arrow()
        rows = list(zip(*(column.to_pylist() for column in got.columns), strict=True))
        if file == "limits":
            assert len(rows) == len(wanted), f"{sql} on the {execution} way"
            left = collections.Counter(map(coarse_row, rows)) - collections.Counter(map(coarse_row, superset))
            assert not left, f"{sql} on the {execution} way: {left}"
        else:
            assert_same_rows(rows, wanted, f"{sql} on the {execution} way", in_order=file == "ordered")
        if execution == "local" or not LOCAL_BY_NATURE.search(sql):
            assert result.stats.execution == execution, f"{sql}: {result.stats}"
