"""Data that several oracle tests share, made once a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from colony import BIN
from tpch import import_tpch

@pytest.fixture(scope="session")
def tpch_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TPC-H at scale 0.1, a Parquet file a table."""
    folder = tmp_path_factory.mktemp("tpch")
    subprocess.run([BIN / "tpch-data", folder, "0.1"], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def tpch_bucket(tpch_files: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A local bucket that holds TPC-H."""
    folder = tmp_path_factory.mktemp("bucket")
    storage = (folder / "bucket").as_uri()
    import_tpch(tpch_files, "--storage", storage, "--data-dir", str(folder / "node"))
    return storage
