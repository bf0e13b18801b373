"""The errors a query can end with, as they travel on the wire.

Each class carries the response type and the error type of the protocol; a driver turns them
back into its own exceptions. Terms raise them without a position; the compiled term that was
running adds `backtrace` (the path from the root of the query: argument numbers and names of
optional arguments), once, on the way out. Everything in `db.embedded` raises these and only
these towards a client; any other exception is a fault of ours and is answered as an
internal error by the session.
"""

from __future__ import annotations

from enum import IntEnum

Backtrace = tuple[int | str, ...]


class ResponseType(IntEnum):
    SUCCESS_ATOM = 1
    SUCCESS_SEQUENCE = 2
    SUCCESS_PARTIAL = 3
    WAIT_COMPLETE = 4
    SERVER_INFO = 5
    CLIENT_ERROR = 16
    COMPILE_ERROR = 17
    RUNTIME_ERROR = 18


class ErrorType(IntEnum):
    INTERNAL = 1000000
    RESOURCE_LIMIT = 2000000
    QUERY_LOGIC = 3000000
    NON_EXISTENCE = 3100000
    OP_FAILED = 4100000
    OP_INDETERMINATE = 4200000
    USER = 5000000
    PERMISSION_ERROR = 6000000


class ReqlError(Exception):
    """A query failed; `message` is what the person who wrote it reads."""

    response = ResponseType.RUNTIME_ERROR
    error: ErrorType | None = ErrorType.QUERY_LOGIC

    def __init__(self, message: str, backtrace: Backtrace | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.backtrace = backtrace


class ClientError(ReqlError):
    """The driver broke the protocol (malformed frame, unknown token)."""

    response = ResponseType.CLIENT_ERROR
    error = None


class CompileError(ReqlError):
    """The query is wrong whatever the data: arity, unknown option, r.row out of place."""

    response = ResponseType.COMPILE_ERROR
    error = None


class QueryLogicError(ReqlError):
    """A term met a value it cannot work with."""


class NonExistenceError(QueryLogicError):
    """Something is missing: a field, an element, a null where a value was wanted."""

    error = ErrorType.NON_EXISTENCE


class ResourceLimitError(ReqlError):
    error = ErrorType.RESOURCE_LIMIT


class UserError(ReqlError):
    """Raised by r.error("...")."""

    error = ErrorType.USER


class InternalError(ReqlError):
    error = ErrorType.INTERNAL


class OpFailedError(ReqlError):
    """An administrative operation or a write certainly did not happen."""

    error = ErrorType.OP_FAILED


class OpIndeterminateError(ReqlError):
    error = ErrorType.OP_INDETERMINATE


class PermissionDeniedError(ReqlError):
    error = ErrorType.PERMISSION_ERROR


class EmptyError(QueryLogicError):
    """r.error() without a message: inside `default` it repeats the error being handled."""


class QueryInterrupted(BaseException):
    """The client stopped the query or went away; unwinds the evaluation, never answered."""
