"""What can go wrong, as a tree: catch `ApiaryError`, or the built-in that the case resembles."""

from __future__ import annotations


class ApiaryError(Exception):
    """The base of every error of Apiary.

    `code` is stable and the same in every interface; `hint` says what to do next, if anything is known to help.
    """

    def __init__(
        self,
        message: str,
        code: str = "INTERNAL",
        hint: str | None = None,
        query_id: str | None = None,
        retryable: bool = False,
        retry_after_ms: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.query_id = query_id
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class InvalidInputError(ApiaryError, ValueError):
    """A name, option or value that cannot be."""


class SqlSyntaxError(ApiaryError, ValueError):
    """SQL that does not parse or does not resolve."""


class NotFoundError(ApiaryError, LookupError):
    """A hive, box, frame, column or query that is not there."""


class AlreadyExistsError(ApiaryError, ValueError):
    """It is there already, and differs."""


class SchemaMismatchError(ApiaryError, TypeError):
    """Data that does not fit the frame's schema."""


class ConflictError(ApiaryError, RuntimeError):
    """Another transaction won; read again and redo."""


class IdempotencyKeyReused(ApiaryError, ValueError):
    """An idempotency key that was used for other rows."""


class OutcomeUnknown(ApiaryError, RuntimeError):
    """It may or may not have been applied: look before doing it again."""


class UnauthenticatedError(ApiaryError, PermissionError):
    """No token, or a wrong one."""


class PermissionDenied(ApiaryError, PermissionError):
    """A known caller without the right."""


class MemoryBudgetError(ApiaryError, MemoryError):
    """A query over its memory or disk budget."""


class OverloadedError(ApiaryError, RuntimeError):
    """The colony is too busy; `retry_after_ms` says when to come back."""


class QueryTimeout(ApiaryError, TimeoutError):
    """A deadline passed."""


class QueryCancelled(ApiaryError, RuntimeError):
    """Someone asked to stop."""


class TaskAbandoned(ApiaryError, RuntimeError):
    """A task failed on every attempt."""


class StorageError(ApiaryError, OSError):
    """The object store refused or could not be reached."""


class ConditionalPutUnsupported(StorageError):
    """The store ignores conditional puts, so nothing can be promised over it."""


class ConnectionLost(ApiaryError, ConnectionError):
    """A node that could not be reached."""


class CorruptError(ApiaryError, RuntimeError):
    """An object that is not what it was when it was written."""


class UnsupportedError(ApiaryError, NotImplementedError):
    """Not built, or not in this setting."""


class InternalError(ApiaryError, RuntimeError):
    """A defect in Apiary."""


_BY_CODE: dict[str, type[ApiaryError]] = {
    "INVALID_INPUT": InvalidInputError,
    "SQL_ERROR": SqlSyntaxError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "SCHEMA_MISMATCH": SchemaMismatchError,
    "CONFLICT": ConflictError,
    "KEY_REUSED": IdempotencyKeyReused,
    "OUTCOME_UNKNOWN": OutcomeUnknown,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDenied,
    "MEMORY_BUDGET": MemoryBudgetError,
    "OVERLOADED": OverloadedError,
    "TIMEOUT": QueryTimeout,
    "CANCELLED": QueryCancelled,
    "TASK_ABANDONED": TaskAbandoned,
    "STORAGE": StorageError,
    "CONDITIONAL_PUT_UNSUPPORTED": ConditionalPutUnsupported,
    "UNAVAILABLE": ConnectionLost,
    "CORRUPT": CorruptError,
    "UNSUPPORTED": UnsupportedError,
    "INTERNAL": InternalError,
}


def error_of(
    code: str, message: str, hint: str | None, query_id: str | None, retryable: bool, retry_after_ms: int
) -> ApiaryError:
    """The error for a code; the core calls this, so that the tree stands in one place."""
    return _BY_CODE.get(code, ApiaryError)(message, code, hint, query_id, retryable, retry_after_ms)
