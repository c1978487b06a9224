"""TPC-DS on the board and locally, against DataFusion in one process on the same files.

The statements are not copied into the project: they are run where their folder stands beside it, and a line says so
where it does not. The last LIMIT of a statement is left out, since several answers would be right with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import datafusion
import pytest
from apiary import Apiary

from colony import apiary, colony
from rows import assert_same_rows

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "tpcds"
SCALE = "0.01"


def statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted(FOLDER.glob("q*.sql")):
        text = re.sub(r"--.*", "", file.read_text())
        for number, sql in enumerate(part.strip() for part in text.split(";") if part.strip()):
            found[f"{file.stem}{'abc'[number]}"] = re.sub(r"\blimit\s+\d+$", "", sql, flags=re.IGNORECASE)
    return found


STATEMENTS = statements()
pytestmark = pytest.mark.skipif(not STATEMENTS, reason=f"no TPC-DS statements in {FOLDER}")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tpcds")
    generator = Path(sys.executable).parent / "tpcgen-cli"
    subprocess.run([generator, "tpcds", "parquet", "-s", SCALE, "--output-dir", folder], check=True, timeout=120,
                   capture_output=True)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def answers(files: Path) -> dict[str, list[tuple]]:
    """What DataFusion says by itself."""
    context = datafusion.SessionContext()
    for file in files.glob("*.parquet"):
        context.register_parquet(file.stem, str(file))

    def rows(sql: str) -> list[tuple]:
        batches = context.sql(sql).collect()
        columns = [[column.to_pylist() for column in batch.columns] for batch in batches]
        return [row for batch in columns for row in zip(*batch, strict=True)]

    return {name: rows(sql) for name, sql in STATEMENTS.items()}


@pytest.fixture(scope="module")
def session(files: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("colony")
    storage = (folder / "bucket").as_uri()
    for file in sorted(files.glob("*.parquet")):
        apiary("import", str(file), "--into", f"tpcds.main.{file.stem}", "--create", "--storage", storage,
               "--data-dir", str(folder / "importer"))  # fmt: skip
    with colony(storage, folder) as it, Apiary.connect(it.url) as ap:
        ap.sql("USE tpcds.main")
        yield ap


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_board_and_the_local_way_give_the_rows_of_datafusion(session: Apiary, answers: dict, name: str) -> None:
    # As many tasks as the bytes are worth, and one for each of six partitions.
    for execution, partitions in (("board", "default"), ("board", "6"), ("local", "default")):
        session.sql(f"SET execution = {execution}")
        session.sql(f"SET target_partitions = {partitions}")
        result = session.sql(STATEMENTS[name])
        assert_same_rows(result.fetchall(), answers[name], f"{name} on the {execution} way")
        assert result.stats.execution == execution, f"{name}: {result.stats}"
