"""Every frame reads right in the world's Delta readers, and foreign writers are refused."""

from __future__ import annotations

import datetime
import os
import shutil
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import apiary as sdk
import deltalake
import polars as pl
import pytest
from apiary import Apiary

from polars.testing import assert_frame_equal

import every_type
from colony import apiary
from rows import assert_same_rows
from tpch import TABLES

SCHEMA = {
    "id": "int64",
    "small": "int16",
    "price": "decimal(15,2)",
    "ratio": "float64",
    "name": "string",
    "ok": "bool",
    "day": "date",
    "at": "timestamptz",
    "naive": "datetime",
    "region": "string",
}


def rows(first: int, count: int) -> list[dict]:
    moment = datetime.datetime(2026, 11, 20, 12, 30, 1, 250_000)
    return [
        {
            "id": i,
            "small": None if i % 7 == 0 else i % 100,
            "price": Decimal(i * 37 % 100_000) / 100,
            "ratio": float("nan") if i % 11 == 0 else i / 3,
            "name": None if i % 5 == 0 else f"näme {i}",
            "ok": i % 2 == 0,
            "day": moment.date() + datetime.timedelta(days=i),
            "at": (moment + datetime.timedelta(hours=i)).replace(tzinfo=datetime.timezone.utc),
            "naive": moment + datetime.timedelta(hours=i),
            "region": ["north", "south", "east & west/100%"][i % 3],
        }
        for i in range(first, first + count)
    ]


def folder_of(storage: str, ap: Apiary, path: str) -> str:
    described = ap.frame(path).describe()
    return str(Path(url2pathname(urlparse(storage).path)) / described.folder)


