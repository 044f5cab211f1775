"""Full-catalogue evaluation while training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from keras_negrec.argument_checks import check_choice, check_positive_int, check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation import evaluate, example_metrics


class RankingEvaluation(keras.callbacks.Callback):
    """Runs `evaluate` while training, and on demand stops early and keeps the best weights.

    The first epoch is evaluated, then every `every`-th one after it, and the last epoch of
    `fit` always (unless a callback that comes after this one ends the training). The figures
    appear in the logs as `val_hr@10` and so on, in the progress bar, in the history, and for the
    callbacks that come after this one; in epochs between, the last ones are repeated. Figures
    that rest on no example, those of skips where there are none, are left out.

    With `monitor`, training stops after `patience` evaluations in a row that were no better than
    the best one, and at the end of `fit`, however it came, the weights of the best evaluated
    epoch are restored. Lower is better for `skip_hr@K` and `skip_mrr`, higher for all others.

    Args:
        examples: `Examples`, as a rule `split.validation`.
        k: ints. The cut-offs K.
        exclude_seen: bool. As in `evaluate`.
        every: int. Evaluate each so many epochs.
        monitor: str or None. A figure of `evaluate`, such as `"ndcg@10"`, its cut-off in `k`.
            None: evaluate only.
        patience: int. Evaluations without a better figure after which training stops.
        restore_best_weights: bool. Whether `fit` ends with the best weights or with the last.

    Attributes:
        best: float or None. The best value of the monitored figure so far.
        best_epoch: int or None. The epoch it is from, counted from 0 as Keras does.

    Raises:
        ValueError: `every`, `patience` or a cut-off that is not a positive integer; `monitor` no
            figure of `evaluate`, or one of skips where no example has a skip.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> model = keras_negrec.build_model("sasrec", num_items=4, embedding_dim=8)
    >>> callback = keras_negrec.callbacks.RankingEvaluation(split.validation, monitor="ndcg@10")
    >>> dataset = model.training_dataset(split.train)
    >>> history = model.fit(dataset, callbacks=[callback], verbose=0)
    >>> callback.best == history.history["val_ndcg@10"][callback.best_epoch]
    True
    """

    def __init__(
        self,
        examples: Examples,
        *,
        k: Sequence[int] = (10,),
        exclude_seen: bool = True,
        every: int = 1,
        monitor: str | None = None,
        patience: int = 3,
        restore_best_weights: bool = True,
    ):
        super().__init__()
        self.examples = examples
        self.k = check_positive_ints("k", k)
        self.exclude_seen = exclude_seen
        self.every = check_positive_int("every", every)
        self._last: dict[str, float] = {}
        self._next_evaluation = 0
        check_positive_int("patience", patience)
        self._early_stopping: keras.callbacks.EarlyStopping | None = None
        if monitor is not None:
            check_choice("monitor", monitor, self._figures())
            # Shown the evaluated epochs alone, so that its patience counts evaluations.
            self._early_stopping = keras.callbacks.EarlyStopping(
                f"val_{monitor}",
                mode="min" if monitor.startswith("skip_") else "max",
                patience=patience,
                restore_best_weights=restore_best_weights,
            )

    @property
    def best(self) -> float | None:
        return None if self._early_stopping is None else self._early_stopping.best

    @property
    def best_epoch(self) -> int | None:
        if self._early_stopping is None or self.best is None:
            return None
        return self._early_stopping.best_epoch

    def set_model(self, model):
        super().set_model(model)
        if self._early_stopping is not None:
            self._early_stopping.set_model(model)

    def on_train_begin(self, logs=None):
        self._next_evaluation = 0
        if self._early_stopping is not None:
            self._early_stopping.on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        is_last = epoch + 1 == (self.params or {}).get("epochs") or getattr(
            self.model, "stop_training", False
        )
        is_evaluated = is_last or epoch >= self._next_evaluation
        if is_evaluated:
            self._next_evaluation = epoch + self.every
            metrics = evaluate(self.model, self.examples, k=self.k, exclude_seen=self.exclude_seen)
            self._last = {
                f"val_{name}": value
                for name, value in metrics.items()
                if not name.startswith("num_") and not math.isnan(value)
            }
        logs.update(self._last)
        if is_evaluated and self._early_stopping is not None:
            self._early_stopping.on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        if self._early_stopping is not None:
            self._early_stopping.on_train_end(logs)

    def _figures(self) -> tuple[str, ...]:
        """The names of the figures that these examples and cut-offs give."""
        none = np.zeros(0)
        names = [
            *example_metrics({"target": none, "skip_target": none, "preference": none}, k=self.k),
            *(f"coverage@{cutoff}" for cutoff in self.k),
        ]
        if not (self.examples.skip_targets > 0).any():
            names = [name for name in names if not name.startswith(("skip_", "feedback_"))]
        return tuple(names)
