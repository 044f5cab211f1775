"""Which columns of text are integers throughout."""

from __future__ import annotations

from collections.abc import Sequence

import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import INTEGER
from keras_negrec.data.logs.engine_errors import engine_errors


def integer_columns(table: ir.Table, names: Sequence[str], source: str) -> set[str]:
    """The columns whose values, where they are not empty, are all integers.

    It reads all rows once, and keeps none. `"007"` is no integer: it and `"7"` stay two ids.
    """
    columns = {name: (table[name].re_search(INTEGER) | (table[name] == "")).all() for name in names}
    with engine_errors(source):
        found = table.aggregate(**columns).to_pyarrow().to_pylist()[0]
    return {name for name in names if found[name]}
