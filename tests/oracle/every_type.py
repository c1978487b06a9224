"""A column of every type that a frame takes, with its least and greatest values, and what Delta's readers find in it.

What is found is what docs/bucket-format.md says under Types. Not here is what a frame refuses:

- null, which has no values; intervals and unions, which Delta does not have; decimals of more than 38 digits or with a
  scale below zero; structs without fields;
- values finer than a frame keeps: nanoseconds within a microsecond, times of day in a `date64`;
- timestamps in nanoseconds and `date64` inside a list, a struct or a map, and views of lists: a frame is made for them,
  in microseconds, days and lists, and takes none of their rows until they are cast to these;
- a dictionary without words in a struct that is NULL: Arrow's own reader in Rust refuses it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

Picks = Sequence["int | None"]


@dataclass(frozen=True)
class Column:
    """`values` are as pyarrow takes them; `found` is what readers of Delta have instead, if that is not the same."""

    name: str
    type: pa.DataType
    delta: Any
    values: Sequence[Any]
    found: Sequence[Any] | None = None


def signed(bits: int) -> list[int]:
    return [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0]


def unsigned(bits: int) -> list[int]:
    return [0, 2**bits - 1, 1]


def decimals(digits: int, scale: int) -> list[Decimal]:
    return [
        Decimal((sign, [digit] * count, -scale)) for sign, digit, count in [(1, 9, digits), (0, 9, digits), (0, 1, 1)]
    ]


def array(element: Any) -> dict[str, Any]:
    return {"type": "array", "elementType": element, "containsNull": True}


def field(name: str, delta: Any) -> dict[str, Any]:
    return {"name": name, "type": delta, "nullable": True, "metadata": {}}


# The first and the last day of the calendar that ledgers spell bounds in, and one before 1970. The last second of each.
DAYS = [-719_162, 2_932_896, -1]
SECONDS = [day * 86_400 + 86_399 for day in DAYS]
TEXTS = ["", "näme \0 \n\"\\'% 🐝" + "z" * 5_000, "\U0010ffff" * 40]
BYTES = [b"", bytes(range(256)) * 4, b"\xff"]
FLOATS = [-math.inf, math.nan, -0.0]


def timestamps() -> list[Column]:
    columns = []
    for zone in [None, "UTC", "Europe/Zurich", "+05:30"]:
        delta = "timestamp" if zone else "timestamp_ntz"
        for unit, tick in [("s", 1), ("ms", 1_000), ("us", 1_000_000)]:
            values = [second * tick + tick - 1 for second in SECONDS]
            found = [value * (1_000_000 // tick) for value in values]
            columns.append(Column(f"timestamp_{unit}_{zone}", pa.timestamp(unit, zone), delta, values, found))
        far = [*signed(64)[:2], -1]
        columns.append(Column(f"timestamp_us_{zone}_far", pa.timestamp("us", zone), delta, far))
        whole = [value * 1_000 for value in (-(2**63) // 1_000 + 1, 2**63 // 1_000 - 1, -1)]
        found = [value // 1_000 for value in whole]
        columns.append(Column(f"timestamp_ns_{zone}", pa.timestamp("ns", zone), delta, whole, found))
    return columns


def nested() -> list[Column]:
    inner = [("u", pa.uint64(), "decimal(20,0)"), ("h", pa.float16(), "float"), ("t", pa.time32("ms"), "integer")]
    inner += [("s", pa.large_string(), "string"), ("l", pa.list_(pa.uint8()), array("short"))]
    pair = pa.struct([(name, data_type) for name, data_type, _ in inner])
    delta = {"type": "struct", "fields": [field(name, data_type) for name, _, data_type in inner]}
    full = {"u": 2**64 - 1, "h": -0.0, "t": 86_399_999, "s": "ä", "l": [255, None]}
    none: dict[str, Any] = dict.fromkeys(full)
    lists = [[], [2**32 - 1, None, 0], [None]]
    longs = signed(64)
    return [
        Column("list", pa.list_(pa.uint32()), array("long"), lists),
        Column("large_list", pa.large_list(pa.uint32()), array("long"), lists),
        Column("fixed_list", pa.list_(pa.int8(), 2), array("byte"), [[-128, 127], [None, None], [0, None]]),
        Column(
            "list_of_lists", pa.list_(pa.list_(pa.string())), array(array("string")), [[], [[], None], [["", None]]]
        ),
        Column(
            "list_of_words", pa.list_(pa.dictionary(pa.int8(), pa.string())), array("string"), [["a", "a"], [None], []]
        ),
        Column("list_of_times", pa.list_(pa.time64("ns")), array("long"), [[0, 86_399_999_999_999], [None], []]),
        Column("list_of_durations", pa.list_(pa.duration("s")), array("long"), [longs, [None], []]),
        Column("struct", pair, delta, [full, none, {**none, "l": []}]),
        Column("list_of_structs", pa.list_(pair), array(delta), [[full, None], [], [none]]),
        Column(
            "map",
            pa.map_(pa.string(), pa.uint8()),
            {"type": "map", "keyType": "string", "valueType": "short", "valueContainsNull": True},
            [[("", 255), ("b", None)], [], [("ä", 0)]],
        ),
    ]


COLUMNS = [
    Column("boolean", pa.bool_(), "boolean", [False, True, False]),
    Column("int8", pa.int8(), "byte", signed(8)),
    Column("int16", pa.int16(), "short", signed(16)),
    Column("int32", pa.int32(), "integer", signed(32)),
    Column("int64", pa.int64(), "long", signed(64)),
    Column("uint8", pa.uint8(), "short", unsigned(8)),
    Column("uint16", pa.uint16(), "integer", unsigned(16)),
    Column("uint32", pa.uint32(), "long", unsigned(32)),
    Column("uint64", pa.uint64(), "decimal(20,0)", unsigned(64)),
    Column("float16", pa.float16(), "float", [-65504.0, 65504.0, 2**-24]),
    Column("float32", pa.float32(), "float", [-(2**128 - 2**104.0), 2**128 - 2**104.0, 2**-149]),
    Column("float64", pa.float64(), "double", [-1.7976931348623157e308, 1.7976931348623157e308, 5e-324]),
    Column("float16_odd", pa.float16(), "float", FLOATS),
    Column("float32_odd", pa.float32(), "float", FLOATS),
    Column("float64_odd", pa.float64(), "double", FLOATS),
    Column("decimal32", pa.decimal32(9, 2), "decimal(9,2)", decimals(9, 2)),
    Column("decimal64", pa.decimal64(18, 18), "decimal(18,18)", decimals(18, 18)),
    Column("decimal128", pa.decimal128(38, 0), "decimal(38,0)", decimals(38, 0)),
    Column("decimal128_scaled", pa.decimal128(38, 38), "decimal(38,38)", decimals(38, 38)),
    Column("decimal256", pa.decimal256(38, 5), "decimal(38,5)", decimals(38, 5)),
    Column("string", pa.string(), "string", TEXTS),
    Column("large_string", pa.large_string(), "string", TEXTS),
    Column("string_view", pa.string_view(), "string", TEXTS),
    Column("dictionary", pa.dictionary(pa.int8(), pa.string()), "string", TEXTS),
    Column("dictionary_of_numbers", pa.dictionary(pa.uint16(), pa.int64()), "long", signed(64)),
    Column("binary", pa.binary(), "binary", BYTES),
    Column("large_binary", pa.large_binary(), "binary", BYTES),
    Column("binary_view", pa.binary_view(), "binary", BYTES),
    Column("fixed_binary", pa.binary(3), "binary", [bytes(3), b"\xff" * 3, b"abc"]),
    Column("date32", pa.date32(), "date", DAYS),
    Column("date32_far", pa.date32(), "date", signed(32)),
    Column("date64", pa.date64(), "date", [day * 86_400_000 for day in DAYS], DAYS),
    Column("time32_s", pa.time32("s"), "integer", [0, 86_399, 1]),
    Column("time32_ms", pa.time32("ms"), "integer", [0, 86_399_999, 1]),
    Column("time64_us", pa.time64("us"), "long", [0, 86_399_999_999, 1]),
    Column("time64_ns", pa.time64("ns"), "long", [0, 86_399_999_999_999, 1]),
    *[Column(f"duration_{unit}", pa.duration(unit), "long", signed(64)) for unit in ["s", "ms", "us", "ns"]],
    *timestamps(),
    *nested(),
]

# Readers take bounds of a frame's first 32 columns alone.
GROUPS = [COLUMNS[at : at + 20] for at in range(0, len(COLUMNS), 20)]


def schema(columns: Sequence[Column] = COLUMNS) -> pa.Schema:
    return pa.schema([("row", pa.int64()), *[(column.name, column.type) for column in columns]])


def rows(first: int, picks: Picks, columns: Sequence[Column] = COLUMNS) -> pa.Table:
    """Rows from `first` on, each with the value of that number in every column, or with NULL in all of them."""
    values = [
        pa.array([None if pick is None else column.values[pick] for pick in picks], column.type) for column in columns
    ]
    return pa.table([pa.array(range(first, first + len(picks)), pa.int64()), *values], schema(columns))


def found(column: Column, picks: Picks) -> list[Any]:
    """What readers of Delta must find where `rows` was written."""
    values = column.values if column.found is None else column.found
    return [None if pick is None else plain(values[pick]) for pick in picks]


def facts(column: pa.ChunkedArray) -> list[Any]:
    """A reader's column as `found` says it: dates, times and durations as numbers, also where Python has none."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32())
    return [plain(value) for value in column.to_pylist()]


