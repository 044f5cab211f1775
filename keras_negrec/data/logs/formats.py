"""The formats of logs by name, and what their readers take."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from keras_negrec.argument_checks import check_choice

# A function of a path and an Ibis connection that returns an Ibis table of events.
Scan = Callable[..., Any]

FORMATS = ("frame", "kuairand", "lastfm1k", "movielens", "mssd", "sequences", "yambda")


def find_scan(format: str | Scan) -> Scan:
    """The scan of a format; a function is a format of the caller's own."""
    if callable(format):
        return format
    check_choice("format", format, FORMATS)
    module = importlib.import_module(f"keras_negrec.data.logs.{format}")
    return getattr(module, f"scan_{format}")


def numbers_rows(scan: Scan) -> bool:
    """Whether the scan can number the rows of a file."""
    return "number_rows" in inspect.signature(scan).parameters


def check_format_options(format: str | Scan, scan: Scan, options: dict) -> None:
    """A ValueError unless the options are what the reader of the format takes."""
    parameters = list(inspect.signature(scan).parameters.values())[2:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {one.name: one for one in parameters if one.name != "number_rows"}
    needed = [name for name, one in known.items() if one.default is one.empty]
    if not set(needed) <= set(options) <= set(known):
        raise ValueError(
            f"`format_options` of format {getattr(format, '__name__', format)!r} must be of "
            f"{', '.join(known) or 'nothing'}{', with ' + ' and '.join(needed) if needed else ''}. "
            f"Received: {options}"
        )
