"""Errors of the engines in the package's own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def engine_errors(source: str) -> Iterator[None]:
    """Turns an error of DuckDB or Spark into a ValueError that names the file, or else `source`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("_duckdb", "duckdb", "py4j", "pyspark"):
            raise
        message = str(error)
        file = re.search(r"^\s*file = (.+)$", message, flags=re.M)
        raise ValueError(
            f"{file[1] if file else source} cannot be read. Received: "
            f"{' '.join(message.split())[:400]}"
        ) from error
