"""A small node gives back at once what its queries have freed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from colony import Colony

OPTION = b"MIMALLOC_PURGE_DELAY="


def option_of(it: Colony) -> bytes:
    """The allocator's option in the process that was started: it has no other id since."""
    assert it.coordinator is not None
    environ = Path(f"/proc/{it.coordinator.process.pid}/environ").read_bytes().split(b"\0")
    return b" ".join(name.removeprefix(OPTION) for name in environ if name.startswith(OPTION))


@pytest.mark.skipif(sys.platform != "linux", reason="another system shows no environment of a process")
@pytest.mark.parametrize(("memory", "env", "told"), [
    ("1GiB", {}, b"0"),
    ("2GiB", {}, b""),
    ("1GiB", {"MIMALLOC_PURGE_DELAY": "700"}, b"700"),  # who sets it himself is left alone
])  # fmt: skip
def test_a_small_node_keeps_nothing_that_was_freed(
    memory: str, env: dict[str, str], told: bytes, tmp_path: Path
) -> None:
    it = Colony((tmp_path / "bucket").as_uri(), tmp_path, env, memory)
    try:
        it.start("coordinator,worker,compactor")
        it.wait(1)
        assert option_of(it) == told
        assert it.sql("SELECT 1 AS one")[0] == [{"one": 1}]
    finally:
        it.stop()
