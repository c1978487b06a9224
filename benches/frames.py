"""Frames of very many cells: what they cost to open, plan against, append to and overwrite.

    cargo build --release -p apiary-tests --bin bench-frames
    python benches/frames.py [--versions 100000] [--first 1] [--bin target/release] [--work FOLDER]

`--first` cells come with the first append, one with each of the others; the cells themselves are not written, because
nothing here reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = 7


def call(binary: Path, *arguments: str) -> dict:
    done = subprocess.run([binary, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def row(name: str, told: dict) -> None:
    first = f"   first {told['first_ms']:9.2f} ms" if "first_ms" in told else ""
    kept = f"   keeps {told['cells_kept']}" if "cells_kept" in told else ""
    asked = told.get("requests")
    asked = f"   {asked['get']} GET, {asked['list']} LIST, tail {told['tail']['entries']}" if asked else ""
    print(f"{name:>34}   median {told['median_ms']:9.2f} ms   least {told['least_ms']:9.2f} ms{first}{kept}{asked}")


def show(told: dict) -> None:
    print(f"{told['open']['cells']} cells, {told['open']['version'] + 1} versions")
    print("first open of a process: " + ", ".join(f"{ms:.0f}" for ms in sorted(told["fresh"])) + " ms")
    row("open", told["open"])
    row("warm look", told["warm"])
    for name, plan in (told["plan"] or {}).items():
        row(f"plan: {name}", plan)
    row(f"append to {told['append_small']['cells']} cells", told["append_small"])
    row(f"append to {told['append_big']['cells']} cells", told["append_big"])
    memory = told["memory"]
    print(f"memory a cell: {memory['resident_bytes_a_cell']} bytes resident, {memory['counted_bytes_a_cell']} counted")
    overwrite = told["overwrite"]
    if isinstance(overwrite, str):
        print(f"overwrite: {overwrite}")
        return
    print(f"overwrite of {overwrite['cells']} cells by as many: {overwrite['commit_seconds']:.2f} s")
    print(f"open at once: {overwrite['open_at_once_ms']:.0f} ms; a checkpoint after {overwrite['checkpoint_after_seconds']:.2f} s")
    row("open after the checkpoint", overwrite["open"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--work", type=Path, help="folder for the bucket, kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = str((options.work or Path(scratch)) / f"frames-{options.versions}-{options.first}")
        binary = options.bin / "bench-frames"
        report = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d"),
            "make": call(binary, "make", folder, str(options.versions), str(options.first)),
            # What a new process waits for its first look: nothing is warm in it.
            "fresh": [call(binary, "open", folder)["first_ms"] for _ in range(PROCESSES)],
            **call(binary, "measure", folder),
        }
    show(report)
    results = ROOT / "benches" / "results"
    results.mkdir(exist_ok=True)
    (results / f"frames-{options.versions}-{options.first}.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
