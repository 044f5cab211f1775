"""Lines of delimited text as columns of text."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

_ORIGIN = ("file", "row")  # Where a line comes from.


def split_lines(
    lines: ir.Table, columns: Sequence[str], delimiter: str, *, quoted: bool = False
) -> ir.Table:
    """The fields of each line under the given names, and `problem` where their number is wrong.

    Args:
        lines: what `scan_lines` returned.
        columns: one name a field.
        delimiter: what stands between fields, one character or more.
        quoted: whether fields may stand in double quotes. Inside of them the delimiter, one
            character, is text, and two double quotes are one.
    """
    line = lines.line
    # What is left without the parts in quotes tells the number of fields.
    bare = line.re_replace('"[^"]*"', "") if quoted else line
    lines = lines.mutate(fields=line.split(delimiter), num_fields=bare.split(delimiter).length())
    closed = ~bare.contains('"') if quoted else ibis.literal(True)
    fits = closed & (lines.num_fields == len(columns))
    problem = ibis.cases(
        (
            ~closed,
            "expected every quote to be closed on its line. Received: " + line.substr(0, 200),
        ),
        (
            ~fits,
            f"expected {len(columns)} fields separated by {delimiter!r}. Received: "
            + lines.num_fields.cast("string")
            + " in "
            + line.substr(0, 200),
        ),
    )
    values = {}
    for i, name in enumerate(columns):
        field = lines.fields[i]
        if quoted:
            field = ibis.ifelse(line.contains('"'), _quoted_field(line, delimiter, i), field)
        values[name] = ibis.ifelse(fits, field, None)
    origin = {name: lines[name] for name in lines.columns if name in _ORIGIN}
    return lines.select(**values, problem=problem, **origin)


def _quoted_field(line: ir.StringValue, delimiter: str, i: int) -> ir.StringValue:
    """Field `i` of a line in which delimiters may stand in quotes."""
    # Without array lambdas: ibis writes them in a way that not every DuckDB reads.
    field = f'[^"{delimiter}]*(?:"[^"]*"[^"{delimiter}]*)*'
    value = line.re_extract(f"^(?:{field}{delimiter}){{{i}}}({field})", 1)
    return value.re_replace('^"|"$', "").replace('""', '"')
