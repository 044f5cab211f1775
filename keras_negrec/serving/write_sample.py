"""Listeners and names of items for the page that the embedded server shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.atomic_write import atomic_write

LISTENERS, ITEM_NAMES = "listeners.json", "item_names.csv"


def write_sample(
    folder, sessions, vocabulary, *, item_names: Mapping | None = None, num_listeners: int = 20
) -> list[Path]:
    """Writes some histories, and the items' names, beside a model's exported versions.

    The page of `python -m keras_negrec.serving` offers them to try the model with. Those with
    both kept and skipped events come first, in the order given. TF Serving ignores the files.

    Args:
        folder: the folder of the model, which holds its versions.
        sessions: `Sessions`, such as the `histories` of `Examples`.
        vocabulary: `Vocabulary` of the sessions.
        item_names: mapping from external ids to names, or None for none.
        num_listeners: int. How many histories.

    Returns:
        The paths of the files: `listeners.json`, and `item_names.csv` where there are names.

    Raises:
        ValueError: `num_listeners` is not above 0.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [2, 1]], [[1, -1, 1], [1, 1]])
    >>> paths = keras_negrec.serving.write_sample("saved_models/example", sessions, vocabulary)
    >>> [path.name for path in paths]
    ['listeners.json']
    """
    check_positive_int("num_listeners", num_listeners)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    listeners = []
    for row in _telling_first(sessions)[:num_listeners]:
        events = slice(*sessions.row_splits[row : row + 2])
        listeners.append(
            {
                "name": str(sessions.keys[row]),
                "item_ids": vocabulary.decode(sessions.item_ids[events]).tolist(),
                "feedback": sessions.feedback[events].tolist(),
            }
        )
    with atomic_write(folder / LISTENERS) as partial:
        partial.write_text(json.dumps(listeners, ensure_ascii=False), "utf-8")
    if not item_names:
        return [folder / LISTENERS]
    with (
        atomic_write(folder / ITEM_NAMES) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows([("item", "name"), *item_names.items()])
    return [folder / LISTENERS, folder / ITEM_NAMES]


def _telling_first(sessions) -> np.ndarray:
    """Rows, first those with kept and skipped events among at least five."""
    skipped = np.append(0, np.cumsum(sessions.feedback < 0))
    skips = skipped[sessions.row_splits[1:]] - skipped[sessions.row_splits[:-1]]
    is_telling = (skips > 0) & (skips < sessions.lengths) & (sessions.lengths >= 5)
    return np.argsort(~is_telling, kind="stable")
