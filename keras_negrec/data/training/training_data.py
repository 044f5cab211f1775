"""What training reads: sessions in memory and prepared folders answer it alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_negrec.data.sessions import Sessions
    from keras_negrec.data.vocabulary import Vocabulary


@runtime_checkable
class TrainingData(Protocol):
    """Sessions or user histories that a model or a baseline learns from.

    `Sessions` and `Prepared` are of this kind, and so can be a class of yours: models ask for
    nothing else.
    """

    @property
    def column_names(self) -> list[str]:
        """The columns of events at hand, such as `["item_ids", "feedback"]`."""

    def batches(
        self,
        *,
        batch_size: int,
        max_length: int,
        overlap: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        **options: Any,
    ) -> tf.data.Dataset:
        """Left-padded batches: the newest event is always in the last column.

        Sessions longer than `max_length` are cut into windows, so that every event is seen. A
        shuffled batch holds sessions of similar length and is only as long as they are (rounded up
        to a multiple of 8, and on JAX to one of at most 4 lengths, so that few shapes occur). The
        shorter its sessions, the more of them it holds, so that all batches weigh about the same
        and little arithmetic goes into padding.

        Each pass over the dataset is an epoch with an order of its own, that of `seed` and the
        number of the epoch: step `n`, counted over all epochs, is the same whatever came before
        it. After an interruption go on after the steps that were done, which a saved model knows:

            steps = len(model.training_dataset(data))
            dataset = model.training_dataset(
                data, start_step=int(model.optimizer.iterations), repeat=True
            )
            model.fit(dataset, steps_per_epoch=steps, initial_epoch=..., epochs=...)

        That keeps the order of the data alone. `keras_negrec.callbacks.BackupAndResume` takes up a
        training as a whole, exactly, and needs neither `start_step` nor `repeat`.

        Args:
            batch_size: int. Sessions of full length in a batch; of shorter ones it holds more.
                Without `shuffle` all batches but the last have this size.
            max_length: int. The most events in a row of a batch.
            overlap: int. How many events a window shares with the one before it: 1 for causal
                models, which would otherwise never be asked for a window's first event.
            shuffle: bool. Draw a new order at each epoch, and group sessions by length; without
                it they come in order.
            seed: int. The same seed gives the same epochs.
            start_step: int, 0 by default. Where to begin; the epoch is read up to there. Inside of
                an epoch and without `repeat`, the dataset is the rest of that epoch.
            repeat: bool, False by default. Go on without an end, for `fit` with `steps_per_epoch`.
                Each pass then begins at `start_step`; without `repeat` each pass (one from which a
                batch was taken) is the next epoch.
            worker: int from 0 to `num_workers - 1`, 0 by default. Which share to give: together
                the workers give each session exactly once an epoch, in equally many steps.
            num_workers: int, 1 by default. How many hosts train.
            buffer_events: int, 4,000,000 by default. How many events of a folder are read and
                shuffled at once. An event takes about 50 bytes of memory.
            transform: function from `Sessions` to `Sessions` or None. Makes rows of rows, piece by
                piece; rows that it leaves empty are left out.
            with_steps: bool, False by default. Give `(batch, step)`, the step an int64 scalar.

        Returns:
            A `tf.data.Dataset` of dicts of tensors of shape `(batch, length)`, one for each of
            `column_names`, whose cardinality is the exact number of steps.

        Raises:
            ValueError: an argument outside of its range; nothing to train on; pieces too few or
                too unequal for that many workers.
        """

    def item_counts(self, num_items: int, positive: bool = False) -> np.ndarray:
        """How often each item occurs, or with `positive` is kept: int64 `(num_items,)`."""

    def check_catalogue(self, num_items: int, vocabulary: Vocabulary | None) -> None:
        """A ValueError unless all items are among the `num_items` of that vocabulary."""

    def chunks(self) -> Iterator[Sessions]:
        """All rows, as many at a time as fit in memory with ease."""
