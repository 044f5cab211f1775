"""A scorer whose scores are given."""

import numpy as np


class TableScorer:
    """Gives each history, told by its key, a fixed row of scores."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, "float32")
        self.num_items = self.scores.shape[1]

    def score(self, histories):
        return self.scores[histories.keys]
