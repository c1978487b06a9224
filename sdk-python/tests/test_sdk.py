"""The SDK as its users type it, over both transports."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import apiary
import colony
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from apiary import Apiary

SCHEMA = {"timestamp": "datetime", "region": "string", "temp": "float64"}
NOON = datetime.datetime(2026, 11, 20, 12)
COUNT = 0


@pytest.fixture
def frame(ap: Apiary) -> apiary.Frame:
    """An empty frame of its own."""
    global COUNT
    COUNT += 1
    return ap.create_hive("suite").create_box("sdk").create_frame(f"t{COUNT}", SCHEMA, partition_by=["region"])


def table() -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([NOON, NOON, NOON], pa.timestamp("us")),
            "region": ["north", "south", "north"],
            "temp": [1.0, 2.0, 3.0],
        }
    )


def test_the_snippet_runs_as_it_stands_and_twice(tmp_path: Path) -> None:
    snippet = f"""
import os
os.environ["APIARY_HOME"] = {str(tmp_path)!r}
import pyarrow as pa, datetime
table = pa.table({{"timestamp": pa.array([datetime.datetime(2026, 11, 20)] * 4, pa.timestamp("us")),
                   "region": ["north", "south", "north", "south"], "temp": [1.0, 2.0, 3.0, 6.0]}})
from apiary import Apiary
ap = Apiary("production")
ap.start()
hive = ap.create_hive("analytics")
box = hive.create_box("sensors")
frame = box.create_frame("temperature",
    schema={{"timestamp": "datetime", "region": "string", "temp": "float64"}},
    partition_by=["region"])
frame.write(table)
result = ap.sql("SELECT region, avg(temp) FROM analytics.sensors.temperature GROUP BY region")
print(sorted(result.fetchall()))
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "[('north', 2.0), ('south', 4.0)]"


@pytest.mark.parametrize(
    "data",
    [
        table(),
        table().to_batches()[0],
        pl.from_arrow(table()),
        table().to_pandas(),
        table().to_pylist(),
        table().to_pydict(),
        [{"timestamp": "2026-11-20T12:00:00", "region": r, "temp": t} for r, t in [("north", 1), ("south", 2), ("north", 3)]],
    ],
    ids=["pyarrow", "batch", "polars", "pandas", "rows", "columns", "iso"],
)
def test_every_kind_of_table_goes_in(frame: apiary.Frame, data: object) -> None:
    written = frame.write(data)
    assert (written.rows, written.cells, written.version) == (3, 2, 1)
    assert written.bytes > 0 and 0 <= written.temperature <= 1 and not written.already_applied
    assert frame.count() == 3
    assert sorted(frame.read().fetchall()) == [(NOON, "north", 1.0), (NOON, "north", 3.0), (NOON, "south", 2.0)]


