"""TPC-H: its tables, and how they come into a colony."""

from __future__ import annotations

from pathlib import Path

from colony import apiary

TABLES = ["region", "nation", "supplier", "part", "partsupp", "customer", "orders", "lineitem"]


def import_tpch(files: Path, *target: str, env: dict[str, str] | None = None) -> None:
    """Imports every table through the command line."""
    for table in TABLES:
        apiary("import", str(files / f"{table}.parquet"), "--into", f"tpch.main.{table}", "--create", *target,
               env=env or {})  # fmt: skip
