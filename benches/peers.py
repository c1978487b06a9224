"""The peers of a run, each over the same Parquet files and cores. A peer that is not installed is left out.

    pip install duckdb datafusion                    # the usual two
    pip install pysail 'pyspark[connect]<4.2'        # Sail 0.7, which answers no newer client, and Spark on Java 17
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Files = dict[str, list[str]]
Engine = Callable[[str], object]


def folder_of(paths: list[str]) -> str:
    """Peers that read folders read the very same files: a table's cells are alone in theirs."""
    folders = {str(Path(path).parent) for path in paths}
    assert len(folders) == 1, folders
    return folders.pop()


def duckdb(files: Files, cores: int) -> Engine:
    import duckdb

    duck = duckdb.connect(config={"threads": cores})
    for table, paths in files.items():
        duck.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({paths!r})")
    return lambda sql: duck.execute(sql).to_arrow_table()


def datafusion(files: Files, cores: int) -> Engine:
    import datafusion

    fusion = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(cores))
    for table, paths in files.items():
        fusion.register_parquet(table, folder_of(paths))
    return lambda sql: fusion.sql(sql).collect()


def sail(files: Files, cores: int) -> Engine:
    import os

    os.environ.setdefault("SAIL_EXECUTION__DEFAULT_PARALLELISM", str(cores))
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    server = SparkConnectServer()
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()
    return views(session, files, keep=server)


def spark(files: Files, cores: int) -> Engine:
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", str(2 * cores))
        .config("spark.ui.enabled", "false")
        # Spark 4.3 cannot read LZ4_RAW dictionaries of more than 8 kB to filter by them (apache/parquet-java#3478).
        .config("spark.hadoop.parquet.filter.dictionary.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    return views(session, files, keep=session)


def views(session: object, files: Files, keep: object) -> Engine:
    for table, paths in files.items():
        session.read.parquet(folder_of(paths)).createOrReplaceTempView(table)  # type: ignore[attr-defined]

    def run(sql: str, _keep: object = keep) -> object:
        return session.sql(sql).toArrow()  # type: ignore[attr-defined]

    return run


ENGINES = {"duckdb": duckdb, "datafusion": datafusion, "sail": sail, "spark": spark}
