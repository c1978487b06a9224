"""What the allocator does with what a node's queries have freed: a small node gives it back at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from colony import Colony

PREFIX = b"MIMALLOC_"
NO_HUGE_PAGES = "ALLOW_THP=0"


def options_of(it: Colony) -> set[str]:
    """The allocator's options in the process that was started: it has no other id since."""
    assert it.coordinator is not None
    environ = Path(f"/proc/{it.coordinator.process.pid}/environ").read_bytes().split(b"\0")
    return {name.removeprefix(PREFIX).decode() for name in environ if name.startswith(PREFIX)}


@pytest.mark.skipif(sys.platform != "linux", reason="another system shows no environment of a process")
@pytest.mark.parametrize(("memory", "env", "told"), [
    ("1GiB", {}, {NO_HUGE_PAGES, "PURGE_DELAY=0"}),
    ("2GiB", {}, {NO_HUGE_PAGES, "PURGE_DECOMMITS=0"}),
    ("1GiB", {"MIMALLOC_PURGE_DELAY": "700"}, {"PURGE_DELAY=700"}),  # who sets one himself is left alone
])  # fmt: skip
def test_the_allocator_keeps_what_the_node_has_room_for(
    memory: str, env: dict[str, str], told: set[str], tmp_path: Path
) -> None:
    it = Colony((tmp_path / "bucket").as_uri(), tmp_path, env, memory)
    try:
        it.start("coordinator,worker,compactor")
        it.wait(1)
        assert options_of(it) == told
        assert it.sql("SELECT 1 AS one")[0] == [{"one": 1}]
    finally:
        it.stop()
