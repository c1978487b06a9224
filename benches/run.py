"""TPC-H: Apiary's two ways against DuckDB, DataFusion, Sail and Spark, on the same files and cores, in one run.

    python benches/run.py [--scale 1] [--rounds 5] [--bin target/release] [--skip-board] [--levers] [--peers duckdb,datafusion]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
QUERIES = {int(file.stem[1:]): file.read_text() for file in sorted((ROOT / "tests" / "tpch").glob("q*.sql"))}
ONE_ROW_RUNS = 500
LEVERS = ["join_order", "semi_joins", "shared_builds", "filter_estimates", "text_views"]
LEVERS.append(", ".join(LEVERS))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(engines: dict[str, Callable[[str], object]], rounds: int) -> dict[str, dict[int, float]]:
    """Seconds a query, the median of `rounds` after one that warms; the engines take turns query by query."""
    seen: dict[str, dict[int, list[float]]] = {name: {number: [] for number in QUERIES} for name in engines}
    for round_number in range(rounds + 1):
        for number, sql in QUERIES.items():
            for name, run in engines.items():
                seconds = timed(lambda run=run, sql=sql: run(sql))
                if round_number > 0:
                    seen[name][number].append(seconds)
        print(f"  round {round_number} of {rounds}", file=sys.stderr, flush=True)
    return {name: {q: statistics.median(times) for q, times in by.items()} for name, by in seen.items()}


def print_table(results: dict[str, dict[int, float]], against: list[str]) -> dict[str, float]:
    names = list(results)
    width = max(14, *(len(name) + 2 for name in names))
    print(f"\n{'query':>6}" + "".join(f"{name:>{width}}" for name in names))
    for number in QUERIES:
        print(f"{number:>6}" + "".join(f"{results[name][number] * 1e3:>{width - 3}.1f} ms" for name in names))
    totals = {name: sum(results[name].values()) for name in names}
    print(f"{'total':>6}" + "".join(f"{totals[name]:>{width - 2}.3f} s" for name in names))
    ratios = {}
    for other in against:
        for ours in names:
            if ours != other and not (ours in against and against.index(ours) < against.index(other)):
                ratios[f"{ours} / {other}"] = totals[ours] / totals[other]
                print(f"  {ours} / {other} = {totals[ours] / totals[other]:.2f}")
    return ratios


def one_row(connect: Callable[[], object]) -> dict[str, float]:
    ap = connect()
    frame = ap.create_hive("bench").create_box("b").create_frame("one", {"id": "int64", "name": "string"})
    if frame.count() == 0:
        frame.write([{"id": 1, "name": "bee"}])
    run = lambda: ap.sql("SELECT name FROM bench.b.one WHERE id = 1").fetchall()  # noqa: E731
    for _ in range(50):
        run()
    times = sorted(timed(run) * 1e3 for _ in range(ONE_ROW_RUNS))
    return {"p50_ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--work", type=Path, help="folder for data, kept; default: a temporary one")
    parser.add_argument("--skip-board", action="store_true")
    parser.add_argument("--peers", default="duckdb,datafusion", help="of duckdb, datafusion, sail, spark, in any order")
    parser.add_argument("--levers", action="store_true", help="also without each step that makes a local plan fast")
    options = parser.parse_args()
    os.environ["APIARY_BIN_DIR"] = str(options.bin)
    with tempfile.TemporaryDirectory() as scratch:
        run(options, options.work or Path(scratch))


def run(options: argparse.Namespace, work: Path) -> None:
    from apiary import Apiary
    from colony import apiary, colony
    from peers import ENGINES
    from tpch import TABLES

    named = [name for name in options.peers.split(",") if name]
    cores = os.cpu_count() or 1
    work.mkdir(parents=True, exist_ok=True)
    data, storage = work / f"tpch-{options.scale}", (work / f"bucket-{options.scale}").as_uri()
    if not (work / f"bucket-{options.scale}").exists():
        if not data.exists():
            subprocess.run([options.bin / "tpch-data", data, str(options.scale)], check=True)
        for table in TABLES:
            seconds = timed(lambda table=table: apiary(
                "import", str(data / f"{table}.parquet"), "--into", f"tpch.main.{table}", "--create",
                "--storage", storage, "--data-dir", str(work / "importer"), timeout=1800))  # fmt: skip
            print(f"imported {table} in {seconds:.1f} s", file=sys.stderr)

    report: dict[str, object] = {
        "machine": f"{platform.machine()}, {cores} cores",
        "date": time.strftime("%Y-%m-%d"),
        "scale": options.scale,
        "rounds": options.rounds,
    }
    with Apiary("bench", storage=storage) as ap:
        files = {}
        for table in TABLES:
            folder = Path(storage.removeprefix("file://")) / ap.frame(f"tpch.main.{table}").describe().folder
            files[table] = sorted(map(str, (folder / "cells").glob("*.parquet")))
        ap.sql("USE tpch.main")
        ap.sql("SET execution = local")

        def planned(without: str) -> Callable[[str], object]:
            def run(sql: str) -> object:
                ap.sql(f"SET plan_without = '{without}'")
                return ap.sql(sql).to_arrow()

            return run

        engines = {"apiary local": planned("default"), **{name: ENGINES[name](files, cores) for name in named}}
        if options.levers:
            engines |= {f"no {lever}" if "," not in lever else "no lever": planned(lever) for lever in LEVERS}
        local = medians(engines, options.rounds)
    report["local"] = local
    report["ratios"] = print_table(local, named)

    if not options.skip_board:
        with colony(storage, work / "colony") as it, Apiary.connect(it.url) as remote:
            remote.sql("USE tpch.main")

            def way(name: str) -> Callable[[str], object]:
                def run(sql: str) -> object:
                    remote.sql(f"SET execution = {name}")
                    return remote.sql(sql).to_arrow()

                return run

            board = medians({"local over gRPC": way("local"), "board": way("board")}, options.rounds)
            report["board"] = board
            report["board ratios"] = print_table(board, ["local over gRPC"])
            remote.sql("SET execution = auto")
            report["one row"] = one_row(lambda: remote)
            print("\none-row query over gRPC, warm: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms".format(**report["one row"]))

    results = ROOT / "benches" / "results"
    results.mkdir(exist_ok=True)
    (results / f"tpch-sf{options.scale:g}.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
