"""A session with a colony, embedded in this process or over gRPC: the same interface either way."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _apiary
from .errors import InvalidInputError
from .result import Result
from .story import VacuumReport, VerifyReport, _milliseconds
from .things import Box, Frame, Hive, WriteResult


def _folder_of(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,63}", name) or name.endswith("."):
        raise InvalidInputError(
            f"{name!r} cannot name an apiary", "INVALID_INPUT", "use 1 to 64 letters, digits, '_', '-', '.' or spaces"
        )
    if name.lower() == "nodes":
        raise InvalidInputError(f"{name!r} cannot name an apiary", "INVALID_INPUT", "nodes keep their folders there")
    return Path(os.environ.get("APIARY_HOME") or Path.home() / ".apiary") / name


class Apiary:
    """A session with a colony.

    `Apiary("production")` keeps a local bucket in `~/.apiary/production`; with `storage="s3://bucket/prefix"` this
    process joins the colony on that bucket, with a coordinator of its own; `Apiary.connect("grpc://host:7410")`
    speaks to a coordinator elsewhere. First use starts it; `stop()` or a `with` block ends it.
    """

    def __init__(self, name: str = "default", *, storage: str | os.PathLike[str] | None = None) -> None:
        self.name = name
        folder = _folder_of(name)
        self._storage = os.fspath(storage) if storage is not None else folder.absolute().as_uri()
        self._url: str | None = None
        self._token: str | None = None
        self._open: _apiary.Core | None = None
        self._lock = threading.Lock()
        self._hive = ""
        self._box = ""
        self._settings: dict[str, str] = {}

    @classmethod
    def connect(cls, url: str, *, token: str | None = None) -> Apiary:
        """A session over gRPC with the coordinator at `url`, such as `grpc://pi-1:7410`.

        Several may be named with commas between them: the first that answers is asked, and a query whose coordinator
        dies before its first row goes on at the next.
        """
        session = cls.__new__(cls)
        session.name = url
        session._storage = ""
        session._url = url
        session._token = token
        session._open = None
        session._lock = threading.Lock()
        session._hive = ""
        session._box = ""
        session._settings = {}
        session.start()
        return session

    @property
    def _core(self) -> _apiary.Core:
        with self._lock:
            if self._open is None:
                if self._url is not None:
                    self._open = _apiary.Core.connect(self._url, self._token)
                else:
                    self._open = _apiary.Core.embedded(self._storage)
            return self._open

    def start(self) -> Apiary:
        """Starts the session; first use does it too."""
        _ = self._core
        return self

    def stop(self) -> None:
        """Ends the session; nothing acknowledged is lost. Starting again is fine."""
        with self._lock:
            core, self._open = self._open, None
        if core is not None:
            core.close()

    close = stop

    def __enter__(self) -> Apiary:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def create_hive(self, name: str) -> Hive:
        """Creates a hive, or returns the one that is there."""
        self._core.create_hive(name)
        return Hive(self, name)

    def create_box(self, hive: Hive | str, name: str) -> Box:
        """Creates a box, or returns the one that is there."""
        hive_name = hive.name if isinstance(hive, Hive) else hive
        self._core.create_box(hive_name, name)
        return Box(self, hive_name, name)

    def create_frame(
        self,
        hive: Hive | str,
        box: Box | str,
        name: str,
        schema: Mapping[str, str] | object,
        partition_by: Sequence[str] | str = (),
    ) -> Frame:
        """Creates a frame, or returns the one that is there if it is identical; see `Box.create_frame`."""
        hive_name = hive.name if isinstance(hive, Hive) else hive
        box_name = box.name if isinstance(box, Box) else box
        parts = [partition_by] if isinstance(partition_by, str) else list(partition_by)
        columns = list(schema.items()) if isinstance(schema, Mapping) else schema
        self._core.create_frame((hive_name, box_name, name), columns, parts)
        return Frame(self, hive_name, box_name, name)

    def drop_hive(self, name: Hive | str, *, cascade: bool = False, if_exists: bool = False) -> bool:
        """Drops a hive; see `Hive.drop`."""
        return self.hive(_name_of(name)).drop(cascade=cascade, if_exists=if_exists)

    def drop_box(self, hive: Hive | str, name: Box | str, *, cascade: bool = False, if_exists: bool = False) -> bool:
        """Drops a box; see `Box.drop`."""
        return Box(self, _name_of(hive), _name_of(name)).drop(cascade=cascade, if_exists=if_exists)

    def drop_frame(
        self, hive: Hive | str, box: Box | str, name: Frame | str, *, if_exists: bool = False
    ) -> bool:
        """Drops a frame; see `Frame.drop`."""
        return Frame(self, _name_of(hive), _name_of(box), _name_of(name)).drop(if_exists=if_exists)

    def rename_hive(self, name: Hive | str, to: str) -> Hive:
        """Gives a hive another name; see `Hive.rename`."""
        return self.hive(_name_of(name)).rename(to)

    def rename_box(self, hive: Hive | str, name: Box | str, to: str) -> Box:
        """Gives a box another name; see `Box.rename`."""
        return Box(self, _name_of(hive), _name_of(name)).rename(to)

    def rename_frame(self, hive: Hive | str, box: Box | str, name: Frame | str, to: str) -> Frame:
        """Gives a frame another name; see `Frame.rename`."""
        return Frame(self, _name_of(hive), _name_of(box), _name_of(name)).rename(to)

    create_database, create_schema, create_table = create_hive, create_box, create_frame
    drop_database, drop_schema, drop_table = drop_hive, drop_box, drop_frame
    rename_database, rename_schema, rename_table = rename_hive, rename_box, rename_frame

    def hive(self, name: str) -> Hive:
        """The hive of that name; nothing is asked of the colony yet."""
        return Hive(self, name)

    def hives(self) -> list[Hive]:
        """All hives."""
        return [Hive(self, name) for name in self._core.list()["hives"]]

    def frame(self, path: str) -> Frame:
        """The frame at `hive.box.frame`; missing parts are those of `use_hive` and `use_box`, else `main`."""
        parts = path.split(".")
        defaults = [self._hive or "main", self._box or "main"]
        whole = defaults[: max(0, 3 - len(parts))] + parts
        if len(whole) != 3 or not all(whole):
            raise InvalidInputError(f"{path!r} is not a frame's path", "INVALID_INPUT", "write hive.box.frame")
        return Frame(self, *whole)

    def use_hive(self, name: str) -> None:
        """Makes a hive the default of this session."""
        self.sql("USE HIVE " + '"' + name.replace('"', '""') + '"').fetchall()

    def use_box(self, name: str) -> None:
        """Makes a box of the default hive the default of this session."""
        self.sql("USE BOX " + '"' + name.replace('"', '""') + '"').fetchall()

    def sql(self, statement: str) -> Result:
        """Runs one SQL statement; the result is a lazy stream."""
        query = self._core.execute(statement, self._hive, self._box, self._settings)
        # Statements without rows return when they are done, and with them the session as it is now.
        changed = query.session_if_done()
        if changed is not None:
            self._hive, self._box, self._settings = changed
        return Result(query)

    def vacuum(
        self, run: bool = False, *, retain: timedelta | None = None, force: bool = False
    ) -> list[VacuumReport]:
        """Every frame, then what is left of dropped ones; see `Frame.vacuum`."""
        return [VacuumReport._of(report) for report in self._core.vacuum(None, run, _milliseconds(retain), force)]

    def verify(self, *, deep: bool = False) -> list[VerifyReport]:
        """Checks the registry and every frame; see `Frame.verify`."""
        return [VerifyReport._of(report) for report in self._core.verify(None, deep)]

    def status(self) -> dict[str, Any]:
        """What this session's coordinator sees of the colony: nodes, temperature, regime."""
        return self._core.status()

    swarm_status = status
    colony_status = status

    def write_to_frame(
        self, hive: Hive | str, box: Box | str, name: str, data: Any, *, idempotency_key: str | None = None
    ) -> WriteResult:
        """Appends to a frame by its names; see `Frame.write`."""
        hive_name = hive.name if isinstance(hive, Hive) else hive
        box_name = box.name if isinstance(box, Box) else box
        return Frame(self, hive_name, box_name, name).write(data, idempotency_key=idempotency_key)

    def _write(
        self,
        frame: Frame,
        data: Any,
        idempotency_key: str | None,
        overwrite: tuple[list[list[tuple[str, str | None]]], int | None] | None = None,
    ) -> WriteResult:
        path = (frame.hive, frame.box, frame.name)
        return WriteResult(**self._core.append(path, _arrow_or_rows(data), idempotency_key, overwrite))

    def __repr__(self) -> str:
        return f"Apiary({self._url or self._storage!r})"


