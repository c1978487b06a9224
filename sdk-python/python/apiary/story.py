"""What a frame tells of itself: its history, its cells, and whether all of it is as it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


@dataclass(frozen=True)
class HistoryEntry:
    """One version of a frame."""

    version: int
    time: datetime
    """When it was committed, by its writer's clock; never before the version before it."""
    operation: str
    """What its transactions did: `create`, `append`, `overwrite`, `compaction`, …"""
    node: str
    """Who wrote it."""
    transactions: int
    rows_added: int | None
    rows_removed: int | None
    cells_added: int
    cells_removed: int
    bytes_added: int
    bytes_removed: int

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> HistoryEntry:
        rest = dict(told)
        return cls(time=_time(rest.pop("committed_ms")), **rest)


@dataclass(frozen=True)
class Bounds:
    """What the ledger knows of one column of one cell; `None` is unknown."""

    min: str | None
    max: str | None
    nulls: int | None
    min_exact: bool
    """Whether `min` is itself a value of the column; else every value lies above it."""
    max_exact: bool


@dataclass(frozen=True)
class Cell:
    """A cell (an immutable Parquet file) of a frame."""

    path: str
    """Relative to the frame's folder."""
    partition: dict[str, str | None]
    rows: int
    bytes: int
    sha256: str
    time: datetime
    """When it was written, by its writer's clock."""
    bounds: dict[str, Bounds]

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> Cell:
        rest = dict(told)
        bounds = {column: Bounds(*known) for column, known in rest.pop("bounds").items()}
        return cls(time=_time(rest.pop("written_ms")), bounds=bounds, **rest)


@dataclass(frozen=True)
class CheckpointResult:
    """What a checkpoint is, and what was cleaned below it."""

    version: int
    written: bool
    """False: it was there already."""
    cells: int
    bytes: int
    cleaned_below: int | None
    """`None`: nothing was old enough, or nothing was to be cleaned."""
    entries_deleted: int
    checkpoints_deleted: int
    bytes_deleted: int


@dataclass(frozen=True)
class Problem:
    """Something in the bucket that is not as it must be."""

    object: str
    what: str
    advice: str


@dataclass(frozen=True)
class VerifyReport:
    """What a check looked at and what it found."""

    frame: str | None
    """`hive.box.frame`; `None` for the registry."""
    version: int | None
    oldest_version: int | None
    """The oldest version whose entry is kept."""
    entries: int
    checkpoints: int
    cells: int
    rows: int
    bytes: int
    cells_opened: int
    older_cells: int
    """Cells that only older versions name."""
    orphans: int
    """Objects that no kept entry names: what dead writers left, or live ones are about to commit. No fault."""
    orphan_bytes: int
    problems: list[Problem]
    """The first hundred."""
    problems_total: int

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return self.problems_total == 0

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> VerifyReport:
        rest = dict(told)
        return cls(problems=[Problem(*problem) for problem in rest.pop("problems")], **rest)
