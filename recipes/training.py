"""The trainings of a comparison: each model and seed once, with early stopping, within the time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

import keras_negrec as kn
from devices import over_devices
from outcome import readable
from progress import STARTED, doing, duration, say, since_last_line
from quiet import keras

MONITOR = "ndcg@10"


class Progress(keras.callbacks.Callback):
    """Says how far a training is, and ends it when its `seconds`, if any, are over."""

    def __init__(self, title: str, seconds: float | None = None):
        super().__init__()
        self.title, self.seconds = title, seconds
        self.epoch, self.share = 0, 0.0  # the one that runs, and how much of it is done
        self.first: int | None = None  # where a training that was killed is taken up
        self.was_stopped = False
        self.started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.share = epoch, 0.0
        self.first = epoch if self.first is None else self.first

    def on_train_batch_end(self, batch, logs=None):
        self.share = (batch + 1) / (self.params["steps"] or batch + 2)
        if self.seconds is not None and time.monotonic() - self.started >= self.seconds:
            self.was_stopped = self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        metrics = {"loss": logs["loss"], "NDCG@10": logs.get(f"val_{MONITOR}")}
        found = [f"{name} {value:.4f}" for name, value in metrics.items() if value is not None]
        if self.was_stopped or since_last_line() > 1 or epoch + 1 == self.params["epochs"]:
            say(", ".join([self.line(validated=True), *found]))

    def line(self, validated: bool = False) -> str:
        """What is trained, the epoch, and how long it may take yet."""
        epochs = (self.params or {}).get("epochs")
        if not epochs:
            return f"{self.title}: starting"
        seconds, done = time.monotonic() - self.started, self.epoch + self.share
        here = done - (self.first or 0)
        rest = seconds / here * (epochs - done) if here else float("inf")
        rest = max(0.0, min(rest, float("inf") if self.seconds is None else self.seconds - seconds))
        left = f"at most {duration(rest)} left" if rest < float("inf") else "first step"
        if self.share == 1 and not validated:
            left = "validating"
        elif self.was_stopped:
            left = "its time is over"
        elif validated and self.epoch + 1 == epochs:
            left = "done"
        share = f" ({self.share:.0%})" if self.share < 1 else ""
        return f"{self.title}: epoch {self.epoch + 1}/{epochs}{share}, {left}"


class Trainings:
    """What `kn.compare` calls to train, and where the trained models are found afterwards.

    They are kept in `folder`, unless it is None. `configurations` holds by label the settings of
    the runs, `args` what `experiment.parse` returned, `features` what `item_columns.features` did.
    Each training is backed up in `unfinished` after every epoch, unless it is None: one that was
    killed goes on where it was.
    """

    def __init__(
        self,
        args,
        split,
        vocabulary,
        configurations: dict,
        features: tuple | None,
        folder: Path | None,
        unfinished: Path | None = None,
    ):
        self.args, self.split, self.vocabulary, self.folder = args, split, vocabulary, folder
        self.features, self.unfinished = features, unfinished
        self.firsts: dict[str, tuple] = {}  # of each training, the first run that ranks by it
        for label, settings in configurations.items():
            label = label.partition(" (weight ")[0]  # of the ranking, not of the training
            self.firsts.setdefault(_training_of(settings), (label, settings))
        self.stopped: list[str] = []
        self.shares: list[float] = []  # seconds that trainings were given
        self.began = time.monotonic()
        self._counted: dict[bool, kn.models.ItemCooccurrence] = {}
        self._chosen: dict[tuple, dict[str, float]] = {}  # ranking weights, by training and seed
        self._newest: tuple = (None, None, None)

    def __call__(self, settings: dict, seed: int):
        """The scorer of a run: a model, or one together with item co-occurrence."""
        label, first = self.firsts[_training_of(settings)]
        model = self.model(settings, seed, anew=settings == first)
        if "cooccurrence_weight" in settings:
            return self._hybrid(model, settings, self.args.refit)
        if "keep_weight" in settings:
            weight = model.ranking_weights["keep"]
            title = f"{label}, seed {seed}, keep weight {weight:.3g}"
            self._say_validation(f"{title}, validation", model)
        return model

    def model(self, settings: dict, seed: int, anew: bool = False):
        """The model of a run: the newest one, or from its file, or trained now."""
        training = _training_of(settings)
        path = self.folder and self.folder / f"{_name_of(training, seed)}.keras"
        if self._newest[:2] != (training, seed):
            self._newest = (None, None, None)  # frees the memory of the other one
            if path is not None and path.exists() and not anew:
                model = keras.saving.load_model(path)
            else:
                model = self._train(settings, training, seed)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    unfinished = path.with_name(f"unfinished-{path.name}")
                    model.save(unfinished)
                    os.replace(unfinished, path)
            self._newest = (training, seed, model)
        model = self._newest[2]
        if "keep_weight" in settings:
            weight = settings["keep_weight"]
            model.set_ranking_weights(
                **self._chosen_weights(settings, seed, model)
                if weight == "chosen"
                else {"keep": weight}
            )
        return model

    def baseline_of(self, settings: dict) -> dict | None:
        """The settings of the same model without a negative loss, if it is compared too."""

        def parts(one: dict) -> tuple:
            return one["model"]["encoder"], one["model"].get("item_features")

        for _, one in self.firsts.values():
            if parts(one) == parts(settings) and not one["model"].get("negative_loss"):
                return one
        return None

    def _chosen_weights(self, settings: dict, seed: int, model) -> dict[str, float]:
        """Those with more hits and fewer skips than the baseline on validation, where there are."""
        key = _training_of(settings), seed
        if key not in self._chosen:
            baseline, args = self.baseline_of(settings), self.args
            title = f"{self.firsts[key[0]][0]}, seed {seed}: choosing its keep weight on validation"
            with doing(title):
                without = self.model(baseline, seed)
                found = kn.evaluate(without, self.split.validation, exclude_seen=args.exclude_seen)
                self._chosen[key] = kn.evaluation.choose_weights(
                    model, self.split.validation, found, at="both", exclude_seen=args.exclude_seen
                )
            self._newest = (*key, model)
        return self._chosen[key]

    def _train(self, settings: dict, training: str, seed: int):
        """Fits one model with early stopping.

        Its `history` is that of the training that was validated, also where another one followed.
        """
        args, split = self.args, self.split
        title = f"{self.firsts[training][0]}, seed {seed}"
        backups = self._backups_of(training, seed)
        seconds = self._seconds_for(training, seed)
        if seconds is not None and args.refit:
            seconds /= 2
        with doing(f"{title}: building the model"):
            model = self._build(settings, seed)
        validation = kn.callbacks.RankingEvaluation(
            split.validation,
            exclude_seen=args.exclude_seen,
            every=args.every,
            monitor=MONITOR,
            patience=args.patience,
        )
        self._fit(model, split.train, seed, args.epochs, title, seconds, backups, validation)
        if args.cooccurrence_weight:
            weight = {"cooccurrence_weight": args.cooccurrence_weight}
            scorer = self._hybrid(model, weight, refit=False)
            self._say_validation(f"{title} + co-occurrence, validation", scorer)
        if not args.refit:
            return model
        epochs = validation.best_epoch + 1
        say(f"{title}: again on all events before the test targets, {epochs} epochs")
        history, model = model.history, self._build(settings, seed)
        backups = backups and backups / "again"
        self._fit(model, split.before_test(), seed, epochs, f"{title}, again", seconds, backups)
        model.history = history
        return model

    def _backups_of(self, training: str, seed: int) -> Path | None:
        """Where this training is backed up. Those before it are stored as runs, and go."""
        if self.unfinished is None:
            return None
        own = self.unfinished / _name_of(training, seed)
        for other in self.unfinished.glob("*"):
            if other != own:
                shutil.rmtree(other)
        return own

    def _fit(self, model, sessions, seed, epochs, title, seconds, backups, *callbacks) -> None:
        progress = Progress(title, seconds)
        callbacks = (kn.callbacks.StopOnNonFinite(), *callbacks, progress)
        if backups is not None:  # They stay until the run is stored.
            callbacks += (kn.callbacks.BackupAndResume(backups, delete_when_done=False),)
        with doing(progress.line):
            model.fit(
                model.training_dataset(sessions, batch_size=self.args.batch_size, seed=seed),
                epochs=epochs,
                shuffle=False,  # the dataset shuffles itself
                verbose=0,
                callbacks=[*callbacks],
            )
        if progress.was_stopped:
            self.stopped.append(f"{title} in epoch {progress.epoch + 1} of {epochs}")

    def _seconds_for(self, training: str, seed: int) -> float | None:
        """An equal share, among the trainings that may follow, of what is left of the time.

        Less what the ones before took beside their shares, to compile and to be evaluated.
        """
        if self.args.max_minutes is None:
            return None
        now = time.monotonic()
        order = [(one, number) for number in self.args.seed for one in self.firsts]
        left = 60 * self.args.max_minutes - (now - STARTED)
        share = left / (len(order) - order.index((training, seed)))
        if self.shares:
            share -= max(0.0, now - self.began - sum(self.shares)) / len(self.shares)
        self.shares.append(max(0.0, share))
        return self.shares[-1]

    def _build(self, settings: dict, seed: int):
        args, settings = self.args, settings["model"]
        keras.utils.set_random_seed(seed)
        on_devices = over_devices(args.devices, args.shard_items, num_items=len(self.vocabulary))
        if args.start_from is not None:
            with on_devices:
                return self._saved_model(settings["encoder"])
        needs_logits = (
            settings.get("num_sampled_negatives")
            or settings.get("objective", "softmax") != "softmax"
            or "not_to_recommend" in loss_names(settings.get("negative_loss"))
        )
        encoder = None
        if "item_features" in settings:
            encoder, values = self.features
            settings = settings | {"item_features": values}
        with on_devices:
            model = kn.build_model(
                vocabulary=self.vocabulary,
                exclude_seen=args.exclude_seen,
                **{"fused_softmax": not needs_logits} | settings,
            )
        model.feature_encoder = encoder
        return model

    def _saved_model(self, encoder: str):
        """The model of `--start-from`, ready to be trained on."""
        path = self.args.start_from
        model = keras.saving.load_model(path)
        own = type(model.encoder).__name__
        if own.lower() != encoder:
            raise SystemExit(f"{path} is a {own}, and --model is {encoder}")
        if model.vocabulary != self.vocabulary:
            raise SystemExit(f"{path} was trained on another vocabulary than that of --data")
        model.optimizer.learning_rate = self.args.learning_rate
        return model

    def cooccurrence(self, refit: bool):
        """Counts of the sessions that a model is trained on, first or at last."""
        if refit not in self._counted:
            sessions = self.split.before_test() if refit else self.split.train
            with doing("counting which items are kept together"):
                self._counted[refit] = kn.models.ItemCooccurrence(
                    sessions, vocabulary=self.vocabulary
                )
        return self._counted[refit]

    def _hybrid(self, model, settings: dict, refit: bool):
        weights = [1.0, settings["cooccurrence_weight"]]
        return kn.models.WeightedHybrid([model, self.cooccurrence(refit)], weights)

    def _say_validation(self, title: str, scorer) -> None:
        with doing(title):
            metrics = kn.evaluate(
                scorer, self.split.validation, exclude_seen=self.args.exclude_seen
            )
        say(f"{title}: {', '.join(readable(metrics))}")


def _training_of(settings: dict) -> str:
    """What of the settings a model is trained with, as text; the rest ranks by it in other ways."""
    ranking = ("keep_weight", "cooccurrence_weight")
    return json.dumps({k: v for k, v in settings.items() if k not in ranking}, sort_keys=True)


def _name_of(training: str, seed: int) -> str:
    return f"{hashlib.sha256(training.encode()).hexdigest()[:12]}-seed-{seed}"


def ranks_by_keep(settings: dict) -> bool:
    """Whether the settings of a run are of a model with the keep loss."""
    return "keep" in loss_names(settings["model"].get("negative_loss"))


def loss_names(negative_loss) -> list:
    """The names in what `build_model` takes as `negative_loss`: one, several, or with weights."""
    return [negative_loss] if isinstance(negative_loss, str | bool | None) else [*negative_loss]


def best_run(comparison, configurations: dict) -> tuple[str, int]:
    """The configuration and the seed of the model that was best on validation data.

    Where there are models with a chosen weight it is one of them: validation chose it as better
    than the same model without.
    """
    models = {k: v for k, v in configurations.items() if "cooccurrence_weight" not in v}
    chosen = {k: v for k, v in models.items() if v.get("keep_weight") == "chosen"}
    values = {
        (label, run.seed): max(run.curves.get(f"val_{MONITOR}", [-np.inf]))
        for label in chosen or models
        for run in comparison.runs[label]
    }
    return max(values, key=values.get)
