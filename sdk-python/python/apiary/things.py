"""Hives, boxes and frames: what other systems call databases, schemas and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .errors import InvalidInputError
from .errors import InvalidInputError
from .result import Result
from .story import Cell, CheckpointResult, HistoryEntry, VacuumReport, VerifyReport, _milliseconds

if TYPE_CHECKING:
    from .session import Apiary


@dataclass(frozen=True)
class WriteResult:
    """What a write did."""

    version: int
    """The ledger version that holds the rows."""
    rows: int
    cells: int
    """Parquet files written."""
    bytes: int
    """Their size."""
    temperature: float
    """How hard the colony was working, 0 to 1."""
    retries: int
    """Slots lost to other writers on the way."""
    already_applied: bool
    """True: the idempotency key had been applied before, and nothing was written now."""


@dataclass(frozen=True)
class FrameDescription:
    """What a frame is and holds, at one ledger version."""

    columns: dict[str, str]
    partition_by: list[str]
    version: int
    cells: int
    rows: int
    bytes: int
    folder: str


class Hive:
    """A hive: a database."""

    def __init__(self, apiary: Apiary, name: str) -> None:
        self._apiary = apiary
        self.name = name

    def create_box(self, name: str) -> Box:
        """Creates a box, or returns the one that is there."""
        return self._apiary.create_box(self, name)

    def box(self, name: str) -> Box:
        """The box of that name; nothing is asked of the colony yet."""
        return Box(self._apiary, self.name, name)

    def boxes(self) -> list[Box]:
        """The boxes of this hive."""
        return [Box(self._apiary, hive, box) for hive, box in self._apiary._core.list(self.name)["boxes"]]

    def rename(self, to: str) -> Hive:
        """Gives the hive another name; what is in it stays as it is. Returns the same hive under that name."""
        self._apiary._core.rename_hive(self.name, to)
        self.name = to
        return self

    def drop(self, *, cascade: bool = False, if_exists: bool = False) -> bool:
        """Drops the hive. One that is not empty goes only with `cascade`, and all that is in it goes, too.

        False: there was none, which is an error without `if_exists`.
        """
        return self._apiary._core.drop_hive(self.name, cascade, if_exists)

    def __repr__(self) -> str:
        return f"Hive({self.name!r})"


class Box:
    """A box: a schema in a hive."""

    def __init__(self, apiary: Apiary, hive: str, name: str) -> None:
        self._apiary = apiary
        self.hive = hive
        self.name = name

    def create_frame(
        self, name: str, schema: Mapping[str, str] | object, partition_by: Sequence[str] | str = ()
    ) -> Frame:
        """Creates a frame, or returns the one that is there if it is identical.

        `schema` is a dict of column names and types (`"int64"`, `"string"`, `"datetime"`, `"decimal(15,2)"`, …; end
        a type with `not null` to refuse NULL) or anything that has `__arrow_c_schema__`.
        """
        return self._apiary.create_frame(self.hive, self.name, name, schema, partition_by)

    def frame(self, name: str) -> Frame:
        """The frame of that name; nothing is asked of the colony yet."""
        return Frame(self._apiary, self.hive, self.name, name)

    def frames(self) -> list[Frame]:
        """The frames of this box."""
        found = self._apiary._core.list(self.hive, self.name)["frames"]
        return [Frame(self._apiary, *path) for path in found]

    def rename(self, to: str) -> Box:
        """Gives the box another name in its hive. Returns the same box under that name."""
        self._apiary._core.rename_box(self.hive, self.name, to)
        self.name = to
        return self

    def drop(self, *, cascade: bool = False, if_exists: bool = False) -> bool:
        """Drops the box. One that is not empty goes only with `cascade`, and its frames go, too.

        False: there was none, which is an error without `if_exists`.
        """
        return self._apiary._core.drop_box(self.hive, self.name, cascade, if_exists)

    def __repr__(self) -> str:
        return f"Box({self.hive + '.' + self.name!r})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _partition_text(value: Any) -> str | None:
    """A partition value as the ledger writes it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else str(value)


