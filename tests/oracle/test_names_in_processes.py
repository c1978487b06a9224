"""Names in processes that die: `apiary` ends between a frame's ledger and the registry, and the next one goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colony import apiary

FAILPOINT = "between_frame_and_registry"


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    options = ["--storage", (tmp_path / "bucket").as_uri(), "--data-dir", str(tmp_path / "node")]
    apiary("sql", "CREATE HIVE h; CREATE BOX h.b; CREATE FRAME h.b.t (x BIGINT)", *options)
    return options


def sql(statement: str, where: list[str], code: int = 0) -> tuple[list[dict], str]:
    done = apiary("sql", statement, "--format", "json", *where, check=False)
    assert done.returncode == code, f"{statement}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else [], done.stderr


def dies(statement: str, where: list[str], nth: int = 1) -> None:
    done = apiary("sql", statement, *where, check=False, env={"APIARY_FAILPOINT": f"{FAILPOINT}:{nth}"})
    assert done.returncode != 0 and f"failpoint {FAILPOINT}" in done.stderr, done.stderr


def test_a_drop_that_died_is_finished_by_the_next_who_looks(where: list[str]) -> None:
    dies("DROP FRAME h.b.t", where)
    assert len(sql("SHOW FRAMES", where)[0]) == 1
    assert "was dropped" in sql("SELECT * FROM h.b.t", where, code=1)[1]
    assert sql("SHOW FRAMES", where)[0] == []
    sql("CREATE FRAME h.b.t (y TEXT)", where)
    assert [row["column"] for row in sql("DESCRIBE h.b.t", where)[0]] == ["y"]


def test_a_creation_that_died_left_no_name_and_can_be_repeated(where: list[str]) -> None:
    dies("CREATE FRAME h.b.u (x BIGINT)", where)
    assert [row["frame"] for row in sql("SHOW FRAMES", where)[0]] == ["t"]
    sql("CREATE FRAME h.b.u (y TEXT)", where)
    assert [row["column"] for row in sql("DESCRIBE h.b.u", where)[0]] == ["y"]


def test_a_drop_of_a_whole_hive_that_died_is_repeated(where: list[str]) -> None:
    sql("CREATE FRAME h.b.u (x BIGINT)", where)
    dies("DROP HIVE h CASCADE", where)
    assert "not empty" in sql("DROP HIVE h", where, code=1)[1]
    sql("DROP HIVE h CASCADE", where)
    assert sql("SHOW HIVES", where)[0] == []


def test_a_failed_import_leaves_no_empty_frame(where: list[str], tmp_path: Path) -> None:
    file = tmp_path / "late.csv"
    with file.open("w") as out:
        out.write("a,b\n" + "1,x\n" * 100_000 + "oops,x\n")
    done = apiary("import", str(file), "--into", "H.b.late", "--create", *where, check=False)
    assert done.returncode == 1 and "oops" in done.stderr, done.stderr
    assert [row["frame"] for row in sql("SHOW FRAMES", where)[0]] == ["t"]
    # One that was there before the import stays, empty or not.
    done = apiary("import", str(file), "--into", "h.b.t", check=False, *where)
    assert done.returncode == 1
    assert [row["frame"] for row in sql("SHOW FRAMES", where)[0]] == ["t"]
