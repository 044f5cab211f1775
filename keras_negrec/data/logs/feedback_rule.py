"""The rule that turns a raw table into feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.columns import plain_text, problem_where

Rule = Callable[[ir.Table], ir.Value] | Mapping[str, Any]


def to_events(
    table: ir.Table,
    roles: Mapping[str, str] | Sequence[str],
    feedback: str | Rule,
    rules: Mapping[str, Callable[[ir.Table], ir.Value]],
    source: str = "the log",
) -> ir.Table:
    """The columns of a scan: `roles` (and what each is called here), `feedback`, `file` and such.

    `feedback`, int8, is the name of one of the built-in `rules`; a dict of a `column` and the
    feedback of each of its `values`; or a function of the raw table that returns an integer column.
    Rows of which the rule makes something else have a `problem`.
    """
    if isinstance(feedback, Mapping):
        values, problem = _by_value(table, feedback, source)
    else:
        values, problem = _by_rule(table, feedback, rules)
    names = roles if isinstance(roles, Mapping) else {role: role for role in roles}
    names = {**names, **{name: name for name in ("file", "row") if name in table.columns}}
    return table.select(
        **{role: table[name] for role, name in names.items()},
        feedback=values.cast("int8"),
        problem=ibis.coalesce(table.problem, problem),
    )


def _by_rule(table: ir.Table, feedback: str | Rule, rules: Mapping) -> tuple[ir.Value, ir.Value]:
    if isinstance(feedback, str) and feedback not in rules:
        raise ValueError(
            f"`feedback` must be one of {list(rules)} or a function of the raw table. "
            f"Received: {feedback=}"
        )
    if not isinstance(feedback, str) and not callable(feedback):
        raise TypeError(f"`feedback` must be a name, a dict or a function. Received: {feedback!r}")
    values = rules[feedback](table) if isinstance(feedback, str) else feedback(table)
    if not isinstance(values, ir.IntegerValue):
        received = values.type() if isinstance(values, ir.Value) else type(values).__name__
        raise TypeError(
            "The rule for `feedback` gets an Ibis table and must return an integer column, for "
            "example `lambda log: (log.played < 0.5).ifelse(-1, 1)`. Received: "
            f"{received}"
        )
    name = feedback if feedback in table.columns else "feedback"
    is_feedback = ibis.coalesce(values.between(-2, 2), False)
    problem = problem_where(~is_feedback, str(name), "expected -2, -1, 0, 1 or 2", values)
    return ibis.ifelse(is_feedback, values, None), problem


def _by_value(table: ir.Table, feedback: Mapping, source: str) -> tuple[ir.Value, ir.Value]:
    values: Any = feedback.get("values")
    if (
        set(feedback) != {"column", "values"}
        or not isinstance(values, Mapping)
        or not values
        or not all(value in range(-2, 3) for value in values.values())
    ):
        raise ValueError(
            "`feedback` as a dict must be a column and what each of its values means, from -2 to "
            '2, for example {"column": "skipped", "values": {True: -1, False: 1}}. Received: '
            f"{dict(feedback)}"
        )
    name = feedback["column"]
    if name not in table.columns:
        raise ValueError(
            f"In {source}: column {name!r} is missing. Received columns: {list(table.columns)}"
        )
    meanings = {_key(key): int(value) for key, value in values.items()}
    found = plain_text(table[name]).cases(*meanings.items(), else_=ibis.null("int64"))
    expected = ", ".join(key or "nothing" for key in meanings)
    return found, problem_where(found.isnull(), name, f"expected one of {expected}", table[name])


def _key(key) -> str:
    """What `plain_text` makes of a value of a column that equals the key."""
    if key is None or (isinstance(key, float) and math.isnan(key)):
        return ""
    text = str(key).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    whole, _, rest = text.partition(".")
    return whole if whole.lstrip("+-").isdigit() and not rest.strip("0") else text
