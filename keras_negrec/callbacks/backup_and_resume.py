"""Training that goes on after it was killed as if it had not been."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.backend import keras_private
from keras_negrec.backend.random_state import get_random_state, set_random_state
from keras_negrec.backend.skip_step import skip_next_step
from keras_negrec.callbacks import backup_file
from keras_negrec.data.training.stream_batches import streams_of


class BackupAndResume(keras.callbacks.Callback):
    """Takes up a training that was killed: call the same program again.

    It then has the losses, weights and history of a training that was never killed: the same bits
    on TensorFlow and PyTorch, on JAX within 1e-6. `keras.callbacks.BackupAndRestore` saves weights
    and optimizer alone: dropout, negative sampling, the order of the data and early stopping begin
    anew there.

    A backup holds the weights, all variables of the optimizer, the metrics and the history so far,
    what other callbacks remember, the random states of the model, of Keras, NumPy, Python and
    PyTorch, and how far the data were read. It is written whole or not at all, and the last two
    are kept. Where the disk is full, a warning says so, and training goes on with the backups
    that are there: it loses nothing by that, unless it is killed.

    Inside of an epoch, the steps that were done are drawn again and thrown away, so that steps
    and callbacks count on: a resumed epoch takes the time to read its data twice at most.

    What can be guaranteed depends on the data:

    - `training_dataset` of models and `batches` of sessions and prepared folders: all of the above,
      without `steps_per_epoch`, `repeat` and `start_step`.
    - Arrays, and a `keras.utils.PyDataset` in one thread: the same, but for arrays on TensorFlow
      with `shuffle=True`, which come in another order.
    - Any other `tf.data.Dataset` or generator: that the steps of an epoch that were done are not
      done again. A dataset whose order changes by the epoch (`Dataset.shuffle`), or that draws as
      it goes, starts with its first order again.
    - Layers must draw from a `keras.random.SeedGenerator`, as all of Keras do; `tf.random` has
      states that cannot be read.

    Other callbacks of the same `fit` go on if they are `RankingEvaluation`, Keras's
    `EarlyStopping`, `ReduceLROnPlateau` or `ModelCheckpoint`, or have two methods: `get_state()`, a
    dict of numbers, texts, lists and arrays, and `set_state(state)`. Others start anew.

    Args:
        folder: path. Where the backups are. Each `fit` of a program needs a folder of its own.
        every: `"epoch"`, or int: after so many steps, and at the end of each epoch.
        delete_when_done: bool. Remove the backups when training ends, by itself or by another
            callback. Without it, the same call gives the trained model again at once.
        data: the dataset that `fit` is given, or it and the `validation_data`. Models of this
            package say it themselves; other Keras models need it where they train on `batches`.
        callbacks: the other callbacks of the `fit`, likewise.

    Raises:
        ValueError: `every` is neither. In `fit`: a backup of another model, optimizer, data, seed
            or batch size, or one that is damaged; a dataset that does not go through whole epochs.
        OSError: in `fit`: the folder cannot be made.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> model = keras_negrec.build_model("sasrec", num_items=4, embedding_dim=8)
    >>> backup = keras_negrec.callbacks.BackupAndResume("backup", every=100)
    >>> dataset = model.training_dataset(sessions)
    >>> len(model.fit(dataset, epochs=2, callbacks=[backup], verbose=0).history["loss"])
    2
    """

    def __init__(
        self,
        folder: str | Path,
        every: str | int = "epoch",
        *,
        delete_when_done: bool = True,
        data=(),
        callbacks: Sequence = (),
    ):
        super().__init__()
        self.folder = Path(folder)
        if isinstance(every, str) and every != "epoch":
            raise ValueError(f'`every` must be "epoch" or a number of steps. Received: {every!r}')
        self.every = every if every == "epoch" else check_positive_int("every", every)
        self.delete_when_done = delete_when_done
        self._given = _as_list(data), _as_list(callbacks)
        self._taken: tuple[Sequence, Sequence] = ([], [])
        self._found: dict[str, Any] | None = None  # the backup, until training has caught up
        self._epoch: int | None = None  # none has begun
        self._backed_up_step = 0

    def take_part(self, data: Sequence, callbacks: Sequence) -> None:
        """Is told by `fit` of this package's models what data and callbacks it was given."""
        self._taken = data, callbacks

    def on_train_begin(self, logs=None):
        if not self.model.built:
            raise ValueError(
                "`BackupAndResume` needs a model that is built: call it on a batch before `fit`. "
                f"Received: {self.model}"
            )
        data, callbacks = self._given[0] or self._taken[0], self._given[1] or self._taken[1]
        self._streams = [stream for each in data for stream in streams_of(each)]
        self._others = [each for each in callbacks if _state_of(each) is not None]
        self._check_data(streams_of(data[0]) if data else [])
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        self._training = self._describe()
        self._found, self._epoch = None, None
        keras_private.begin_at_epoch(self.model, None)
        self.folder.mkdir(parents=True, exist_ok=True)
        backup_file.remove_partial_files(self.folder)
        if (found := backup_file.read_backup(self.folder)) is not None:
            path, self._found = found
            _check_same(path, self._found["training"], self._training)
            ended = self._found["stopped"]
            epoch = self.params["epochs"] if ended else self._found["epoch"]
            keras_private.begin_at_epoch(self.model, epoch)

    def on_epoch_begin(self, epoch, logs=None):
        keras_private.begin_at_epoch(self.model, None)
        is_first, self._epoch, self._backed_up_step = self._epoch is None, epoch, 0
        if self._found is None:
            self._random_at_epoch = get_random_state()
            if not is_first:
                self._back_up(epoch)
            return
        self._restore()
        for stream, (of_pass, following) in zip(self._streams, self._found["data"], strict=True):
            is_inside = self._found["step"] and stream in self._streams_of_training
            stream.next_epoch = of_pass if is_inside else following
        self._random_at_epoch = self._found["random_at_epoch"]
        set_random_state(self._random_at_epoch)
        if not self._found["step"]:
            self._found = None

    def on_train_batch_begin(self, batch, logs=None):
        if self._found is not None and batch < self._found["step"]:
            skip_next_step(self.model, self._found["logs"])
        elif self._found is not None:
            keras_private.write_back(self.model)
            self._restore()
            self._restore_metrics()
            self._found, self._backed_up_step = None, batch
        elif isinstance(self.every, int) and batch - self._backed_up_step >= self.every:
            self._backed_up_step = batch
            self._back_up(self._epoch, batch)

    def on_train_end(self, logs=None):
        keras_private.begin_at_epoch(self.model, None)
        if self._found is not None:  # nothing was left to train
            self._restore()
        if self.delete_when_done:
            backup_file.remove_backups(self.folder)
        elif self._found is None and self._epoch is not None:
            self._back_up(self._epoch + 1, stopped=bool(self.model.stop_training))
        self._found = None

    def _check_data(self, streams) -> None:
        self._streams_of_training = streams
        steps = self.params["steps"]
        for stream in streams:
            if not stream.has_whole_epochs or steps != len(stream):
                raise ValueError(
                    "`BackupAndResume` keeps the place in datasets whose passes are whole epochs: "
                    "leave out `repeat`, `start_step` and `steps_per_epoch`. Received a dataset of "
                    f"{len(stream)} steps, repeat={stream.repeat}, and `fit` with {steps} steps "
                    "in an epoch"
                )

    def _describe(self) -> dict[str, Any]:
        """What a training must have in common with the one that it takes up."""
        optimizer = self.model.optimizer
        described = {
            "backend": keras.config.backend(),
            "variables of the model": [_about(each) for each in self.model.variables],
            "optimizer": _without_names(keras.saving.serialize_keras_object(optimizer)),
            "variables of the optimizer": [_about(each) for each in _variables_of(optimizer)],
            "data": [stream.description() for stream in self._streams],
            "steps in an epoch": self.params["steps"],
            "steps_per_execution": self.model.steps_per_execution,
            "callbacks that have a state": [type(each).__name__ for each in self._others],
        }
        return json.loads(json.dumps(described, default=str))

    def _back_up(self, epoch, step: int = 0, stopped: bool = False) -> None:
        keras_private.write_back(self.model)
        history = self.model.history
        state = {
            "training": self._training,
            "epoch": epoch,
            "step": step,
            "stopped": stopped,
            "logs": _numbers(self.model.get_metrics_result()) if step else {},
            "model": _values(self.model.variables),
            "optimizer": _values(_variables_of(self.model.optimizer)),
            "metrics": _values(self.model.metrics_variables) if step else [],
            "history": [history.epoch, history.history],
            "callbacks": [_state_of(each) for each in self._others],
            "data": [[stream.epoch, stream.next_epoch] for stream in self._streams],
            "random": get_random_state(),
            "random_at_epoch": self._random_at_epoch if step else get_random_state(),
        }
        try:
            backup_file.write_backup(self.folder, state)
        except OSError as error:
            warnings.warn(
                f"No backup could be written in {self.folder} at epoch {epoch + 1}, step {step}, "
                f"and training goes on without it: {error}",
                stacklevel=2,
            )

    def _restore(self) -> None:
        found = self._found
        assert found is not None
        _assign(self.model.variables, found["model"])
        _assign(_variables_of(self.model.optimizer), found["optimizer"])
        for callback, state in zip(self._others, found["callbacks"], strict=True):
            _set_state(callback, state)
        history = self.model.history
        epochs, values = found["history"]
        history.epoch, history.history = [*epochs], {name: [*values[name]] for name in values}
        set_random_state(found["random"])

    def _restore_metrics(self) -> None:
        assert self._found is not None
        variables, values = self.model.metrics_variables, self._found["metrics"]
        if [variable.shape for variable in variables] != [value.shape for value in values]:
            raise ValueError(
                f"The backup in {self.folder} is of a model that was compiled with other metrics. "
                f"Received: {[metric.name for metric in self.model.metrics]}"
            )
        _assign(variables, values)


