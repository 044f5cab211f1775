"""The parameters of `prepare`, checked before anything is read."""

from __future__ import annotations

import numbers
from typing import Any

import pandas as pd

from keras_negrec.argument_checks import (
    check_choice,
    check_fraction,
    check_positive_float,
    check_positive_int,
)

CHOICES: dict[str, tuple[str | None, ...]] = {
    "errors": ("raise", "skip"),
    "duplicates": ("drop", "keep", "raise"),
    "group_by": ("session", "user"),
    "require_feedback": (None, "any", "negative", "both"),
    "long_rows": ("windows", "newest"),
    "split": ("leave_one_out", "session", "time", None),
}


def check_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, dates among them as seconds since 1970, if all are in range."""
    for name, values in CHOICES.items():
        check_choice(name, parameters[name], values)
    for name in ("min_item_count", "min_session_length", "num_shards"):
        check_positive_int(name, parameters[name])
    for name in ("k_core", "max_length"):
        if parameters[name] is not None:
            check_positive_int(name, parameters[name])
    if parameters["session_gap"] is not None:
        check_positive_float("session_gap", parameters["session_gap"])
    shares = [check_fraction(name, parameters[name]) for name in ("validation_share", "test_share")]
    if sum(shares) >= 1:
        raise ValueError(
            "`validation_share` and `test_share` must leave something to train on. Received: "
            f"validation_share={shares[0]}, test_share={shares[1]}"
        )
    return parameters | _check_periods(parameters)


def _check_periods(parameters: dict[str, Any]) -> dict[str, float]:
    begins = [parameters["validation_from"], parameters["test_from"]]
    if begins == [None, None]:
        return {}
    if parameters["split"] != "time" or None in begins:
        raise ValueError(
            '`validation_from` and `test_from` are for split="time", and go together. '
            f"Received: split={parameters['split']!r}, validation_from={begins[0]!r}, "
            f"test_from={begins[1]!r}"
        )
    times = [_to_time(begin) for begin in begins]
    if times[0] > times[1]:
        raise ValueError(
            "`validation_from` must not be after `test_from`. Received: "
            f"{begins[0]!r} and {begins[1]!r}"
        )
    return {"validation_from": times[0], "test_from": times[1]}


def _to_time(value) -> float:
    """A number, or seconds since 1970 of a date."""
    if isinstance(value, numbers.Real):
        return float(value)
    time = pd.Timestamp(value)
    return (time.tz_localize("UTC") if time.tz is None else time).timestamp()