def test_every_kind_of_table_comes_out(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(table())
    ask = lambda: ap.sql(f"SELECT region, sum(temp) AS total FROM {frame.path} GROUP BY region ORDER BY region")  # noqa: E731
    expected = [{"region": "north", "total": 4.0}, {"region": "south", "total": 2.0}]
    assert ask().to_arrow().to_pylist() == expected
    assert ask().to_polars().to_dicts() == expected
    assert ask().to_pandas().to_dict("records") == expected
    assert ask().to_pylist() == expected
    assert ask().to_pydict() == {"region": ["north", "south"], "total": [4.0, 2.0]}
    assert ask().fetchall() == [("north", 4.0), ("south", 2.0)]
    assert ask().scalar() == "north"
    assert [row for row in ask()] == ask().fetchall()
    assert pl.DataFrame(ask()).height == 2
    assert pa.RecordBatchReader.from_stream(ask()).read_all().num_rows == 2
    assert "north" in repr(ask()) and "<td>north</td>" in ask()._repr_html_()
    twice = ask()
    assert twice.to_arrow().num_rows == twice.to_polars().height == len(twice) == 2


def test_a_plan_prints_as_its_lines(ap: Apiary, frame: apiary.Frame, capsys: pytest.CaptureFixture[str]) -> None:
    frame.write(table())
    sql = f"EXPLAIN SELECT * FROM {frame.path} WHERE region = 'north'"
    lines = repr(ap.sql(sql)).splitlines()
    assert lines[0].startswith("local ") and lines[2] == "  1 pruned by partition region = 'north'"
    ap.sql(sql).show()
    assert capsys.readouterr().out.splitlines() == lines
    assert ap.sql(sql)._repr_html_().startswith("<pre>local ")



def test_a_result_says_what_it_took(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(table())
    result = ap.sql(f"SELECT * FROM {frame.path} WHERE region = 'north'")
    stats = result.stats
    assert (stats.rows, stats.cells_read, stats.cells_total) == (2, 1, 2)
    assert "1 of 2 cells" in result.footer()


def test_an_empty_result_keeps_its_columns(ap: Apiary, frame: apiary.Frame) -> None:
    result = ap.sql(f"SELECT region, temp FROM {frame.path}")
    assert result.columns == ["region", "temp"] and len(result) == 0 and result.scalar() is None
    assert result.to_arrow().column_names == ["region", "temp"]
    assert result.to_polars().columns == ["region", "temp"]


def test_all_types_make_the_round(ap: Apiary) -> None:
    schema = {
        "b": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
        "u32": "uint32", "f32": "float32", "f64": "float64", "s": "string", "x": "binary", "d": "date",
        "t": "datetime", "z": "timestamptz", "n": "decimal(20,3)",
    }  # fmt: skip
    row = {
        "b": True, "i8": -8, "i16": -16, "i32": -32, "i64": -(2**62), "u8": 255, "u16": 2**16 - 1, "u32": 2**32 - 1,
        "f32": 0.5, "f64": 0.1, "s": "ünï", "x": b"\x00\xff", "d": datetime.date(1969, 12, 31),
        "t": datetime.datetime(2026, 11, 20, 1, 2, 3, 456), "n": Decimal("-12345678901234567.125"),
        "z": datetime.datetime(1900, 1, 1, tzinfo=datetime.timezone.utc),
    }  # fmt: skip
    frame = ap.create_hive("suite").create_box("types").create_frame("all", schema)
    frame.write([row, dict.fromkeys(row)])
    got = [r for r in frame.read().to_pylist()]
    assert row in got and dict.fromkeys(row) in got
    described = frame.describe()
    assert described.columns["n"] == "decimal(20,3)" and described.columns["z"] == "timestamptz"


def test_creating_again_returns_it_and_a_difference_is_named(ap: Apiary) -> None:
    box = ap.create_hive("suite").create_box("again")
    box.create_frame("t", SCHEMA, partition_by=["region"]).write(table())
    assert box.create_frame("t", SCHEMA, partition_by=["region"]).count() == 3
    with pytest.raises(apiary.AlreadyExistsError, match="temp"):
        box.create_frame("t", {**SCHEMA, "temp": "int64"}, partition_by=["region"])
    with pytest.raises(apiary.AlreadyExistsError):
        box.create_frame("t", SCHEMA)
    assert [f.name for f in box.frames()] == ["t"]


def test_use_and_set_stay_with_the_session(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(table())
    ap.use_hive("suite")
    ap.use_box("sdk")
    assert ap.sql(f"SELECT count(*) FROM {frame.name}").scalar() == 3
    assert ap.frame(frame.name).count() == 3
    ap.sql("SET execution = local")
    assert ap.sql(f"SELECT sum(temp) FROM {frame.name}").stats.execution == "local"
    with pytest.raises(apiary.ApiaryError):
        ap.sql("SET exekution = local")


def test_the_same_key_writes_once(frame: apiary.Frame) -> None:
    first = frame.write(table(), idempotency_key="monday")
    again = frame.write(table(), idempotency_key="monday")
    assert again.already_applied and again.version == first.version and frame.count() == 3
    with pytest.raises(apiary.IdempotencyKeyReused):
        frame.write(table().slice(0, 1), idempotency_key="monday")


def test_mistakes_raise_what_they_resemble(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(table())
    with pytest.raises(apiary.NotFoundError) as missing:
        ap.sql(f"SELECT * FROM {frame.path}x")
    assert frame.path in str(missing.value) and isinstance(missing.value, LookupError)
    with pytest.raises(apiary.SqlSyntaxError) as syntax:
        ap.sql("SELEC 1")
    assert "^" in str(syntax.value)
    with pytest.raises(apiary.SchemaMismatchError, match="temp"):
        frame.write(table().set_column(2, "temp", pa.array(["a", "b", "c"])))
    with pytest.raises(apiary.SchemaMismatchError, match="row 1, column 'temp'"):
        frame.write([{"region": "x", "temp": 1.0}, {"region": "x", "temp": "hot"}])
    with pytest.raises(apiary.SchemaMismatchError, match="did you mean 'region'"):
        frame.write([{"regoin": "x", "temp": 1.0}])
    with pytest.raises(apiary.ApiaryError, match="region"):
        frame.write([{"region": None, "temp": 1.0}])
    with pytest.raises(apiary.InvalidInputError, match="flaot64"):
        ap.create_frame("suite", "sdk", "never", {"x": "flaot64"})
    with pytest.raises(apiary.InvalidInputError):
        ap.create_hive("a/b")
    with pytest.raises(apiary.InvalidInputError):
        frame.write(42)
    assert frame.count() == 3


def test_a_source_that_breaks_writes_nothing(frame: apiary.Frame) -> None:
    def batches():
        yield table().to_batches()[0]
        raise ValueError("the sensor fell off")

    with pytest.raises(apiary.ApiaryError, match="sensor"):
        frame.write(pa.RecordBatchReader.from_batches(table().schema, batches()))
    assert frame.count() == 0


def test_a_large_table_streams(ap: Apiary, frame: apiary.Frame) -> None:
    n = 200_000
    big = pl.DataFrame({"region": ["north", "south"] * (n // 2), "temp": [float(i) for i in range(n)]})
    assert frame.write(big.with_columns(timestamp=pl.lit(NOON))).rows == n
    seen = sum(batch.num_rows for batch in pa.RecordBatchReader.from_stream(frame.read()))
    assert seen == n
    assert ap.sql(f"SELECT max(temp) FROM {frame.path}").scalar() == n - 1


def test_status_shows_the_node(ap: Apiary) -> None:
    status = ap.status()
    assert status["regime"] in {"cold", "ideal", "warm", "hot", "critical"}
    assert any(node["state"] == "alive" for node in status["nodes"])


def test_pandas_of_nothing_but_lists(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(pd.DataFrame({"timestamp": [NOON], "region": ["x"], "temp": [1.5]}))
    assert frame.read().to_pandas()["temp"].tolist() == [1.5]


def test_no_coordinator_is_a_connection_error() -> None:
    with pytest.raises(apiary.ConnectionLost) as lost:
        Apiary.connect("grpc://127.0.0.1:9")
    assert isinstance(lost.value, ConnectionError)


def test_two_sessions_share_a_name_and_the_command_line_sees_them(tmp_path: Path) -> None:
    with Apiary("shared") as one, Apiary("shared") as other:
        frame = one.create_hive("h").create_box("b").create_frame("f", schema={"x": "int64"})
        frame.write([{"x": 1}])
        assert other.sql("SELECT count(*) FROM h.b.f").scalar() == 1
    bucket = str(Path(os.environ["APIARY_HOME"]) / "shared")
    seen = colony.apiary("sql", "SELECT x FROM h.b.f", "--storage", bucket, "--data-dir", str(tmp_path / "node"))
    assert seen.stdout == "x\n1\n"


def test_what_is_left_of_a_pandas_frame_can_be_written(ap: Apiary, frame: apiary.Frame) -> None:
    data = table().to_pandas()
    assert frame.write(data[data["temp"] > 1.0].sort_values("temp", ascending=False)).rows == 2


def test_a_frame_tells_its_history_and_its_cells(frame: apiary.Frame) -> None:
    frame.write(table())
    frame.write(table())
    frame.compact()
    told = frame.history()
    assert [entry.version for entry in told] == list(range(len(told) - 1, -1, -1))
    assert [entry.operation for entry in told[-3:]] == ["append", "append", "create"]
    assert (told[-2].rows_added, told[-2].rows_removed, told[-2].cells_added) == (3, 0, 2)
    assert told[0].operation == "compaction" and told[0].rows_added == told[0].rows_removed
    assert abs((datetime.datetime.now(datetime.timezone.utc) - told[0].time).total_seconds()) < 600
    assert frame.history(1) == told[:1]
    with pytest.raises(apiary.InvalidInputError):
        frame.history(0)

    cells = {cell.partition["region"]: cell for cell in frame.cells()}
    assert {region: cell.rows for region, cell in cells.items()} == {"north": 4, "south": 2}
    temp = cells["north"].bounds["temp"]
    assert (temp.min, temp.max, temp.nulls, temp.min_exact) == ("1", "3", 0, True)
    assert sum(cell.bytes for cell in cells.values()) == frame.describe().bytes


def test_a_frame_is_checked_down_to_its_cells(ap: Apiary, frame: apiary.Frame) -> None:
    frame.write(table())
    report = frame.verify(deep=True)
    assert report.ok and report.frame == frame.path and report.problems == []
    assert (report.version, report.entries, report.cells, report.rows, report.cells_opened) == (1, 2, 2, 3, 2)
    everything = ap.verify()
    assert everything[0].frame is None and frame.path in {report.frame for report in everything}
    assert all(report.ok for report in everything)
    with pytest.raises(apiary.NotFoundError):
        ap.frame("suite.sdk.nowhere").verify()


def test_a_vacuum_lists_before_it_deletes(ap: Apiary) -> None:
    frame = ap.create_hive("suite").create_box("vacuum").create_frame("small", {"n": "int64"})
    for n in range(3):
        frame.write([{"n": n}])
    frame.compact()
    early = frame.vacuum(run=True)
    assert (early.frame, early.deleted_files, early.kept_files, early.current_files) == ("suite.vacuum.small", 0, 3, 1)
    assert {file.code for file in early.files} == {"young"} and not any(file.goes for file in early.files)
    with pytest.raises(apiary.InvalidInputError, match="less than an hour"):
        frame.vacuum(run=True, retain=datetime.timedelta(minutes=59))
    told = frame.vacuum(retain=datetime.timedelta(0), force=True)
    assert (told.run, told.deleted_files, told.version) == (False, 3, 4)
    assert all(file.goes and file.reason.startswith("removed by version 4") for file in told.files)
    done = frame.vacuum(run=True, retain=datetime.timedelta(0), force=True)
    assert (done.run, done.deleted_files, done.deleted_bytes) == (True, 3, told.deleted_bytes)
    assert frame.vacuum(retain=datetime.timedelta(0), force=True).deleted_files == 0
    assert sorted(row[0] for row in frame) == [0, 1, 2]
    assert frame.verify(deep=True).ok
    rest = ap.vacuum()[-1]
    assert (rest.frame, rest.refused, rest.run) == (None, None, False)


def test_a_frame_and_its_partitions_are_overwritten(frame: apiary.Frame) -> None:
    frame.write(table())
    regions = lambda: sorted(region for _, region, _ in frame.read().fetchall())  # noqa: E731
    south = [{"timestamp": NOON, "region": "south", "temp": t} for t in (7.0, 8.0)]
    written = frame.overwrite(south, partitions=[{"region": "south"}], idempotency_key="monday")
    assert (written.version, written.rows) == (2, 2)
    assert regions() == ["north", "north", "south", "south"]
    again = frame.overwrite(south, partitions=[{"region": "south"}], idempotency_key="monday")
    assert again.already_applied and again.version == 2
    with pytest.raises(apiary.IdempotencyKeyReused):
        frame.overwrite(south, idempotency_key="monday")
    with pytest.raises(apiary.ApiaryError, match="south"):
        frame.overwrite(south, partitions=[{"region": "north"}])
    with pytest.raises(apiary.ApiaryError, match="region"):
        frame.overwrite(south, partitions=[{"reg": "south"}])
    with pytest.raises(apiary.InvalidInputError):
        frame.overwrite(south, partitions=[])
    with pytest.raises(apiary.ConflictError):
        frame.overwrite(south, expected_version=1)
    assert regions() == ["north", "north", "south", "south"]
    assert frame.overwrite(table().slice(0, 0), partitions=[{"region": "north"}]).rows == 0
    assert regions() == ["south", "south"]
    assert frame.overwrite(table(), expected_version=frame.describe().version).rows == 3
    assert regions() == ["north", "north", "south"]
    told = frame.history(1)[0]
    assert (told.operation, told.rows_added, told.rows_removed) == ("overwrite", 3, 2)


def test_partitions_of_any_type_can_be_named(ap: Apiary) -> None:
    day, at = datetime.date(2026, 11, 20), datetime.datetime(2026, 11, 20, 1, 2, 3, 4, datetime.timezone.utc)
    values = {"b": True, "i": -7, "n": Decimal("12.50"), "d": day, "z": at, "t": NOON, "s": "a/b"}
    types = {"b": "bool", "i": "int32", "n": "decimal(9,2)", "d": "date", "z": "timestamptz", "t": "datetime", "s": "string"}
    frame = ap.create_hive("suite").create_box("parts").create_frame("all", {**types, "x": "int64"}, list(types))
    frame.write([{**values, "x": 1}, {**values, "i": 8, "x": 2}])
    frame.overwrite([{**values, "x": 3}], partitions=[values])
    assert sorted(row["x"] for row in frame.read().to_pylist()) == [2, 3]


def test_a_checkpoint_is_written_once(frame: apiary.Frame) -> None:
    frame.write(table())
    first, again = frame.checkpoint(), frame.checkpoint(clean_older_than=datetime.timedelta(days=7))
    assert (first.version, first.written, first.cells) == (1, True, 2) and first.bytes > 0
    assert (again.version, again.written, again.cleaned_below, again.entries_deleted) == (1, False, None, 0)
    assert frame.verify().checkpoints == 1