def _name_of(thing: Hive | Box | Frame | str) -> str:
    return thing if isinstance(thing, str) else thing.name


def _arrow_or_rows(data: Any) -> Any:
    """What the core takes: an Arrow producer as it is, or a dict of lists."""
    is_pandas = type(data).__module__.startswith("pandas.") and type(data).__name__ == "DataFrame"
    if is_pandas and all(name is None for name in data.index.names):
        data = data.reset_index(drop=True)  # row numbers, left over from a filter or a sort, are no column
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return data
    if is_pandas:
        import pyarrow  # pandas before 2.2 does not speak the interface itself

        return pyarrow.Table.from_pandas(data, preserve_index=False)
    if isinstance(data, Mapping):
        return _equal_columns({str(name): list(values) for name, values in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _columns_of(data)
    raise InvalidInputError(
        f"cannot write a {type(data).__name__}",
        "INVALID_INPUT",
        "pass a pyarrow, polars or pandas table, a list of dicts, or a dict of lists",
    )


def _equal_columns(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInputError(f"columns of different lengths: {lengths}", "INVALID_INPUT")
    return columns


def _columns_of(rows: Sequence[Any]) -> dict[str, list[Any]]:
    names: dict[str, None] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidInputError(
                f"row {number} is a {type(row).__name__}, not a dict", "INVALID_INPUT", "pass a list of dicts"
            )
        names.update(dict.fromkeys(map(str, row)))
    return {name: [row.get(name) for row in rows] for name in names}
