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


@dataclass(frozen=True)
class VacuumFile:
    """A file that the newest version does not have, or a folder that no name leads to."""

    path: str
    bytes: int
    age_ms: int
    """By the store's clock."""
    goes: bool
    """Whether it is deleted, or would be."""
    code: str
    """Why, as a word: `removed`, `never_committed`, `retained`, `pinned`, `undecided`, …"""
    reason: str
    """Why, as a sentence."""


@dataclass(frozen=True)
class VacuumReport:
    """What a vacuum found, and with `run` deleted."""

    frame: str | None
    """`hive.box.frame`; `None` for what is outside of frames."""
    run: bool
    version: int | None
    """The version whose cells were taken for current."""
    current_files: int
    current_bytes: int
    deleted_files: int
    """Deleted if `run`; else what would be."""
    deleted_bytes: int
    kept_files: int
    """Files that stay though the newest version does not have them."""
    kept_bytes: int
    more: bool
    """A limit was reached: run it again."""
    refused: str | None
    """Why nothing was touched, if something is wrong with the bucket as a whole."""
    files: list[VacuumFile]
    """Those that go first; at most ten thousand."""

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> VacuumReport:
        rest = dict(told)
        return cls(files=[VacuumFile(*file) for file in rest.pop("files")], **rest)


def _milliseconds(retain: timedelta | None) -> int | None:
    return None if retain is None else round(retain.total_seconds() * 1000)
