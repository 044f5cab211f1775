"""Lines of delimited text as columns of text."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

_INNER = "\x1f"  # Stands for a delimiter inside of quotes.
_ORIGIN = ("file", "row")  # Where a line comes from.


def split_lines(
    lines: ir.Table, columns: Sequence[str], delimiter: str, *, quoted: bool = False
) -> ir.Table:
    """The fields of each line under the given names, and `problem` where their number is wrong.

    Args:
        lines: what `scan_lines` returned.
        columns: one name a field.
        delimiter: what stands between fields, one character or more.
        quoted: whether fields may stand in double quotes. Inside of them the delimiter is text,
            and two double quotes are one.
    """
    fields = lines.line.split(delimiter)
    closed = ibis.literal(True)
    if quoted:
        has_quotes = lines.line.contains('"')
        closed = ~has_quotes | (lines.line.split('"').length() % 2 == 1)
        fields = ibis.ifelse(has_quotes, _split_quoted(lines.line, delimiter), fields)
    lines = lines.mutate(fields=fields, closed=closed)
    num_fields = lines.fields.length()
    fits = (num_fields == len(columns)) & lines.closed
    problem = ibis.cases(
        (
            ~lines.closed,
            "expected every quote to be closed on its line. Received: " + lines.line.substr(0, 200),
        ),
        (
            num_fields != len(columns),
            f"expected {len(columns)} fields separated by {delimiter!r}. Received: "
            + num_fields.cast("string")
            + " in "
            + lines.line.substr(0, 200),
        ),
    )
    values = {name: ibis.ifelse(fits, lines.fields[i], None) for i, name in enumerate(columns)}
    origin = {name: lines[name] for name in lines.columns if name in _ORIGIN}
    return lines.select(**values, problem=problem, **origin)


def _split_quoted(line: ir.StringValue, delimiter: str) -> ir.ArrayValue:
    """Splits at the delimiters outside of quotes; every second part between quotes is inside."""
    parts = line.split('"').map(
        lambda part, i: ibis.ifelse(i % 2 == 1, part.replace(delimiter, _INNER), part)
    )
    fields = parts.join('"').split(delimiter)
    return fields.map(
        lambda field: field.re_replace('^"|"$', "").replace('""', '"').replace(_INNER, delimiter)
    )