def plain(value: Any) -> Any:
    """A value that equals another's if no bit of it was lost: NaN and -0.0 are told apart by their text."""
    if isinstance(value, float):
        return repr(value)
    # A map is a list of pairs to pyarrow, and a dict to polars, as structs are to both.
    inner = value.items() if isinstance(value, dict) else value
    return [plain(one) for one in inner] if isinstance(value, (dict, list, tuple)) else value


def is_spelled_right(table: str) -> None:
    """The frame's schema is in Delta's words what the format says."""
    wanted = [field("row", "long"), *[field(column.name, column.delta) for column in COLUMNS]]
    assert json.loads(deltalake.DeltaTable(table).schema().to_json())["fields"] == wanted


def reads_right(table: str, picks: Picks, version: int | None = None, rows: pa.Table | None = None) -> None:
    """Both readers, and `rows` of ours, have in every column what the format says, row after row."""
    theirs = deltalake.DeltaTable(table, version=version).to_pyarrow_table()
    seen = {"deltalake": theirs, "polars": pl.read_delta(table, version=version).to_arrow()}
    if rows is not None:
        # Back from the frame's own types, or those of its cells would not be the same inside lists and structs.
        seen["apiary"] = rows.select(theirs.column_names).cast(theirs.schema)
    for who, rows in seen.items():
        rows = rows.sort_by("row")
        for column in COLUMNS:
            assert facts(rows[column.name]) == found(column, picks), f"{who}, version {version}: {column.name}"


