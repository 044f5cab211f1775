"""Full-catalogue evaluation while training."""

from __future__ import annotations

import math

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples
from keras_negrec.evaluation import evaluate


class RankingEvaluation(keras.callbacks.Callback):
    """Runs `evaluate` at the end of each epoch and adds its figures to the logs.

    Figures that rest on no example, those of skips where there are none, are left out. The others
    appear as `val_hr@10` and so on in the progress bar, in the history, and for the
    callbacks that come after this one, such as
    `keras.callbacks.EarlyStopping("val_ndcg@10", mode="max", restore_best_weights=True)`.

    Args:
        examples: `Examples`, as a rule `split.validation`.
        k: ints. The cut-offs K.
        exclude_seen: bool. As in `evaluate`.
        every: int. Evaluate each so many epochs; in between, the last figures are repeated.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> model = keras_negrec.build_model("sasrec", num_items=4, embedding_dim=8)
    >>> callback = keras_negrec.callbacks.RankingEvaluation(split.validation)
    >>> dataset = model.training_dataset(split.train)
    >>> history = model.fit(dataset, callbacks=[callback], verbose=0)
    >>> "val_hr@10" in history.history
    True
    """

    def __init__(self, examples: Examples, *, k=(10,), exclude_seen: bool = True, every: int = 1):
        super().__init__()
        self.examples = examples
        self.k = k
        self.exclude_seen = exclude_seen
        self.every = check_positive_int("every", every)
        self._last: dict[str, float] = {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every == 0 or not self._last:
            metrics = evaluate(self.model, self.examples, k=self.k, exclude_seen=self.exclude_seen)
            self._last = {
                f"val_{name}": value
                for name, value in metrics.items()
                if not name.startswith("num_") and not math.isnan(value)
            }
        if logs is not None:
            logs.update(self._last)
