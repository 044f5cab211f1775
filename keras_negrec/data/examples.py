"""What evaluation runs on: histories and what happened right after them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from keras_negrec.data.sessions import Sessions


@dataclass(frozen=True, eq=False)
class Examples:
    """Histories with the item that was kept next and the item that was skipped next.

    Args:
        histories: `Sessions`, one row an example.
        targets: int32 array of shape `(num_examples,)`, the next item with positive feedback.
        skip_targets: int32 array of shape `(num_examples,)`, the next item with negative
            feedback, 0 where there is none.

    Raises:
        ValueError: arrays of other lengths than there are histories, or a target below 1.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]], [[1, -1, 1]])
    >>> examples = keras_negrec.data.Examples.after(sessions, np.array([1]))
    >>> examples.targets, examples.skip_targets
    (array([3], dtype=int32), array([2], dtype=int32))
    """

    histories: Sessions
    targets: np.ndarray
    skip_targets: np.ndarray

    def __post_init__(self):
        for name in ("targets", "skip_targets"):
            if len(getattr(self, name)) != len(self.histories):
                raise ValueError(
                    f"`{name}` must have one value for each of the {len(self.histories)} "
                    f"histories. Received: {len(getattr(self, name))} values."
                )
        if len(self) and self.targets.min() < 1:
            raise ValueError("Every example needs a target. Received a target below 1.")

    @classmethod
    def after(cls, sessions: Sessions, cuts: np.ndarray) -> Examples:
        """Examples whose histories are the first `cuts[i]` events of each row.

        The targets are the first positive and the first negative event at or after the cut.
        Rows without any history (`cuts[i] == 0`) or without a positive event after the cut
        cannot be ranked and are left out: `examples.histories.keys` tells which remain.
        """
        late = sessions.positions() >= np.repeat(cuts, sessions.lengths)
        targets = _first_item(sessions, late & (sessions.feedback > 0))
        skips = _first_item(sessions, late & (sessions.feedback < 0))
        rows = np.flatnonzero((targets > 0) & (cuts > 0))
        return cls(sessions.between(0, cuts[rows], rows), targets[rows], skips[rows])

    def take(self, rows) -> Examples:
        """The given examples, in the given order."""
        return Examples(self.histories.take(rows), self.targets[rows], self.skip_targets[rows])

    def fingerprint(self) -> str:
        """A hash of histories and targets, the same in every process and on every machine."""
        digest = hashlib.sha256(self.histories.fingerprint().encode())
        for values in (self.targets, self.skip_targets):
            digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.targets)


def _first_item(sessions: Sessions, chosen: np.ndarray) -> np.ndarray:
    """The item of each row's first chosen event, 0 where there is none."""
    rows, first = np.unique(sessions.rows()[chosen], return_index=True)
    items = np.zeros(len(sessions), "int32")
    items[rows] = sessions.item_ids[chosen][first]
    return items
