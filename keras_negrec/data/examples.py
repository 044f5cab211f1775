"""What evaluation runs on: histories and what happened right after them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.data.event_columns import EVENT_COLUMNS, value_after
from keras_negrec.data.sessions import Sessions


class Examples:
    """Histories with the item that was kept next and the item that was skipped next.

    Args:
        histories: `Sessions`, one row an example.
        targets: int array of shape `(num_examples,)`, the next item with positive feedback, 0
            where only the skipped one is known.
        skip_targets: int array of shape `(num_examples,)`, the next item with negative
            feedback, 0 where there is none. Default: none.
        excluded_items: for each example the items that are never recommended: a list of lists of
            item ids from 1, or `Sessions` with one row an example. Default: none.
        exclude_seen: bool or None. Whether items of the history are taken out of the ranking: what
            `evaluate`, `compare` and `RankingEvaluation` do unless they are told otherwise. None
            leaves it to the model.

    Raises:
        ValueError: other lengths than there are histories; an example without any target.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> examples.targets, examples.skip_targets
    (array([3], dtype=int32), array([2], dtype=int32))
    """

    def __init__(
        self,
        histories: Sessions,
        targets: np.ndarray,
        skip_targets: np.ndarray | None = None,
        *,
        excluded_items: Sessions | Sequence[Sequence[int]] | None = None,
        exclude_seen: bool | None = None,
    ):
        self.histories = histories
        self.targets = np.asarray(targets)
        none = np.zeros(len(self.targets), "int32")
        self.skip_targets = none if skip_targets is None else np.asarray(skip_targets)
        if not isinstance(excluded_items, Sessions | None):
            excluded_items = _ragged(excluded_items)
        self.excluded_items = excluded_items
        self.exclude_seen = exclude_seen
        for name in ("targets", "skip_targets", "excluded_items"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.histories):
                raise ValueError(
                    f"`{name}` must have one value for each of the {len(self.histories)} "
                    f"histories. Received: {len(values)} values."
                )
        wrong = (self.targets < 0) | (self.skip_targets < 0)
        wrong |= (self.targets == 0) & (self.skip_targets == 0)
        for first in np.flatnonzero(wrong)[:1]:
            raise ValueError(
                "Every example needs a target or a skip target, an item id from 1. Received a "
                f"target below 1: example {first} has targets={self.targets[first]}, "
                f"skip_targets={self.skip_targets[first]}."
            )

    @classmethod
    def after(
        cls,
        sessions: Sessions,
        cuts: np.ndarray,
        *,
        target: str = "next_positive",
        horizon: int | None = None,
    ) -> Examples:
        """Examples whose histories are the first `cuts[i]` events of each session.

        Sessions without any history (`cuts[i] == 0`) or without a target cannot be ranked and
        are left out: `examples.histories.keys` tells which remain.

        Args:
            sessions, cuts: `Sessions`, and an int array of shape `(num_sessions,)`.
            target: `"next_positive"`: the targets are the first positive and the first negative
                event at or after the cut; a session without a positive one is left out. Or
                `"next"`: the event right after the cut alone, a target where it is positive, a
                skip target where it is negative; one with feedback 0 is left out.
            horizon: int or None. An example for each of so many events from the cut on, not for the
                first ones alone: the i-th positive and the i-th negative one are those of the i-th
                example, and where one of them is missing the other one comes alone. `hr@K` is then
                the share of what was kept there, and `skip_hr@K` the share of what was skipped
                there, that is among the first K. Not with `target="next"`.

        Example:

        >>> sessions = keras_negrec.data.Sessions.from_lists([[4, 1, 2, 3]], [[1, -1, 1, -1]])
        >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]), horizon=10)
        >>> examples.targets, examples.skip_targets
        (array([2, 0], dtype=int32), array([1, 3], dtype=int32))
        """
        check_choice("target", target, ("next_positive", "next"))
        cuts = np.asarray(cuts)
        if horizon is not None:
            if target == "next":
                raise ValueError(f'`horizon` is not for target="next". Received: {horizon}')
            return cls._of_horizon(sessions, cuts, check_positive_int("horizon", horizon))
        positions, of_row = sessions.positions(), np.repeat(cuts, sessions.lengths)
        late = positions >= of_row if target == "next_positive" else positions == of_row
        targets, skips = (
            _first_item(sessions, late & (sessions.feedback * sign > 0)) for sign in (1, -1)
        )
        found = targets if target == "next_positive" else targets + skips
        rows = np.flatnonzero((found > 0) & (cuts > 0))
        return cls(sessions.between(0, cuts[rows], rows), targets[rows], skips[rows])

    @classmethod
    def _of_horizon(cls, sessions: Sessions, cuts: np.ndarray, horizon: int) -> Examples:
        later = sessions.positions() - np.repeat(cuts, sessions.lengths)
        is_asked = (later >= 0) & (later < horizon) & np.repeat(cuts > 0, sessions.lengths)
        asked = [np.flatnonzero(is_asked & (sessions.feedback * sign > 0)) for sign in (1, -1)]
        rows = [sessions.rows()[events] for events in asked]
        counts = [np.bincount(each, minlength=len(sessions)) for each in rows]
        first = np.append(0, np.cumsum(np.maximum(*counts)))
        found = np.zeros((2, first[-1]), "int32")
        for items, events, row, count in zip(found, asked, rows, counts, strict=True):
            nth = np.arange(len(events)) - np.repeat(np.cumsum(count) - count, count)
            items[first[row] + nth] = sessions.item_ids[events]
        of = np.repeat(np.arange(len(sessions)), np.diff(first))
        return cls(sessions.between(0, cuts[of], of), *found)

    @classmethod
    def every_prefix(
        cls, sessions: Sessions, starts: int | np.ndarray = 1, *, target: str = "next_positive"
    ) -> Examples:
        """Predicts every event from those before it: an example for each beginning of a session.

        They come session by session, the shortest history first, each with the key of its session.
        `starts`, an int or one for each session, is the shortest history, 1 or more; `target` is
        as for `after`.

        Example:

        >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
        >>> examples = keras_negrec.data.Examples.every_prefix(sessions, target="next")
        >>> examples.histories.lengths, examples.targets, examples.skip_targets
        (array([1, 2]), array([0, 3], dtype=int32), array([2, 0], dtype=int32))
        """
        starts = np.broadcast_to(np.maximum(starts, 1), sessions.lengths.shape)
        late = sessions.positions() >= np.repeat(starts, sessions.lengths)
        prefixes = sessions.take(sessions.rows()[late])
        return cls.after(prefixes, sessions.positions()[late], target=target)

    def replace(self, **changes) -> Examples:
        """The same examples with other arguments, such as `exclude_seen=False`."""
        return Examples(**{**vars(self), **changes})

    def take(self, rows) -> Examples:
        """The given examples, in the given order."""
        excluded = self.excluded_items
        return self.replace(
            histories=self.histories.take(rows),
            targets=self.targets[rows],
            skip_targets=self.skip_targets[rows],
            excluded_items=None if excluded is None else excluded.take(rows),
        )

    def sessions(self) -> Sessions:
        """Each history with its target after it, as a positive event: for a held-out loss.

        `model.evaluate(model.training_dataset(split.validation.sessions()))` gives the loss that
        training would have on them, at all positions. Examples without a target are left out.
        Other columns of the target, such as its session, are those of the newest event, and its
        time is that of the request.
        """
        histories = self.histories.take(self.targets > 0)
        ends = histories.row_splits[1:]
        added: dict[str, Any] = {"item_ids": self.targets[self.targets > 0], "feedback": 1}
        columns = {}
        for name, values in histories.columns.items():
            latest = histories.columns[value_after(name, histories.columns)]
            newest = np.append(0, latest)[ends] * (histories.lengths > 0)
            masked = EVENT_COLUMNS[name].masked
            added.setdefault(name, newest if masked is None else masked)
            columns[name] = np.insert(values, ends, added[name])
        splits = histories.row_splits + np.arange(len(histories) + 1)
        return Sessions(columns, splits, histories.keys)

    def fingerprint(self) -> str:
        """A hash of histories, targets and excluded items, the same in every process."""
        digest = hashlib.sha256(self.histories.fingerprint().encode())
        for values in (self.targets, self.skip_targets):
            digest.update(values.astype("<i8").tobytes())
        if self.excluded_items is not None:
            digest.update(self.excluded_items.fingerprint().encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return (
            f"<Examples: {len(self)} histories, {(self.targets > 0).sum()} with a target, "
            f"{(self.skip_targets > 0).sum()} with a skip>"
        )


def _ragged(rows: Sequence[Sequence[int]]) -> Sessions:
    """Lists of item ids, which may be empty, as `Sessions`."""
    lengths = [len(row) for row in rows]
    item_ids = np.fromiter((item for row in rows for item in row), "int32", sum(lengths))
    columns = {"item_ids": item_ids, "feedback": np.zeros(len(item_ids), "int8")}
    return Sessions(columns, np.append(0, np.cumsum(lengths)), np.arange(len(lengths)))


def _first_item(sessions: Sessions, chosen: np.ndarray) -> np.ndarray:
    """The item of each row's first chosen event, 0 where there is none."""
    first = sessions.first(chosen)
    items = np.append(sessions.item_ids, 0)[sessions.row_splits[:-1] + first]
    return np.where(first < sessions.lengths, items, 0).astype("int32")
