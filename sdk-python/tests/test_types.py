"""The types are checked as strictly as users may check theirs."""

import subprocess
import sys
from pathlib import Path


def test_mypy_strict_finds_nothing() -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), "--ignore-missing-imports"]
    done = subprocess.run(
        [*command, str(root / "python" / "apiary")], capture_output=True, text=True, timeout=300, cwd=root
    )
    assert done.returncode == 0, done.stdout
