"""The frames of the correctness gate: every type, NULLs, NaN, extremes, an empty frame, a frame of one cell, a thousand
columns. The same tables go into a bucket and into DataFusion in one process, which is the oracle."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path

import datafusion
import pyarrow as pa
from apiary import Apiary

REGIONS = ["north", "south", "east", "west", None]
WORDS = ["", "a", "apple", "Apple", "äpfel", "zebra", "zé", "naïve", "50%", "under_score", "line\nbreak", "😀 bee", "ß" * 30]
SPECIAL = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1e308, -1e308, 5e-324, 9007199254740993.0]
EPOCH = dt.datetime(1970, 1, 1)


def _maybe(rng: random.Random, share: float, value: object) -> object:
    return None if rng.random() < share else value


def events(rows: int = 6000, seed: int = 1) -> pa.Table:
    """The large one: mostly common values, so that joins meet, some extremes, NULLs in every column but `id`."""
    rng = random.Random(seed)
    null = 0.06
    columns: dict[str, pa.Array] = {
        "id": pa.array(range(rows), pa.int64()),
        "k": pa.array([_maybe(rng, null, rng.randrange(25)) for _ in range(rows)], pa.int32()),
        "n": pa.array([_maybe(rng, null, rng.choice([rng.randrange(-1000, 1000), 2**53 + 1, -(2**53) - 1]))
                       for _ in range(rows)], pa.int64()),
        "v": pa.array([_maybe(rng, null, rng.choice([round(rng.uniform(-100, 100), 2)] * 30 + SPECIAL))
                       for _ in range(rows)], pa.float64()),
        "price": pa.array([_maybe(rng, null, Decimal(rng.randrange(-99999, 999999)) / 100) for _ in range(rows)],
                          pa.decimal128(12, 2)),
        "wide_price": pa.array([_maybe(rng, null, Decimal(rng.randrange(-(10**24), 10**24)) / 10**10)
                                for _ in range(rows)], pa.decimal128(38, 10)),
        "day": pa.array([_maybe(rng, null, dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(400)))
                         for _ in range(rows)], pa.date32()),
        "at": pa.array([_maybe(rng, null, dt.datetime(2024, 1, 1) + dt.timedelta(seconds=rng.randrange(3 * 10**7)))
                        for _ in range(rows)], pa.timestamp("us")),
        "zoned": pa.array([_maybe(rng, null, EPOCH + dt.timedelta(seconds=rng.randrange(2 * 10**9)))
                           for _ in range(rows)], pa.timestamp("us", "UTC")),
        "s": pa.array([_maybe(rng, null, rng.choice(WORDS)) for _ in range(rows)], pa.string()),
        "code": pa.array([_maybe(rng, null, f"c-{rng.randrange(500):05}") for _ in range(rows)], pa.string()),
        "flag": pa.array([_maybe(rng, null, rng.random() < 0.4) for _ in range(rows)], pa.bool_()),
        "bytes": pa.array([_maybe(rng, null, rng.randbytes(rng.randrange(6))) for _ in range(rows)], pa.binary()),
        "region": pa.array([rng.choice(REGIONS) for _ in range(rows)], pa.string()),
    }  # fmt: skip
    return pa.table(columns)


def dims() -> pa.Table:
    rng = random.Random(2)
    return pa.table({
        "k": pa.array([*range(20), 30, 31, None, 3, 3], pa.int32()),
        "name": pa.array([_maybe(rng, 0.1, f"name {n % 17}") for n in range(25)], pa.string()),
        "w": pa.array([_maybe(rng, 0.1, rng.randrange(60)) for _ in range(25)], pa.int64()),
        "rate": pa.array([Decimal(rng.randrange(1000)) / 1000 for _ in range(25)], pa.decimal128(9, 3)),
        "region": pa.array([rng.choice(REGIONS) for _ in range(25)], pa.string()),
    })  # fmt: skip


def every() -> pa.Table:
    """A column of every type, with its extremes."""
    def ints(bits: int, signed: bool) -> list[int | None]:
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return [low, high, 0, 1, None, 7]

    stamps = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59), EPOCH, dt.datetime(2024, 2, 29, 12), None, EPOCH]
    near = [dt.datetime(1700, 1, 1), dt.datetime(2200, 12, 31), EPOCH, dt.datetime(2024, 2, 29, 12), None, EPOCH]
    columns: dict[str, pa.Array] = {"id": pa.array(range(6), pa.int64())}
    for bits in (8, 16, 32, 64):
        columns[f"i{bits}"] = pa.array(ints(bits, True), getattr(pa, f"int{bits}")())
        columns[f"u{bits}"] = pa.array(ints(bits, False), getattr(pa, f"uint{bits}")())
    floats = [float("nan"), float("inf"), -0.0, 0.0, None, 1.5]
    columns |= {
        "f32": pa.array(floats, pa.float32()),
        "f64": pa.array(floats, pa.float64()),
        "dec": pa.array([Decimal("99999.99"), Decimal("-99999.99"), Decimal(0), Decimal("0.01"), None, Decimal(7)],
                        pa.decimal128(7, 2)),
        "dec38": pa.array([Decimal(10**38 - 1), Decimal(-(10**38) + 1), Decimal(0), Decimal(1), None, Decimal(7)],
                          pa.decimal128(38, 0)),
        "txt": pa.array(["", "é", "x" * 300, "a", None, "NULL"], pa.string()),
        "large_txt": pa.array(["", "é", "x" * 300, "a", None, "NULL"], pa.large_string()),
        "bin": pa.array([b"", b"\x00", b"\xff" * 70, b"a", None, b"b"], pa.binary()),
        "yes": pa.array([True, False, True, False, None, True], pa.bool_()),
        "d32": pa.array([s.date() if s else None for s in stamps], pa.date32()),
        "ts_us": pa.array(stamps, pa.timestamp("us")),
        "ts_ms": pa.array(stamps, pa.timestamp("ms")),
        "ts_s": pa.array(stamps, pa.timestamp("s")),
        "ts_ns": pa.array(near, pa.timestamp("ns")),
        "ts_tz": pa.array(near, pa.timestamp("us", "UTC")),
        "t64": pa.array([dt.time(0), dt.time(23, 59, 59, 999999), dt.time(12), dt.time(1), None, dt.time(2)], pa.time64("us")),
    }  # fmt: skip
    return pa.table(columns)


def thousand_columns() -> pa.Table:
    return pa.table({f"c{n:03}": pa.array([(n * row) % 97 if (n + row) % 11 else None for row in range(40)], pa.int32())
                     for n in range(1000)})  # fmt: skip


def tables() -> dict[str, tuple[list[pa.Table], list[str]]]:
    """Frame: the tables written to it, one transaction each, and its partition columns."""
    large = events()
    thirds = [large.slice(start, 2000) for start in range(0, 6000, 2000)]
    return {
        "events": (thirds, []),
        "parts": ([large.slice(0, 1500), large.slice(1500, 1500)], ["region"]),
        "dims": ([dims()], []),
        "every": ([every().slice(0, 3), every().slice(3, 3)], []),
        "single": ([dims().slice(0, 7)], []),
        "nothing": ([dims().slice(0, 0)], []),
        "broad": ([thousand_columns()], []),
    }


def fill(folder: Path) -> str:
    """A local bucket with the frames in `gate.main`; returns its URI."""
    storage = (folder / "bucket").as_uri()
    with Apiary("gate", storage=storage) as ap:
        box = ap.create_hive("gate").create_box("main")
        for name, (pieces, partition_by) in tables().items():
            pieces = [_without_null_partitions(piece, partition_by) for piece in pieces]
            frame = box.create_frame(name, pieces[0].schema, partition_by=partition_by)
            for piece in pieces:
                if piece.num_rows:
                    frame.write(piece)
    return storage


def oracle(partitions: int = 3) -> datafusion.SessionContext:
    """DataFusion alone, with the same tables."""
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(partitions))
    for name, (pieces, partition_by) in tables().items():
        whole = pa.concat_tables(_without_null_partitions(piece, partition_by) for piece in pieces)
        context.register_record_batches(name, [whole.to_batches() or [pa.RecordBatch.from_pylist([], whole.schema)]])
    return context


def _without_null_partitions(piece: pa.Table, partition_by: list[str]) -> pa.Table:
    for column in partition_by:
        piece = piece.filter(piece[column].is_valid())
    return piece


def rows_of(context: datafusion.SessionContext, sql: str) -> list[tuple]:
    """What DataFusion answers."""
    rows: list[tuple] = []
    for batch in context.sql(sql).collect():
        rows.extend(zip(*(column.to_pylist() for column in batch.columns), strict=True) if batch.num_columns
                    else [()] * batch.num_rows)  # fmt: skip
    return rows
