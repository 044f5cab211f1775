"""Answers that are errors, with TF Serving's codes."""

from __future__ import annotations

import re

import grpc
import tensorflow as tf

HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_LONGEST = 1000  # characters; a message travels in a header of gRPC


class ServingError(Exception):
    """A request is refused.

    Args:
        code: name of a gRPC status code.
        message: for the client.
        http_status: int. Default: the one that TF Serving gives for the code.
    """

    def __init__(self, code: str, message: str, http_status: int | None = None):
        short = message if len(message) <= _LONGEST else message[:_LONGEST] + " ..."
        super().__init__(short)
        self.code, self.message = code, short
        self.http_status = http_status or HTTP_STATUS.get(code, 500)


def invalid(message: str) -> ServingError:
    return ServingError("INVALID_ARGUMENT", message)


def serving_error(error: BaseException) -> ServingError:
    """Any error as an answer; of TensorFlow's, the line that says what was wrong."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        message = error.message.removeprefix("Graph execution error:").lstrip()
        first_line = message.split("\n", 1)[0]
        return ServingError(_CODES[error.error_code], re.sub(r"^(\{\{.*?\}\} ?)+", "", first_line))
    if isinstance(error, TimeoutError):
        return ServingError("DEADLINE_EXCEEDED", "The answer took too long.")
    return ServingError("INTERNAL", f"{type(error).__name__}: {error}")