class Frame:
    """A frame: a table in a box."""

    def __init__(self, apiary: Apiary, hive: str, box: str, name: str) -> None:
        self._apiary = apiary
        self.hive = hive
        self.box = box
        self.name = name

    @property
    def path(self) -> str:
        """`hive.box.frame`."""
        return f"{self.hive}.{self.box}.{self.name}"

    def write(self, data: Any, *, idempotency_key: str | None = None) -> WriteResult:
        """Appends `data` as one transaction: all of it or nothing.

        `data` is anything that has `__arrow_c_stream__` or `__arrow_c_array__` (a pyarrow, polars, pandas or duckdb
        table), a list of dicts, or a dict of lists. The same `idempotency_key` twice writes once.
        """
        return self._apiary._write(self, data, idempotency_key)

    def overwrite(
        self,
        data: Any,
        partitions: Sequence[Mapping[str, Any]] | None = None,
        *,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Puts `data` in the place of all rows, or of those in `partitions`, as one transaction.

        `partitions` names each by the value of every partition column: `[{"region": "north"}]`; all new rows must lie in
        them, and there may be none. With `expected_version` it fails with a `ConflictError` if rows were changed after
        that version.
        """
        if partitions is not None and not partitions:
            raise InvalidInputError(
                "no partition to overwrite", "INVALID_INPUT", "leave out partitions to overwrite the whole frame"
            )
        parts = [[(name, _partition_text(value)) for name, value in part.items()] for part in partitions or ()]
        return self._apiary._write(self, data, idempotency_key, (parts, expected_version))

    def read(self) -> Result:
        """All rows, lazily."""
        return self._apiary.sql(f"SELECT * FROM {self._sql_name()}")

    def head(self, rows: int = 10) -> Result:
        """Some rows."""
        return self._apiary.sql(f"SELECT * FROM {self._sql_name()} LIMIT {int(rows)}")

    def count(self) -> int:
        """How many rows there are; reads no cell."""
        return int(self._apiary.sql(f"SELECT count(*) FROM {self._sql_name()}").scalar())

    def compact(self) -> dict[str, int]:
        """Merges small cells; needs a live compactor."""
        return self._apiary._core.compact((self.hive, self.box, self.name))

    def history(self, limit: int = 20) -> list[HistoryEntry]:
        """The newest versions, newest first, as far as their entries are kept; at most 10 000."""
        if not 1 <= limit <= 10_000:
            raise InvalidInputError(f"a history of {limit} versions", "INVALID_INPUT", "ask for 1 to 10 000")
        found = self._apiary._core.history((self.hive, self.box, self.name), limit)
        return [HistoryEntry._of(entry) for entry in found]

    def cells(self) -> list[Cell]:
        """The cells that make up the newest version."""
        return [Cell._of(cell) for cell in self._apiary._core.cells((self.hive, self.box, self.name))]

    def checkpoint(self, *, clean_older_than: timedelta | None = None) -> CheckpointResult:
        """Writes a checkpoint of the newest version, so that the frame opens fast; needs a live compactor.

        With `clean_older_than` the ledger below a checkpoint is cleaned of what is older, whole epochs of 1 024 versions:
        those versions can then no more be read.
        """
        seconds = None if clean_older_than is None else max(0, int(clean_older_than.total_seconds()))
        return CheckpointResult(**self._apiary._core.checkpoint((self.hive, self.box, self.name), seconds))

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Checks the ledger from its oldest entry on, and that every cell is there; `deep` reads every cell.

        What is wrong stands in the report; needs a live compactor.
        """
        [report] = self._apiary._core.verify((self.hive, self.box, self.name), deep)
        return VerifyReport._of(report)

    def vacuum(
        self, run: bool = False, *, retain: timedelta | None = None, force: bool = False
    ) -> VacuumReport:
        """Lists the files that nothing needs any more, and why; with `run=True` deletes them.

        Every version that was current within `retain` (7 days without it, by the store's clock) stays readable. Less than
        an hour needs `force=True`: queries that have just begun may fail. Needs a live compactor.
        """
        path = (self.hive, self.box, self.name)
        [report] = self._apiary._core.vacuum(path, run, _milliseconds(retain), force)
        return VacuumReport._of(report)

    def describe(self) -> FrameDescription:
        """The schema and what the newest version holds."""
        return FrameDescription(**self._apiary._core.describe((self.hive, self.box, self.name)))

    def rename(self, to: str) -> Frame:
        """Gives the frame another name: `name` in the same box, or `hive.box.name`. Its rows and versions stay.

        Returns the same frame under that name.
        """
        parts = to.split(".")
        hive, box, name = [self.hive, self.box, *parts] if len(parts) == 1 else parts if len(parts) == 3 else [""] * 3
        if not name:
            raise InvalidInputError(f"{to!r} is no name for a frame", "INVALID_INPUT", "write name or hive.box.name")
        self._apiary._core.rename_frame((self.hive, self.box, self.name), (hive, box, name))
        self.hive, self.box, self.name = hive, box, name
        return self

    def drop(self, *, if_exists: bool = False) -> bool:
        """Drops the frame: nobody finds it any more, and nothing is written to it after that.

        False: there was none, which is an error without `if_exists`.
        """
        return self._apiary._core.drop_frame((self.hive, self.box, self.name), if_exists)

    def _sql_name(self) -> str:
        return ".".join(map(_quoted, (self.hive, self.box, self.name)))

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.read())

    def __repr__(self) -> str:
        return f"Frame({self.path!r})"
