"""Apiary: a lakehouse that lives in a bucket.

>>> from apiary import Apiary
>>> with Apiary("demo", storage=getfixture("tmp_path").as_uri()) as ap:
...     frame = ap.create_hive("h").create_box("b").create_frame("t", {"x": "int64"})
...     frame.write([{"x": 1}, {"x": 2}]).rows
...     ap.sql("SELECT sum(x) AS total FROM h.b.t").scalar()
2
3
"""

from ._apiary import __version__
from .errors import (
    AlreadyExistsError,
    ApiaryError,
    ConditionalPutUnsupported,
    ConflictError,
    ConnectionLost,
    CorruptError,
    IdempotencyKeyReused,
    InternalError,
    InvalidInputError,
    MemoryBudgetError,
    NotFoundError,
    OutcomeUnknown,
    OverloadedError,
    PermissionDenied,
    QueryCancelled,
    QueryTimeout,
    SchemaMismatchError,
    SqlSyntaxError,
    StorageError,
    TaskAbandoned,
    UnauthenticatedError,
    UnsupportedError,
)
from .result import QueryStats, Result
from .session import Apiary
from .story import Bounds, Cell, CheckpointResult, HistoryEntry, Problem, VacuumFile, VacuumReport, VerifyReport
from .things import Box, Frame, FrameDescription, Hive, WriteResult

__all__ = [
    "AlreadyExistsError",
    "Apiary",
    "ApiaryError",
    "Bounds",
    "Box",
    "Cell",
    "CheckpointResult",
    "ConditionalPutUnsupported",
    "ConflictError",
    "ConnectionLost",
    "CorruptError",
    "Frame",
    "FrameDescription",
    "HistoryEntry",
    "Hive",
    "IdempotencyKeyReused",
    "InternalError",
    "InvalidInputError",
    "MemoryBudgetError",
    "NotFoundError",
    "OutcomeUnknown",
    "OverloadedError",
    "PermissionDenied",
    "Problem",
    "QueryCancelled",
    "QueryStats",
    "QueryTimeout",
    "Result",
    "SchemaMismatchError",
    "SqlSyntaxError",
    "StorageError",
    "TaskAbandoned",
    "UnauthenticatedError",
    "UnsupportedError",
    "VacuumFile",
    "VacuumReport",
    "VerifyReport",
    "WriteResult",
    "__version__",
]
