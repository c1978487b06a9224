"""What the documents say a program can do, it does: their code runs here, and their promises have the tests they name."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from apiary import Apiary

from rows import assert_same_rows

DOCS = Path(__file__).parents[2] / "docs"


def python_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def row(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "price": Decimal(i * 37) / 100,
        "name": None if i % 5 == 0 else f"näme {i}",
        "day": datetime.date(2026, 11, 20) + datetime.timedelta(days=i),
        "at": datetime.datetime(2026, 11, 20, i % 24, tzinfo=datetime.timezone.utc),
        "region": ["north", "east & west/100%"][i % 2],
    }


SCHEMA = {
    "id": "int64", "price": "decimal(15,2)", "name": "string", "day": "date", "at": "timestamptz", "region": "string"
}  # fmt: skip


def test_a_reader_written_from_the_bucket_format_alone_reads_every_row(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    [source] = python_of("bucket-format.md")
    reader: dict[str, Any] = {}
    exec(source, reader)  # noqa: S102 - our own page

    def check(ap: Apiary, path: str) -> None:
        version, table = reader["read_frame"](url2pathname(urlparse(storage).path), path)
        assert version == ap.frame(path).describe().version
        theirs = [tuple(found[name] for name in SCHEMA) for found in table.to_pylist()]
        assert_same_rows(theirs, ap.frame(path).read().fetchall(), f"version {version}")

    with Apiary("docs", storage=storage) as ap:
        box = ap.create_hive("Büro").create_box("b")
        frame = box.create_frame("t 1", SCHEMA, partition_by=["region"])
        box.create_frame("other", {"x": "int64"}).write([{"x": 1}])
        for n in range(6):
            frame.write([row(i) for i in range(n * 10, n * 10 + 10)])
        check(ap, "büro.B.T 1")
        assert frame.compact()["cells_after"] == 2
        check(ap, "Büro.b.t 1")
        frame.checkpoint()
        frame.write([row(1000)])
        check(ap, "Büro.b.t 1")
        # With the entries before it out of sight it is the checkpoint that is read, and not with a wrong checksum.
        log = next(Path(url2pathname(urlparse(storage).path)).glob("*/b/t-1-*/_delta_log"))
        [checkpoint] = log.glob("*.checkpoint.parquet")
        version = int(checkpoint.name.split(".")[0])
        hidden = [(log / f"{v:020}.json", (log / f"{v:020}.json").read_bytes()) for v in range(version)]
        for entry, _ in hidden:
            entry.unlink()
        check(ap, "Büro.b.t 1")
        for entry, body in hidden:
            entry.write_bytes(body)
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
        check(ap, "Büro.b.t 1")
