"""The rule that turns a raw table into feedback."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import problem_where

Rule = Callable[[ir.Table], ir.Value]


def add_feedback(table: ir.Table, feedback: str | Rule, rules: Mapping[str, Rule]) -> ir.Table:
    """Adds the column `feedback`, int8, and a `problem` where the rule gives something else.

    Args:
        table: the raw table, with the column `problem`.
        feedback: the name of one of `rules`, or a function of the raw table that returns an
            integer column.
        rules: the built-in rules.

    Raises:
        ValueError: a name that is none of the rules.
        TypeError: a rule that does not return an integer column.
    """
    if isinstance(feedback, str):
        if feedback not in rules:
            raise ValueError(
                f"`feedback` must be one of {list(rules)} or a function of the raw table. "
                f"Received: feedback={feedback!r}"
            )
        feedback = rules[feedback]
    values = feedback(table)
    if not isinstance(values, ir.IntegerValue):
        received = values.type() if isinstance(values, ir.Value) else type(values).__name__
        raise TypeError(
            f"The rule for `feedback` must return an integer column. Received: {received}"
        )
    is_feedback = ibis.coalesce(values.between(-2, 2), False)
    return table.mutate(
        feedback=ibis.ifelse(is_feedback, values, None).cast("int8"),
        problem=ibis.coalesce(
            table.problem,
            problem_where(~is_feedback, "feedback", "expected -2, -1, 0, 1 or 2", values),
        ),
    )
