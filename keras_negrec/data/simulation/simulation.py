"""Simulated listening sessions together with the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from keras_negrec.data.simulation.hidden_truth import HiddenTruth
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Simulation:
    """What `simulate_sessions` returns.

    Args:
        events: the events table, with the columns `session` (int), `position`, `item` (such as
            `"track_0042"`) and `feedback`. This is all that a model may see.
        truth: `HiddenTruth`, what the events were drawn from.

    Example:

    >>> simulation = keras_negrec.data.simulate_sessions(num_sessions=20, num_items=50)
    >>> list(simulation.events.columns)
    ['session', 'position', 'item', 'feedback']
    """

    events: pd.DataFrame
    truth: HiddenTruth

    def oracle(self, vocabulary: Vocabulary) -> Oracle:
        """The best reachable ranking of the vocabulary's items.

        Raises:
            ValueError: the vocabulary holds an item that is not in the simulation.
        """
        return Oracle(self.truth, vocabulary)

    def item_features(self, vocabulary: Vocabulary) -> np.ndarray:
        """What each item is like, with noise, as a model may know it of items never played.

        Returns:
            float32 array of shape `(num_items, num_features)`, row `j` for item `j + 1`, each
            column with mean 0 and deviation 1.

        Raises:
            ValueError: the vocabulary holds an item that is not in the simulation.
        """
        rows = self.truth.indices_of(vocabulary)
        vectors = self.truth.vectors[rows]
        noise = np.random.default_rng(0).normal(scale=0.1, size=self.truth.vectors.shape)[rows]
        features = vectors + noise
        return ((features - features.mean(0)) / features.std(0)).astype("float32")

    def __repr__(self) -> str:
        return (
            f"<Simulation: {len(self.truth.moods)} sessions, {len(self.events)} events, "
            f"{(self.events['feedback'] < 0).mean():.0%} negative>"
        )
