"""The outcome of a split: what trains, what tunes and what is reported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions


@dataclass(frozen=True)
class Split:
    """Training sessions, and the examples to tune on and to report.

    Args:
        train: `Sessions`, the events that training may see.
        validation: `Examples` for early stopping and choices.
        test: `Examples` for the figures that are reported.
    """

    train: Sessions
    validation: Examples
    test: Examples

    def before_test(self) -> Sessions:
        """All events before the test targets, those held out for validation included.

        For a last training, with what validation has chosen, before the figures are reported.
        """
        # Of the rows of one key, only the newest is the beginning of the test history.
        keys = self.train.keys
        newest = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
        in_test = newest[np.isin(keys[newest], self.test.histories.keys)]
        others = np.delete(np.arange(len(keys)), in_test)
        return Sessions.concatenate([self.test.histories, self.train.take(others)])

    def summary(self) -> str:
        """One line that says how much each part holds."""
        return (
            f"train: {len(self.train)} sessions, {self.train.num_events} events; "
            f"validation: {len(self.validation)} examples, "
            f"{(self.validation.skip_targets > 0).sum()} with a skip; "
            f"test: {len(self.test)} examples, {(self.test.skip_targets > 0).sum()} with a skip"
        )