def bounds_prune_right(table: str, picks: Picks, columns: Sequence[Column]) -> None:
    """Each value is found by a filter, which both readers hold against our statistics."""
    delta, lazy = deltalake.DeltaTable(table), pl.scan_delta(table)
    dataset, types = delta.to_pyarrow_dataset(), lazy.collect_schema()
    rows = dataset.to_table().sort_by("row")
    cells = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    for column in columns:
        wanted = found(column, picks)
        # Lists, structs and maps have no bounds, and NaN is equal to nothing.
        for value in {value for value in wanted if value not in (None, "nan")} if isinstance(column.delta, str) else ():
            at = [row for row, fact in enumerate(wanted) if fact == value]
            is_it = pl.col(column.name) == pl.lit(value).cast(types[column.name])
            seen = lazy.filter(is_it).select("row").collect()["row"].to_list()
            assert sorted(seen) == at, f"polars: {column.name} = {value}"
            if all(is_bounded(cell, column.name) for cell in cells):
                is_it = ds.field(column.name) == rows[column.name][at[0]]
                seen = dataset.to_table(columns=["row"], filter=is_it)["row"].to_pylist()
                assert sorted(seen) == at, f"deltalake: {column.name} = {value}"


def is_bounded(cell: dict[str, Any], name: str) -> bool:
    """Whether deltalake can filter: a bound that is not there it compares with as with NULL (1.6, in tables of its own
    as well), and then finds nothing. Its SQL and its reads without a filter are right."""
    bounds = (cell.get(f"min.{name}", 0), cell.get(f"max.{name}", 0))
    return None not in bounds or cell[f"null_count.{name}"] == cell["num_records"]
