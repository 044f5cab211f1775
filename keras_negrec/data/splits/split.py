"""Splits: what trains, what tunes and what is reported."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import leave_one_out_cuts
from keras_negrec.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Split:
    """Training sessions, and the examples to tune on and to report.

    Args:
        train: `Sessions`, the events that training may see.
        validation: `Examples` for early stopping and choices.
        test: `Examples` for the metrics that are reported.
    """

    train: Sessions
    validation: Examples
    test: Examples

    @classmethod
    def from_tables(
        cls,
        train: pd.DataFrame,
        validation: pd.DataFrame,
        test: pd.DataFrame,
        vocabulary: Vocabulary,
        *,
        predict: str = "first",
        target: str = "next_positive",
        exclude_seen: bool | None = None,
    ) -> Split:
        """A split that somebody else has made, from its three tables of events.

        What a session, or a user, did in an earlier table is history in a later one: training
        events, then those of validation, then those of test. Nothing in `validation` or `test`
        trains. A key may be in any of the tables. With a `user` column, a session that goes on in a
        later table counts as a new session there.

        Args:
            train, validation, test: tables as for `Sessions.from_events`.
            vocabulary: as a rule `Vocabulary.from_items(train["item"])`.
            predict: which events of a key in `validation` and in `test` are to be predicted:
                `"first"`, what comes right after the earlier tables; `"last"`, the newest event
                after all others; or `"every"`, each one after all events before it. Those that
                have no history or are no target give no example.
            target: `"next_positive"` or `"next"`, what counts as a target: see `Examples.after`.
            exclude_seen: bool or None. See `Examples`.

        Raises:
            ValueError: an item of a later table that is not in the vocabulary.

        Example:

        >>> events = pd.DataFrame({"session": [1] * 4, "item": list("abcd"), "feedback": [1] * 4})
        >>> split = keras_negrec.data.Split.from_tables(
        ...     events[:2], events[2:3], events[3:], keras_negrec.data.Vocabulary(list("abcd"))
        ... )
        >>> split.test.histories.item_ids, split.test.targets
        (array([1, 2, 3], dtype=int32), array([4], dtype=int32))
        """
        check_choice("predict", predict, ("first", "last", "every"))
        for name, table in (("validation", validation), ("test", test)):
            unknown = table.loc[~table["item"].isin(vocabulary.items), "item"].tolist()
            if unknown:
                raise ValueError(
                    f"All items of `{name}` must be in the vocabulary. Received {len(unknown)} "
                    f"events with others, the first with {unknown[0]!r}. Leave them out by "
                    f'{name}[{name}["item"].isin(vocabulary.items)]'
                )
        before = trained = Sessions.from_events(train, vocabulary)
        held_out = {}
        for name, table in (("validation", validation), ("test", test)):
            later = Sessions.from_events(table, vocabulary)
            before = _joined(before, later)
            sessions = before.take(np.isin(before.keys, later.keys))
            starts = sessions.lengths - later.lengths
            if predict == "every":
                examples = Examples.every_prefix(sessions, starts, target=target)
            else:
                cuts = starts if predict == "first" else sessions.lengths - 1
                examples = Examples.after(sessions, cuts, target=target)
            held_out[name] = examples.replace(exclude_seen=exclude_seen)
        return cls(trained, **held_out)

    def replace(self, *, exclude_seen: bool | None = None, **changes) -> Split:
        """The same with other sessions or examples, or with `exclude_seen` set for all examples."""
        split = dataclasses.replace(self, **changes)
        if exclude_seen is None:
            return split
        held_out = (split.validation, split.test)
        return Split(split.train, *(part.replace(exclude_seen=exclude_seen) for part in held_out))

    def before_test(self) -> Sessions:
        """All events before the test targets, those held out for validation included.

        For a last training, with what validation has chosen, before the metrics are reported.
        """
        # Of several examples of one key, the first has the shortest history. Of its rows that
        # train, only the newest is the beginning of that history.
        histories = self.test.histories
        histories = histories.take(~pd.Index(histories.keys).duplicated())
        keys = pd.Index(self.train.keys)
        goes_on = keys.isin(histories.keys) & ~keys.duplicated(keep="last")
        return Sessions.concatenate([histories, self.train.take(~goes_on)])

    def summary(self) -> str:
        """One line that says how much there is to train on, to tune on and to report."""
        return (
            f"train: {len(self.train)} sessions, {self.train.num_events} events; "
            f"validation: {len(self.validation)} examples, "
            f"{(self.validation.skip_targets > 0).sum()} with a skip; "
            f"test: {len(self.test)} examples, {(self.test.skip_targets > 0).sum()} with a skip"
        )


def leave_one_out(sessions: Sessions) -> Split:
    """Holds out the last positive event of each session for test, the one before for validation.

    With the positive events of a session numbered 1 to n, the test history ends with positive
    n-1 and its target is positive n; the validation history ends with positive n-2 and its
    target is positive n-1; training sees the events up to positive n-2. Skips between two
    positives are after the history's end, so that the next skip is a thing to predict like the
    next positive. Sessions with fewer than three positive events go whole into training; that none
    has more is a ValueError.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4, 5]], [[1, 1, -1, 1, 1]])
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> split.train.item_ids, split.validation.targets, split.test.targets
    (array([1, 2], dtype=int32), array([4], dtype=int32), array([5], dtype=int32))
    """
    cuts = leave_one_out_cuts(sessions)
    if (cuts.test_at < 0).all():
        num_positive = np.bincount(sessions.rows()[sessions.feedback > 0])
        raise ValueError(
            "Leave-one-out needs sessions with at least 3 positive events. Received: "
            f"{len(sessions)} sessions with at most {num_positive.max(initial=0)}."
        )
    return Split(
        train=sessions.between(0, cuts.train_end),
        validation=cuts.examples("validation", sessions),
        test=cuts.examples("test", sessions),
    )


def split_at(
    sessions: Sessions, cuts: np.ndarray, *, validation_share: float = 0.1, seed: int = 0
) -> Split:
    """Trains on the events before each row's cut; what comes right after is to be predicted.

    A share of the rows, drawn at random, gives the validation examples and the others the test
    examples, so that choices made on the validation rows never saw a test target.

    Args:
        sessions: `Sessions`.
        cuts: int array of shape `(num_rows,)`, how many events of each row train, from 0 to its
            length. Rows with none have no history and take no part; rows with no positive event
            after the cut train only.
        validation_share: float between 0 and 1.
        seed: int. Draws the validation rows.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [3, 2, 1]])
    >>> split = keras_negrec.data.split_at(sessions, np.array([2, 2]), validation_share=0.5)
    >>> split.summary()
    'train: 2 sessions, 4 events; validation: 1 examples, 0 with a skip; test: 1 examples, ...'
    """
    cuts = np.asarray(cuts)
    if cuts.shape != (len(sessions),):
        raise ValueError(
            f"`cuts` must have shape ({len(sessions)},), one value a row. Received: {cuts.shape}"
        )
    for row in np.flatnonzero((cuts < 0) | (cuts > sessions.lengths))[:1]:
        raise ValueError(
            f"A cut must lie between 0 and the row's length, {sessions.lengths[row]} in row {row}. "
            f"Received: {cuts[row]}"
        )
    if not 0 <= validation_share <= 1:
        raise ValueError(
            f"`validation_share` must lie between 0 and 1. Received: {validation_share}"
        )
    examples = Examples.after(sessions, cuts)
    order = np.random.default_rng(seed).permutation(len(examples))
    num_validation = round(validation_share * len(examples))
    return Split(
        train=sessions.between(0, cuts).take(cuts > 0),
        validation=examples.take(np.sort(order[:num_validation])),
        test=examples.take(np.sort(order[num_validation:])),
    )


def _joined(earlier: Sessions, later: Sessions) -> Sessions:
    """One row for each key, its events of `earlier` and then those of `later`; keys in order."""
    both = Sessions.concatenate([earlier, later])
    keys, key = np.unique(both.keys, return_inverse=True)
    both = both.take(np.argsort(key, kind="stable"))
    key = np.sort(key)
    splits = np.append(0, np.cumsum(np.bincount(key, both.lengths))).astype("int64")
    columns = {n: v for n, v in both.columns.items() if EVENT_COLUMNS[n].next_of is None}
    if both.session_ids is not None:  # sessions of both, counted on
        begins = both.positions() == 0
        begins[1:] |= np.diff(both.session_ids) != 0
        number = np.cumsum(begins)
        columns["session_ids"] = number - np.repeat(number[splits[:-1]], np.diff(splits))
    return Sessions(columns, splits, keys)