def test_every_type_and_version_reads_right(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("my hive").create_box("büro").create_frame("t 1", SCHEMA, partition_by=["region"])
        first = frame.write(rows(0, 60))
        second = frame.write(rows(60, 40))
        ours = frame.read().fetchall()
        table = folder_of(storage, ap, "my hive.büro.t 1")

    names = list(SCHEMA)
    expected = [tuple(row[name] for name in names) for row in rows(0, 100)]
    nan_apart = lambda found: [tuple("nan" if v != v else v for v in row) for row in found]  # noqa: E731
    assert_same_rows(nan_apart(ours), nan_apart(expected), "apiary")

    delta = deltalake.DeltaTable(table)
    assert delta.version() == second.version
    theirs = delta.to_pyarrow_table().select(names).to_pylist()
    assert_same_rows(nan_apart(tuple(row.values()) for row in theirs), nan_apart(expected), "deltalake")
    assert set(delta.metadata().partition_columns) == {"region"}
    older = deltalake.DeltaTable(table, version=first.version).to_pyarrow_table()
    assert older.num_rows == 60

    theirs = pl.read_delta(table).select(names).rows()
    assert_same_rows(nan_apart(theirs), nan_apart(expected), "polars")
    assert pl.read_delta(table, version=first.version).height == 60
    # Pushed-down filters use our statistics.
    lazy = pl.scan_delta(table)
    assert lazy.filter(pl.col("id") >= 90).select(pl.len()).collect().item() == 10
    assert lazy.filter(pl.col("region") == "south").select(pl.len()).collect().item() == 33


PARTS = {
    "b": ("bool", [True, False, None]),
    "i": ("int32", [-7, 0, None]),
    # A negative one is read by Polars; deltalake 1.6 takes -12.50 apart into "-12.-50" and refuses its own text.
    "n": ("decimal(9,2)", [Decimal("12.50"), Decimal("0.00"), None]),
    "s": ("string", ["north", "east & west/100%=ä", None]),
    "d": ("date", [datetime.date(2026, 11, 20), datetime.date(1969, 12, 31), None]),
    "t": ("timestamptz", [datetime.datetime(2026, 11, 20, 1, 2, 3, 456, datetime.timezone.utc), None]),
    "l": ("datetime", [datetime.datetime(2026, 11, 20, 1, 2, 3, 456), None]),
}


@pytest.mark.parametrize("column", PARTS)
def test_a_partition_column_of_every_type_reads_right(tmp_path: Path, column: str) -> None:
    storage = (tmp_path / "bucket").as_uri()
    data_type, values = PARTS[column]
    wanted = [(x, value) for x, value in enumerate(value for value in values if value is not None)]
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", {"x": "int64", column: data_type}, column)
        frame.write([{"x": x, column: value} for x, value in wanted])
        table = folder_of(storage, ap, "h.b.t")
        assert_same_rows(frame.read().fetchall(), wanted, "apiary")
    theirs = deltalake.DeltaTable(table).to_pyarrow_table().select(["x", column]).to_pylist()
    assert_same_rows([tuple(row.values()) for row in theirs], wanted, "deltalake")
    assert_same_rows(pl.read_delta(table).select("x", column).rows(), wanted, "polars")
    for x, value in wanted:
        found = pl.scan_delta(table).filter(pl.col(column) == value).select("x").collect().rows()
        assert found == [(x,)], f"{value!r}: {found}"


def readers_agree(frame: sdk.Frame, table: str, version: int | None = None) -> list[tuple[Any, ...]]:
    """Both readers give the rows that we give; returns them."""
    wanted = frame.read().fetchall()
    names = list(frame.describe().columns)
    theirs = deltalake.DeltaTable(table, version=version).to_pyarrow_table().select(names).to_pylist()
    assert_same_rows([tuple(row.values()) for row in theirs], wanted, f"deltalake, version {version}")
    assert_same_rows(pl.read_delta(table, version=version).select(names).rows(), wanted, f"polars, version {version}")
    return wanted


def age(folder: str | Path, days: float) -> None:
    """Everything below a folder was written so many days ago, as far as the store knows."""
    then = time.time() - days * 86_400
    for file in Path(folder).rglob("*"):
        os.utime(file, (then, then))


def small(first: int, count: int) -> list[dict[str, Any]]:
    return [{"x": x, "k": "abc"[x % 3], "name": f"n{x}"} for x in range(first, first + count)]


SMALL = {"x": "int64", "k": "string", "name": "string"}


def test_a_frame_reads_right_through_everything_that_is_done_to_it(tmp_path: Path) -> None:
    """Appends, overwrites, compaction, a checkpoint, vacuum: after each step the newest version, and all before it."""
    storage = (tmp_path / "bucket").as_uri()
    seen: dict[int, list[tuple[Any, ...]]] = {}
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", SMALL, partition_by=["k"])
        table = folder_of(storage, ap, "h.b.t")

        def step(work: Callable[[], object]) -> None:
            work()
            seen[frame.describe().version] = readers_agree(frame, table)

        step(lambda: frame.write(small(0, 30)))
        step(lambda: frame.write(small(30, 30)))
        step(lambda: frame.overwrite([row for row in small(100, 9) if row["k"] == "a"], partitions=[{"k": "a"}]))
        assert len(seen[3]) == 40 + 3
        step(frame.compact)
        step(frame.checkpoint)
        step(lambda: frame.overwrite(small(200, 6)))
        step(lambda: frame.write(small(300, 3)))
        step(frame.checkpoint)
        assert len(seen[max(seen)]) == 9
        for version, rows in seen.items():
            older = deltalake.DeltaTable(table, version=version).to_pyarrow_table().select(list(SMALL)).to_pylist()
            assert_same_rows([tuple(row.values()) for row in older], rows, f"deltalake, version {version}")
            older = pl.read_delta(table, version=version).select(list(SMALL)).rows()
            assert_same_rows(older, rows, f"polars, version {version}")
        cells = len(list(Path(table, "cells").iterdir()))
        age(table, 30)
        step(lambda: frame.vacuum(run=True))
        assert len(list(Path(table, "cells").iterdir())) < cells, "the vacuum took nothing"
        step(lambda: frame.write(small(400, 3)))
        assert frame.verify(deep=True).ok


def test_a_frame_reads_right_through_its_checkpoint_alone(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", SCHEMA, partition_by=["region"])
        for n in range(8):
            frame.write(rows(n * 10, 10), idempotency_key=f"key {n}")
        frame.compact()
        checkpoint = frame.checkpoint()
        frame.write(rows(80, 10))
        wanted = frame.read().fetchall()
        table = folder_of(storage, ap, "h.b.t")
    copy = tmp_path / "copy"
    shutil.copytree(table, copy)
    for version in range(checkpoint.version):
        (copy / "_delta_log" / f"{version:020}.json").unlink()
    nan_apart = lambda found: [tuple("nan" if v != v else v for v in row) for row in found]  # noqa: E731
    delta = deltalake.DeltaTable(str(copy))
    assert delta.version() == checkpoint.version + 1 and delta.metadata().partition_columns == ["region"]
    theirs = delta.to_pyarrow_table().select(list(SCHEMA)).to_pylist()
    assert_same_rows(nan_apart(tuple(row.values()) for row in theirs), nan_apart(wanted), "deltalake")
    theirs = pl.read_delta(str(copy)).select(list(SCHEMA)).rows()
    assert_same_rows(nan_apart(theirs), nan_apart(wanted), "polars")
    # The statistics in it prune, and prune nothing that is wanted.
    lazy = pl.scan_delta(str(copy))
    assert lazy.filter(pl.col("id") >= 85).select(pl.len()).collect().item() == 5
    assert lazy.filter((pl.col("region") == "south") & (pl.col("id") < 30)).select(pl.len()).collect().item() == 10


# Extremes in one cell, nothing but NULL in the next, one value in the last.
PICKS: list[list[int | None]] = [[0, 1, 2, None], [None, None], [2]]


def picked(cells: int) -> list[int | None]:
    return [pick for cell in PICKS[:cells] for pick in cell]


def with_every_type(ap: Apiary, columns: list[every_type.Column]) -> sdk.Frame:
    frame = ap.create_hive("h").create_box("b").create_frame("t", every_type.schema(columns))
    for cell in range(len(PICKS)):
        frame.write(every_type.rows(len(picked(cell)), PICKS[cell], columns))
    return frame


def test_every_type_that_a_frame_takes_reads_right_elsewhere(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = with_every_type(ap, every_type.COLUMNS)
        table = folder_of(storage, ap, "h.b.t")
        every_type.is_spelled_right(table)
        every_type.reads_right(table, picked(3), rows=frame.read().to_arrow())
        frame.compact()
        frame.checkpoint()
        every_type.reads_right(table, picked(3), rows=frame.read().to_arrow())
        for version in [1, 2, 3]:
            every_type.reads_right(table, picked(version), version)


@pytest.mark.parametrize("columns", every_type.GROUPS, ids=lambda columns: columns[0].name)
def test_a_filter_on_every_type_finds_its_rows_elsewhere(tmp_path: Path, columns: list[every_type.Column]) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = with_every_type(ap, columns)
        table = folder_of(storage, ap, "h.b.t")
        every_type.bounds_prune_right(table, picked(3), columns)
        frame.compact()
        frame.checkpoint()
        every_type.bounds_prune_right(table, picked(3), columns)


def test_an_older_version_within_retention_reads_right_after_a_vacuum(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", every_type.schema())
        table = folder_of(storage, ap, "h.b.t")
        frame.write(every_type.rows(0, [0, 1, 2, None]))
        replaced = frame.overwrite(every_type.rows(10, [1, 0])).version
        # What the overwrite took away is a month old; what the merge takes away is not.
        age(table, 30)
        older = frame.write(every_type.rows(12, [None, 2])).version
        frame.compact()
        before = {file.name for file in Path(table, "cells").iterdir()}
        frame.vacuum(run=True)
        gone = before - {file.name for file in Path(table, "cells").iterdir()}
        assert (len(before), len(gone)) == (4, 1), "the cell of the first version goes, and no other"
        for version, picks in [(replaced, [1, 0]), (older, [1, 0, None, 2]), (None, [1, 0, None, 2])]:
            every_type.reads_right(table, picks, version, None if version else frame.read().to_arrow())
        assert frame.verify(deep=True).ok


FOREIGN: dict[str, Callable[[str], object]] = {
    "append": lambda t: deltalake.write_deltalake(t, pl.DataFrame(small(0, 1)), mode="append"),
    "overwrite": lambda t: deltalake.write_deltalake(t, pl.DataFrame(small(0, 1)), mode="overwrite"),
    "delete": lambda t: deltalake.DeltaTable(t).delete("x = 1"),
    "update": lambda t: deltalake.DeltaTable(t).update({"x": "5"}),
    "merge": lambda t: (
        deltalake.DeltaTable(t)
        .merge(pl.DataFrame(small(0, 1)), "s.x = t.x", "s", "t")
        .when_matched_delete()
        .execute()
    ),
    "optimize": lambda t: deltalake.DeltaTable(t).optimize.compact(),
    "z-order": lambda t: deltalake.DeltaTable(t).optimize.z_order(["x"]),
    "vacuum": lambda t: deltalake.DeltaTable(t).vacuum(0, dry_run=False, enforce_retention_duration=False),
    "restore": lambda t: deltalake.DeltaTable(t).restore(1),
    "properties": lambda t: deltalake.DeltaTable(t).alter.set_table_properties({"delta.appendOnly": "true"}),
    "polars": lambda t: pl.DataFrame(small(0, 1)).write_delta(t, mode="append"),
}


@pytest.fixture
def worked_on(tmp_path: Path) -> tuple[str, str]:
    """A bucket and the folder of a frame in it that has something to optimise and something to vacuum."""
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", SMALL, partition_by=["k"])
        for n in range(4):
            frame.write(small(n * 10, 10))
        frame.compact()
        for n in range(4, 8):
            frame.write(small(n * 10, 10))
        return storage, folder_of(storage, ap, "h.b.t")


@pytest.mark.parametrize("how", FOREIGN)
def test_foreign_writers_are_refused(worked_on: tuple[str, str], how: str) -> None:
    _, table = worked_on
    before = {file: file.read_bytes() for file in Path(table).rglob("*") if file.is_file()}
    with pytest.raises(Exception, match="(?i)writer|feature|unsupported"):
        FOREIGN[how](table)
    assert {file: file.read_bytes() for file in Path(table).rglob("*") if file.is_file()} == before


def test_what_foreign_tools_can_write_costs_no_row(worked_on: tuple[str, str]) -> None:
    """They look at no feature before they write a checkpoint, or clean a log that is old enough by the table's word."""
    storage, table = worked_on
    log = Path(table, "_delta_log")
    age(table, 60)
    entries = sorted(file.name for file in log.glob("*.json"))
    foreign = deltalake.DeltaTable(table)
    foreign.create_checkpoint()
    assert (log / f"{foreign.version():020}.checkpoint.parquet").exists(), "then this tests nothing"
    age(table, 60)
    deltalake.DeltaTable(table).cleanup_metadata()
    deltalake.DeltaTable(table).vacuum(enforce_retention_duration=False, dry_run=True)
    assert sorted(file.name for file in log.glob("*.json")) == entries, "entries of the ledger are gone"
    with Apiary("delta", storage=storage) as ap:
        frame = ap.frame("h.b.t")
        report = frame.verify(deep=True)
        assert report.ok and report.checkpoints == 0, report
        assert len(readers_agree(frame, table)) == 80
        # It stands where ours would; the next version has one again.
        with pytest.raises(sdk.ApiaryError, match="another object stands where this checkpoint belongs"):
            frame.checkpoint()
        frame.write(small(80, 10))
        assert frame.checkpoint().written
        assert len(readers_agree(frame, table)) == 90
    # A hint that names a checkpoint which is not there, and one that is no checkpoint.
    for hint in ['{"version":999,"size":1}', "{"]:
        (log / "_last_checkpoint").write_text(hint)
        with Apiary("delta", storage=storage) as ap:
            assert ap.frame("h.b.t").count() == 90
    for file in log.glob("*.checkpoint.parquet"):
        file.write_bytes(b"PAR1 not quite PAR1")
    with Apiary("delta", storage=storage) as ap:
        assert ap.frame("h.b.t").count() == 90
        [problem] = ap.frame("h.b.t").verify().problems
        assert "checkpoint" in problem.object and "delete it" in problem.advice


def sorted_plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Order aside, and text is text whatever its layout."""
    return frame.sort(frame.columns)


@pytest.mark.parametrize("name", TABLES)
def test_tpch_frames_read_right_elsewhere(tpch_bucket: str, tpch_files: Path, name: str) -> None:
    with Apiary("delta", storage=tpch_bucket) as ap:
        table = folder_of(tpch_bucket, ap, f"tpch.main.{name}")
    wanted = sorted_plain(pl.read_parquet(tpch_files / f"{name}.parquet"))
    for theirs in [pl.read_delta(table), pl.from_arrow(deltalake.DeltaTable(table).to_pyarrow_table())]:
        assert_frame_equal(sorted_plain(theirs.select(wanted.columns)), wanted)


def test_a_compacted_frame_reads_the_same(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", {"x": "int64", "k": "string"}, "k")
        for i in range(12):
            frame.write([{"x": i, "k": "ab"[i % 2]}])
        table = folder_of(storage, ap, "h.b.t")
    done = apiary("compact", "h.b.t", "--storage", storage, "--data-dir", str(tmp_path / "n"))
    assert "12" in done.stdout + done.stderr
    assert sorted(pl.read_delta(table)["x"]) == list(range(12))
    delta = deltalake.DeltaTable(table)
    assert len(delta.file_uris()) == 2
    assert sorted(delta.to_pyarrow_table()["x"].to_pylist()) == list(range(12))
