"""Every frame reads right in the world's Delta readers, and foreign writers are refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import deltalake
import polars as pl
import pytest
from apiary import Apiary

from polars.testing import assert_frame_equal

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


def test_foreign_writers_are_refused(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    with Apiary("delta", storage=storage) as ap:
        frame = ap.create_hive("h").create_box("b").create_frame("t", {"x": "int64"})
        frame.write([{"x": 1}])
        table = folder_of(storage, ap, "h.b.t")
    with pytest.raises(Exception, match="(?i)writer|feature|unsupported"):
        deltalake.write_deltalake(table, pl.DataFrame({"x": [2]}), mode="append")
    assert pl.read_delta(table).height == 1


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
