"""Full-catalogue evaluation while training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from keras_negrec.argument_checks import check_choice, check_positive_int, check_positive_ints
from keras_negrec.backend.keras_private import state_of_callback
from keras_negrec.data import Examples
from keras_negrec.evaluation import Metrics, evaluate
from keras_negrec.evaluation.ranking_metrics import metric_of, named_metrics


class RankingEvaluation(keras.callbacks.EarlyStopping):
    """Runs `evaluate` while training, and on demand stops early and keeps the best weights.

    The first epoch is evaluated, then every `every`-th one after it, and the last epoch of
    `fit` always (unless a callback that comes after this one ends the training). The metrics
    appear in the logs as `val_hr@10` and so on, in the progress bar, in the history, and for the
    callbacks that come after this one; in epochs between, the last ones are repeated. Metrics
    that can rest on no example, those of skips where there are none, are left out; `kept_share@K`
    is NaN where a model finds nothing, which is no evaluation for `monitor`.

    With `monitor`, training stops after `patience` evaluations in a row that were no better than
    the best one, and at the end of `fit`, however it came, the weights of the best evaluated
    epoch are restored. Whether higher or lower is better is known of each metric.

    Args:
        examples: `Examples`, as a rule `split.validation`.
        k, exclude_seen: as in `evaluate`.
        every: int. Evaluate every `every` epochs.
        monitor: str or None. A metric of `evaluate`, such as `"ndcg@10"`, its cut-off in `k`.
            None: evaluate only.
        patience: int. Evaluations without a better value after which training stops.
        restore_best_weights: bool. Whether `fit` ends with the best weights or with the last.

    Attributes:
        best: float or None. The best value of the monitored metric so far.
        best_epoch: int or None. The epoch it is from, counted from 0 as Keras does.
        metrics: `Metrics` or None. What `evaluate` gave for the weights that `fit` ends with, so
            that they need not be ranked again: those of the best epoch, or of the last.

    Raises:
        ValueError: `every`, `patience` or a cut-off that is not a positive integer; a `monitor`
            that is no metric of these examples, such as one of skips where there are none.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> model = keras_negrec.build_model("sasrec", num_items=4, embedding_dim=8)
    >>> callback = keras_negrec.callbacks.RankingEvaluation(split.validation, monitor="ndcg@10")
    >>> dataset = model.training_dataset(split.train)
    >>> history = model.fit(dataset, callbacks=[callback], verbose=0)
    >>> callback.best == callback.metrics["ndcg@10"] == max(history.history["val_ndcg@10"])
    True
    """

    best: float | None = None
    best_epoch: int | None = None
    _next_evaluation = 0

    def __init__(
        self,
        examples: Examples,
        *,
        k: Sequence[int] = (10,),
        exclude_seen: bool | None = None,
        every: int = 1,
        monitor: str | None = None,
        patience: int = 3,
        restore_best_weights: bool = True,
    ):
        self.examples = examples
        self.k = check_positive_ints("k", k)
        self.exclude_seen = exclude_seen
        self.every = check_positive_int("every", every)
        self.metrics: Metrics | None = None
        self._logs: dict[str, float] = {}
        check_positive_int("patience", patience)
        lower_is_better = False
        known = {"target": examples.targets > 0, "skip_target": examples.skip_targets > 0}
        known["preference"] = known["target"] & known["skip_target"]
        known["top_items"] = known["num_items"] = np.ones(len(examples), bool)
        self._names = tuple(
            name
            for name, metric, _ in named_metrics(self.k, known)
            if np.all([known[need] for need in metric.needs], axis=0).any()
        )
        if monitor is not None:
            check_choice("monitor", monitor, self._names)
            lower_is_better = not metric_of(monitor).higher_is_better
        super().__init__(
            monitor and f"val_{monitor}",
            mode="min" if lower_is_better else "max",
            patience=patience,
            restore_best_weights=restore_best_weights and monitor is not None,
        )

    def on_train_begin(self, logs=None):
        self._next_evaluation = 0
        super().on_train_begin(logs)
        self.best_epoch = None

    def get_state(self):
        """What `BackupAndResume` keeps: all that was found in the epochs so far."""
        own = {"metrics": self.metrics, "logs": self._logs, "next": self._next_evaluation}
        return {"own": own, "early_stopping": state_of_callback(self)}

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self.__dict__.update(state["early_stopping"])
        own = state["own"]
        self.metrics = None if own["metrics"] is None else Metrics(own["metrics"])
        self._logs, self._next_evaluation = own["logs"], own["next"]

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        is_last = is_last or getattr(self.model, "stop_training", False)
        if not is_last and epoch < self._next_evaluation:
            logs.update(self._logs)
            return
        self._next_evaluation = epoch + self.every
        metrics = evaluate(self.model, self.examples, k=self.k, exclude_seen=self.exclude_seen)
        self._logs = {
            f"val_{name}": value for name, value in metrics.items() if name in self._names
        }
        logs.update(self._logs)
        if self.monitor is not None and not math.isnan(self._logs[self.monitor]):
            super().on_epoch_end(epoch, logs)  # patience counts evaluations, as it sees no others
        if not self.restore_best_weights or self.best_epoch == epoch:
            self.metrics = metrics
