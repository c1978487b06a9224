"""What EXPLAIN says on a colony of three workers, held against scripts: `tests/explain/*.txt`, each a statement, `---`, and
the answer. What differs from run to run stands there as `<…>`: times, sizes, ids, and of EXPLAIN ANALYZE which node did
how much. `APIARY_WRITE_EXPLAIN=1` writes the answers anew; their diff is the review."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from apiary import Apiary

from colony import colony

FOLDER = Path(__file__).parents[1] / "explain"
SCRIPTS = sorted(FOLDER.glob("*.txt"))
REGIONS = ["east", "north", "south", "west"]
ROWS = 20_000
MASKS = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-\d\d)?"), "<id>"),
    (re.compile(r"(sales|shops)-[0-9a-f]{8}"), r"\1-<id>"),
    (re.compile(r"\b\d+(\.\d+)? (µs|us|ms|s|min)\b"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? (B|kB|MB|GB)\b"), "<size>"),
    (re.compile(r"\b\d+ GETs?\b"), "<n> GETs"),
    (re.compile(r"\b\d nodes?\b"), "<n> nodes"),
    (re.compile(r"\b\d+ %"), "<n> %"),
]
# What a line about a node has, in its order.
SPENT = ["tasks", "attempts", "rows", "waiting", "fetching", "computing", "writing", "GETs", "cached", "peak"]
WORDS = {"task": "tasks", "attempt": "attempts", "row": "rows", "GET": "GETs"}
# Of a whole and of its parts in JSON: what they came to is masked.
FIGURES = {"elapsed_us", "get_requests", "bytes_read", "bytes_cached", "nodes", "retries", "coordination_us", "bytes",
           "bytes_kept"}  # fmt: skip


def sales() -> pa.Table:
    rows = range(ROWS)
    return pa.table({
        "region": pa.array([REGIONS[n % 4] for n in rows]),
        "shop": pa.array([n % 97 for n in rows], pa.int64()),
        "day": pa.array([n // 100 for n in rows], pa.int64()),
        "amount": pa.array([n * 7 % 1000 / 10 for n in rows]),
    })  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("explain")
    with colony((folder / "bucket").as_uri(), folder) as it, Apiary.connect(it.url) as ap:
        box = ap.create_hive("trade").create_box("main")
        whole = sales()
        frame = box.create_frame("sales", whole.schema, partition_by=["region"])
        for half in (whole.slice(0, ROWS // 2), whole.slice(ROWS // 2)):
            frame.write(half)
        names = pa.table({"shop": pa.array(range(97), pa.int64()), "name": [f"shop {n}" for n in range(97)]})
        box.create_frame("shops", names.schema).write(names)
        ap.sql("USE trade.main")
        ap.sql("SET execution = board")
        ap.sql("SET target_partitions = 3")
        yield ap, [node.id for node in it.nodes]


def label(part: str) -> str:
    """What a part of a line about a node tells."""
    word = part.split()[0] if not part[0].isdigit() else part.split()[-1]
    word = WORDS.get(word, word)
    return word if word in SPENT else "bytes"


def mask_text(text: str, nodes: list[str]) -> str:
    lines: list[str] = []
    spent: set[str] = set()
    cells: list[str] = []

    def flush() -> None:
        if spent:
            lines.append("  <node>: " + " · ".join(word for word in SPENT if word in spent and word != "attempts"))
        lines.extend(sorted(cells))
        spent.clear()
        cells.clear()

    for line in text.splitlines():
        if "   reason: " in line and any(line.startswith(f"  {node}: ") for node in nodes):
            lines.append("  <placement>")
            continue
        node = next((node for node in nodes if line.startswith(f"  {node}: ")), None)
        if node:
            spent.update(label(part) for part in line.removeprefix(f"  {node}: ").split(" · "))
            continue
        for pattern, mask in MASKS:
            line = pattern.sub(mask, line)
        if line.startswith("  ") and "<id>.parquet   " in line:
            cells.append(line)
            continue
        flush()
        lines.append(line)
    flush()
    return "\n".join(lines)


def mask_json(value: Any, nodes: list[str]) -> Any:
    if isinstance(value, dict):
        if "runs" in value:
            value = {**value, "runs": merged(value["runs"])}
        if value.get("placement"):
            assert sum(share["tasks"] for share in value["placement"]) == value["tasks"], value
            value = {**value, "placement": "<placement>", "reason": "<reason>"}
        return {key: "<n>" if key in FIGURES else mask_json(one, nodes) for key, one in value.items()}
    if isinstance(value, list):
        masked = [mask_json(one, nodes) for one in value]
        return sorted(masked, key=str) if masked and isinstance(masked[0], dict) and "path" in masked[0] else masked
    return mask_text(value, nodes) if isinstance(value, str) else value


def merged(runs: list[dict]) -> list[dict]:
    """Of each stage what its nodes did together, in rows and tasks, and what else is told of them."""
    by_stage: dict[int, dict] = {}
    for run in runs:
        own = run["fetching_us"] + run["computing_us"] + run["writing_us"]
        assert own > 0 and run["computing_us"] >= 0 and run["memory_peak_bytes"] <= run["memory_budget_bytes"], run
        stage = by_stage.setdefault(run["stage"], {"stage": run["stage"], "tasks": 0, "rows": 0, "others": sorted(run)})
        stage["tasks"] += run["tasks"]
        stage["rows"] += run["rows"]
    return list(by_stage.values())


def answer(ap: Apiary, nodes: list[str], statement: str) -> str:
    rows = [row[0] for row in ap.sql(statement).fetchall()]
    if "FORMAT JSON" not in statement:
        return mask_text("\n".join(rows), nodes)
    report = json.loads(rows[0])
    plan = report.pop("plan", None)
    return json.dumps({**mask_json(report, nodes), **({"plan": "<text>"} if plan else {})}, indent=1, ensure_ascii=False)


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 6


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_explain_says_what_the_script_says(session: tuple[Apiary, list[str]], script: Path) -> None:
    statement, _, expected = script.read_text().partition("\n---\n")
    told = answer(*session, statement)
    if os.environ.get("APIARY_WRITE_EXPLAIN"):
        script.write_text(f"{statement}\n---\n{told}\n")
        return
    assert told == expected.rstrip("\n")


def test_verbose_names_every_cell(session: tuple[Apiary, list[str]]) -> None:
    ap, _ = session
    cells = {cell.path.rsplit("/", 1)[-1] for cell in ap.frame("trade.main.sales").cells()}
    told = "\n".join(row[0] for row in ap.sql("EXPLAIN VERBOSE SELECT * FROM sales WHERE region = 'north'").fetchall())
    assert len(cells) == 8 and all(cell in told for cell in cells), told
