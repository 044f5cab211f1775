"""Checks that several public classes and functions make of their arguments."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable


def check_positive_int(name: str, value) -> int:
    """`value` as an int, or a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def check_positive_ints(name: str, values: Iterable) -> tuple[int, ...]:
    """`values` as a tuple of ints, or a `ValueError` that names the argument."""
    return tuple(check_positive_int(name, value) for value in values)


def check_choice(name: str, value, choices: tuple) -> None:
    """A `ValueError` that names the argument and the choices, unless `value` is one of them."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be one of {listed}. Received: {name}={value!r}")


def check_fraction(name: str, value) -> float:
    """`value` as a float from 0 up to but not including 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be at least 0 and below 1. Received: {name}={value!r}")
    return float(value)


def check_positive_float(name: str, value) -> float:
    """`value` as a float above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"`{name}` must be above 0. Received: {name}={value!r}")
    return float(value)


def check_ranking_weight(name: str, value) -> float:
    """`value`, which must be a finite number of at least 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise ValueError(f"`{name}` must be a number of at least 0. Received: {value!r}")
    return value


def check_num_items(num_items, vocabulary) -> int:
    """`num_items` as an int, by default the size of the vocabulary, which it must agree with."""
    if vocabulary is not None and not hasattr(vocabulary, "encode"):
        raise TypeError(
            "`vocabulary` must be a `keras_negrec.data.Vocabulary`, which can be made of a list. "
            f"Received one of type {type(vocabulary).__name__}."
        )
    if num_items is None and vocabulary is not None:
        num_items = len(vocabulary)
    num_items = check_positive_int("num_items", num_items)
    if vocabulary is not None and len(vocabulary) != num_items:
        raise ValueError(
            f"`num_items` must be the size of the vocabulary, {len(vocabulary)}. Received: "
            f"num_items={num_items}"
        )
    return num_items


def check_item_ids(item_ids, num_items: int) -> None:
    """A `ValueError` if an id lies beyond the catalogue."""
    if len(item_ids) and item_ids.max() > num_items:
        raise ValueError(f"Item ids must lie in 1..{num_items}. Received: {item_ids.max()}")


def check_length(shape: tuple, max_length: int) -> None:
    """A `ValueError` for inputs `(batch, length, dim)` that are known to be too long."""
    if shape[1] is not None and shape[1] > max_length:
        raise ValueError(
            f"A sequence may have at most max_length={max_length} events. Received "
            f"length {shape[1]}: inputs.shape={tuple(shape)}"
        )
