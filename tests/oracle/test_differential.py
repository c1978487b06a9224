"""Thousands of random statements over random tables, against DataFusion in one process: `grammar.py` makes them.

`APIARY_DIFF_SEED` chooses others, `APIARY_DIFF_STATEMENTS` how many; a failure prints the seed, the tables' types and the
statement. Every statement runs locally, every `BOARD_EVERY`th on the board with three workers as well."""

from __future__ import annotations

import os
import random
from pathlib import Path

import datafusion
import pyarrow as pa
import pytest
from apiary import Apiary, ApiaryError

from colony import colony
from gate_data import rows_of
from grammar import Statements, Table, table
from rows import assert_same_rows

SEED = int(os.environ.get("APIARY_DIFF_SEED", "1"))
STATEMENTS = int(os.environ.get("APIARY_DIFF_STATEMENTS", "2000"))
BOARD_EVERY = int(os.environ.get("APIARY_DIFF_BOARD_EVERY", "20"))
STATEMENTS_A_WORLD = 100


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("differential")
    with colony((folder / "bucket").as_uri(), folder) as it, Apiary.connect(it.url) as ap:
        yield ap


def write(session: Apiary, world: int, tables: list[Table]) -> datafusion.SessionContext:
    """The tables as frames and in DataFusion."""
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
    box = session.create_hive(f"world_{world}").create_box("main")
    for made in tables:
        frame = box.create_frame(made.name, made.pieces[0].schema, partition_by=made.partition_by)
        for piece in made.pieces:
            if piece.num_rows:
                frame.write(piece)
        whole = pa.concat_tables(made.pieces)
        context.register_record_batches(
            made.name, [whole.to_batches() or [pa.RecordBatch.from_pylist([], whole.schema)]]
        )
    session.sql(f"USE world_{world}.main")
    return context


def ask(session: Apiary, execution: str, sql: str, partitions: str = "default") -> list[tuple]:
    session.sql(f"SET execution = {execution}")
    session.sql(f"SET target_partitions = {partitions}")
    got = session.sql(sql).to_arrow()
    return list(zip(*(column.to_pylist() for column in got.columns), strict=True))


@pytest.mark.parametrize("world", range(-(-STATEMENTS // STATEMENTS_A_WORLD)))
def test_random_statements_give_the_rows_of_datafusion(session: Apiary, world: int) -> None:
    rng = random.Random(f"{SEED}-{world}")
    tables = [table(rng, name) for name in ("t", "u", "w")]
    context = write(session, world, tables)
    statements = Statements(rng, tables)
    right = 0
    for number in range(STATEMENTS_A_WORLD):
        sql = statements.next()
        told = f"seed {SEED}, world {world}, statement {number}: {sql}\n" + "\n".join(
            f"  {t.name} {t.partition_by} {t.pieces[0].schema}" for t in tables
        )
        try:
            wanted = rows_of(context, sql)
        except Exception:  # noqa: BLE001
            # No oracle, no judgement; but Apiary must not fall over it.
            try:
                ask(session, "local", sql)
            except ApiaryError as error:
                assert error.code != "INTERNAL", f"{error}\n{told}"
            continue
        # On the board as many tasks as the bytes are worth, and one for each of six partitions.
        board = (("board", "default"), ("board", "6")) if number % BOARD_EVERY == 0 else ()
        for execution, partitions in (("local", "default"), *board):
            try:
                got = ask(session, execution, sql, partitions)
            except ApiaryError as error:
                raise AssertionError(f"{execution}: {error}\n{told}") from error
            assert_same_rows(got, wanted, f"{execution}: {told}", in_order=" ORDER BY " in sql and "OVER" not in sql)
        right += 1
    assert right > STATEMENTS_A_WORLD * 0.8, f"only {right} statements of world {world} could be judged"
