"""Variables with a row for each item of a catalogue."""

from __future__ import annotations


def mark_item_table(variable) -> None:
    """Says that a trainable variable has a row for each item: its gradient may hold some alone."""
    variable.is_item_table = True


def is_item_table(variable) -> bool:
    return getattr(variable, "is_item_table", False)
