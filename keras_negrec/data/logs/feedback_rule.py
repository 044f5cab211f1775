"""The rule that turns a raw table into feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.columns import add_problems, plain_text, problem_where

Rule = Callable[[ir.Table], ir.Value] | Mapping[str, Any]


def add_feedback(
    table: ir.Table,
    feedback: str | Rule,
    rules: Mapping[str, Callable[[ir.Table], ir.Value]],
    source: str = "the log",
) -> ir.Table:
    """Adds the column `feedback`, int8, and a `problem` where the rule gives something else.

    `feedback` is the name of one of the built-in `rules`; a dict of a `column` and the feedback of
    each of its `values`; or a function of the raw table that returns an integer column.
    """
    if isinstance(feedback, Mapping):
        return _add_mapped(table, feedback, source)
    if isinstance(feedback, str):
        if feedback not in rules:
            raise ValueError(
                f"`feedback` must be one of {list(rules)} or a function of the raw table. "
                f"Received: feedback={feedback!r}"
            )
        name, rule = feedback if feedback in table.columns else "feedback", rules[feedback]
    elif callable(feedback):
        name, rule = "feedback", feedback
    else:
        raise TypeError(f"`feedback` must be a name, a dict or a function. Received: {feedback!r}")
    values = rule(table)
    if not isinstance(values, ir.IntegerValue):
        received = values.type() if isinstance(values, ir.Value) else type(values).__name__
        raise TypeError(
            "The rule for `feedback` gets an Ibis table and must return an integer column, for "
            "example `lambda log: (log.played < 0.5).ifelse(-1, 1)`. Received: "
            f"{received}"
        )
    is_feedback = ibis.coalesce(values.between(-2, 2), False)
    problem = problem_where(~is_feedback, name, "expected -2, -1, 0, 1 or 2", values)
    feedback = ibis.ifelse(is_feedback, values, None).cast("int8")
    return add_problems(table, problem).mutate(feedback=feedback)


def _add_mapped(table: ir.Table, feedback: Mapping[str, Any], source: str) -> ir.Table:
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
    text = plain_text(table[name])
    found = text.cases(*meanings.items(), else_=ibis.null("int64")).cast("int8")
    expected = ", ".join(key or "nothing" for key in meanings)
    problem = problem_where(found.isnull(), name, f"expected one of {expected}", table[name])
    return add_problems(table, problem).mutate(feedback=found)


def _key(key) -> str:
    """What `plain_text` makes of a value of a column that equals the key."""
    if key is None or (isinstance(key, float) and math.isnan(key)):
        return ""
    text = str(key).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    whole, _, rest = text.partition(".")
    return whole if whole.lstrip("+-").isdigit() and not rest.strip("0") else text
