"""Mistakes, each with a clear error and nothing lost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from colony import BIN, apiary, colony, environment, free_port, s3_server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that open a small bucket with one frame of three rows."""
    folder = tmp_path_factory.mktemp("bad")
    file = folder / "rows.parquet"
    pl.DataFrame({"region": ["north", "south", "north"], "temp": [1.5, 2.5, 3.5]}).write_parquet(file)
    where = ["--storage", (folder / "bucket").as_uri(), "--data-dir", str(folder / "node")]
    apiary("import", str(file), "--into", "demo.sensors.temperature", "--create", "--partition-by", "region", *where)
    return where


def count(bucket: list[str]) -> int:
    done = apiary("sql", "SELECT count(*) AS n FROM demo.sensors.temperature", "--format", "json", *bucket)
    return int(json.loads(done.stdout)[0]["n"])


def fails(*arguments: str, code: int = 1, **options: object) -> str:
    done = apiary(*arguments, check=False, **options)
    assert done.returncode == code, f"ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "panicked" not in done.stderr
    return done.stderr


def test_an_unknown_frame_gets_a_suggestion(bucket: list[str]) -> None:
    error = fails("sql", "SELECT * FROM demo.sensors.temperatur", *bucket)
    assert "demo.sensors.temperature" in error and "temperatur" in error


def test_an_unknown_column_gets_a_suggestion(bucket: list[str]) -> None:
    assert "region" in fails("sql", "SELECT regoin FROM demo.sensors.temperature", *bucket)


def test_a_syntax_error_has_a_caret(bucket: list[str]) -> None:
    error = fails("sql", "SELECT region\nFROM demo.sensors.temperature\nWHERE AND temp > 1", *bucket)
    assert "^" in error and "WHERE AND" in error, error


def test_a_wrong_type_names_the_column_and_writes_nothing(bucket: list[str], tmp_path: Path) -> None:
    file = tmp_path / "wrong.parquet"
    pl.DataFrame({"region": ["north"], "temp": ["warm"]}).write_parquet(file)
    error = fails("import", str(file), "--into", "demo.sensors.temperature", *bucket)
    assert "temp" in error, error
    assert count(bucket) == 3


def test_null_in_a_partition_column_is_refused(bucket: list[str], tmp_path: Path) -> None:
    file = tmp_path / "null.parquet"
    pl.DataFrame({"region": ["north", None], "temp": [1.0, 2.0]}).write_parquet(file)
    error = fails("import", str(file), "--into", "demo.sensors.temperature", *bucket)
    assert "region" in error and "NULL" in error, error
    assert count(bucket) == 3


def test_an_extra_column_says_what_to_do(bucket: list[str], tmp_path: Path) -> None:
    file = tmp_path / "extra.parquet"
    pl.DataFrame({"region": ["north"], "temp": [1.0], "wind": [3]}).write_parquet(file)
    assert "wind" in fails("import", str(file), "--into", "demo.sensors.temperature", *bucket)
    assert count(bucket) == 3


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.95])
def test_a_truncated_parquet_file_writes_nothing(bucket: list[str], tmp_path: Path, keep: float) -> None:
    file = tmp_path / "cut.parquet"
    pl.DataFrame({"region": ["north"] * 5000, "temp": [float(i) for i in range(5000)]}).write_parquet(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep if keep > 1 or keep == 0 else len(whole) * keep)])
    error = fails("import", str(file), "--into", "demo.sensors.temperature", *bucket)
    assert "cut.parquet" in error, error
    assert count(bucket) == 3


def test_importing_without_create_into_nothing_says_so(bucket: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,x\n2,y\n")
    error = fails("import", str(file), "--into", "demo.sensors.fresh", *bucket)
    assert "--create" in error, error


def test_an_unknown_scheme_is_no_local_folder(tmp_path: Path) -> None:
    error = fails("sql", "SELECT 1", "--storage", "ftp://host/bucket", code=2, cwd=tmp_path)
    assert "ftp" in error and list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_said_within_five_seconds(tmp_path: Path) -> None:
    with s3_server() as (_, env):
        began = time.monotonic()
        error = fails("sql", "SELECT 1", "--storage", "s3://nowhere/x?path_style=true",
                      "--data-dir", str(tmp_path), env=env)  # fmt: skip
        assert time.monotonic() - began < 7 and "nowhere" in error, error


def test_wrong_credentials_are_said_within_five_seconds(tmp_path: Path) -> None:
    with s3_server() as (storage, env):
        began = time.monotonic()
        wrong = {**env, "AWS_SECRET_ACCESS_KEY": "wrong"}
        fails("sql", "SELECT 1", "--storage", storage, "--data-dir", str(tmp_path), env=wrong)
        assert time.monotonic() - began < 7


def test_no_server_is_said_within_five_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    storage = f"s3://b/x?endpoint=http://127.0.0.1:{free_port()}&allow_http=true&access_key_id=a&secret_access_key=b"
    fails("sql", "SELECT 1", "--storage", storage, "--data-dir", str(tmp_path))
    assert time.monotonic() - began < 7


def test_a_store_that_ignores_conditions_is_refused(tmp_path: Path) -> None:
    with s3_server(options=["--ignore-if-none-match"]) as (storage, env):
        error = fails("start", "--storage", storage, "--data-dir", str(tmp_path), env=env)
        assert "conditional" in error.lower() or "if-none-match" in error.lower(), error


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        error = fails("start", "--storage", (tmp_path / "b").as_uri(), "--data-dir", str(tmp_path / "n"),
                      "--listen", f"127.0.0.1:{port}", "--roles", "coordinator")  # fmt: skip
        assert str(port) in error, error


def test_two_nodes_cannot_share_an_identity(tmp_path: Path) -> None:
    with colony((tmp_path / "b").as_uri(), tmp_path / "c", workers=1):
        error = fails("start", "--storage", (tmp_path / "b").as_uri(), "--data-dir", str(tmp_path / "c" / "node-0"),
                      "--listen", f"127.0.0.1:{free_port()}", timeout=60)  # fmt: skip
        assert "data" in error, error


def test_ctrl_c_ends_a_long_query(bucket: list[str]) -> None:
    sql = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value % 7 = b.value % 5"
    process = subprocess.Popen([BIN / "apiary", "sql", sql, *bucket], env=environment(), stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    assert process.poll() is None, process.communicate()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert time.monotonic() - began < 5
    assert count(bucket) == 3


def test_statements_that_write_name_the_command_to_use(bucket: list[str]) -> None:
    assert "import" in fails("sql", "INSERT INTO demo.sensors.temperature VALUES ('x', 1)", *bucket)
    assert count(bucket) == 3


def test_wrong_usage_exits_with_two() -> None:
    fails("sql", "SELECT 1", "--formt", "csv", code=2)