def _as_list(one_or_more) -> list:
    return [*one_or_more] if isinstance(one_or_more, list | tuple) else [one_or_more]


def _state_of(callback) -> dict[str, Any] | None:
    """What a callback remembers of the epochs so far, if that is known."""
    if hasattr(callback, "get_state"):
        return callback.get_state()
    return keras_private.state_of_callback(callback)


def _set_state(callback, state: dict[str, Any]) -> None:
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        vars(callback).update(state)


def _variables_of(optimizer) -> list:
    return [] if optimizer is None else optimizer.variables


def _values(variables) -> list[np.ndarray]:
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _numbers(logs):
    return keras.tree.map_structure(lambda value: ops.convert_to_numpy(value).tolist(), logs)


def _about(variable) -> str:
    """A variable in words, without the numbers by which Keras tells layers of a process apart."""
    path = re.sub(r"_\d+", "", variable.path)
    return f"{path} {tuple(variable.shape)} {keras.backend.standardize_dtype(variable.dtype)}"


def _without_names(config):
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return config


def _check_same(path: Path, stored, own, of: str = "") -> None:
    """A ValueError that names the first difference between two trainings."""
    if stored == own:
        return
    if isinstance(stored, dict) and isinstance(own, dict):
        for name in {**stored, **own}:
            inside = f"{of}, {name}" if of else name
            _check_same(path, stored.get(name), own.get(name), inside)
    if isinstance(stored, list) and isinstance(own, list) and len(stored) == len(own):
        for one, other in zip(stored, own, strict=True):
            _check_same(path, one, other, of)
    raise ValueError(
        f"{path} is the backup of another training, which differs in: {of}. It must be "
        f"{_short(stored)}. Received: {_short(own)}. Give `BackupAndResume` another folder, or "
        "delete this one to train anew."
    )


def _short(value) -> str:
    if isinstance(value, list) and value:
        return f"{len(value)} of them, from {value[0]!r} to {value[-1]!r}"
    return repr(value)
