"""Small appends to one frame: 100 rows each, 128 in flight from 8 clients.

    cargo build --release -p apiary-tests --bin small-appends
    python benches/small_appends.py

On the local store, and on a store in which every request takes 20 ms. Prints a table and writes
benches/results/small-appends.json. The aims: 1 000 transactions a second on both, and 99 of 100 answers within the
time of five requests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "small-appends")
    parser.add_argument("--appends", type=int, default=8000)
    parser.add_argument("--folder", type=Path, help="where the local store is made; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        places = {"local": f"file://{folder}/store", "20 ms a request": "20"}
        results = {name: measure(options.program, options.appends, place) for name, place in places.items()}
    print(f"{'store':<18}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}{'p99 requests':>14}{'entries':>10}")
    for name, result in results.items():
        requests = result["p99_requests"]
        shown = "" if requests is None else f"{requests:.1f}"
        print(
            f"{name:<18}{result['per_second']:>12.0f}{result['p50_ms']:>10.1f}{result['p99_ms']:>10.1f}"
            f"{shown:>14}{result['entries']:>10}"
        )
    written = ROOT / "benches" / "results" / "small-appends.json"
    written.parent.mkdir(exist_ok=True)
    written.write_text(json.dumps(results, indent=2) + "\n")


def measure(program: Path, appends: int, place: str) -> dict[str, float]:
    done = subprocess.run([program, str(appends), place], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
