"""Where the items of a vocabulary stand among those of a simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from keras_negrec.data.vocabulary import Vocabulary


def indices_of(vocabulary: Vocabulary, items: np.ndarray) -> np.ndarray:
    """The index of each item of the vocabulary in `items`.

    Raises:
        ValueError: the vocabulary holds an item that is not in the simulation.
    """
    indices = pd.Index(items).get_indexer(vocabulary.items)
    if (indices < 0).any():
        unknown = vocabulary.items.tolist()[np.argmax(indices < 0)]
        raise ValueError(
            "Only the simulation's items are known, such as "
            f"{items[0]!r}. Received a vocabulary with {unknown!r}"
        )
    return indices
