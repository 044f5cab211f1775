"""Models trained on a prepared folder."""

import json

import keras
import numpy as np
import pytest
from prepared_folder import write_prepared
from small_models import build, numpy
from toy_sessions import toy_sessions

from keras_negrec.data import Sessions, Vocabulary, load_prepared
from keras_negrec.models import ItemCooccurrence, MatrixFactorization, Popularity


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "prepared"
    sessions = toy_sessions(60, with_sessions=True)
    return load_prepared(write_prepared(folder, sessions, rows_per_shard=20, rows_per_group=5))


def build_on(prepared, name="sasrec", **options):
    return build(name, vocabulary=prepared.vocabulary, max_length=12, **options)


def elements(dataset):
    """What `fit` sees, batch by batch, as nested arrays."""
    return [keras.tree.map_structure(lambda values: values.numpy(), each) for each in dataset]


def assert_same(first, second):
    keras.tree.assert_same_structure(first, second)
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize(
    "options",
    [
        {"negative_loss": ["contrastive", "not_to_recommend"], "feedback_inputs": True},
        {"num_sampled_negatives": 5, "skips_as_negatives": True, "max_sessions": 2},
    ],
)
def test_batches_are_those_of_the_rows_in_memory(prepared, options):
    model = build_on(prepared, **options)
    in_memory, streamed = (
        model.training_dataset(rows, batch_size=9, shuffle=False)
        for rows in (prepared.sessions(), prepared)
    )
    # Rows in memory are in the order of their keys, which is that of these shards.
    assert_same(elements(streamed), elements(in_memory))
    assert len(streamed) == len(in_memory)


def test_masks_are_of_the_seed_and_the_step(prepared):
    model = build_on(prepared, "bert4rec")

    def epochs(seed, number, **options):
        dataset = model.training_dataset(prepared, batch_size=10, seed=seed, **options)
        return [elements(dataset) for _ in range(number)]

    first, second = epochs(seed=1, number=2)
    assert_same([first, second], epochs(seed=1, number=2))
    # Taken up again at the second epoch, its masks are the same.
    assert_same(epochs(seed=1, number=1, start_step=len(first))[0], second)
    # In the same order, rows are masked otherwise at each epoch, and with another seed.
    ordered = epochs(seed=1, number=2, shuffle=False) + epochs(seed=2, number=1, shuffle=False)
    masked = {epoch[0][0]["item_ids"].tobytes() for epoch in ordered}
    assert len(masked) == 3


class Interruption(keras.callbacks.Callback):
    """Breaks training off inside of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise InterruptedError


@pytest.mark.thorough
def test_an_interrupted_training_ends_like_one_that_was_not(prepared, tmp_path):
    # As the documentation of `TrainingData.batches` says, with a callback that keeps no data order.
    def train(*callbacks, folder):
        keras.utils.set_random_seed(3)
        model = build_on(prepared)
        metadata = tmp_path / folder / "training_metadata.json"
        epoch = json.loads(metadata.read_text())["epoch"] if metadata.exists() else 0
        steps = len(model.training_dataset(prepared, batch_size=10))
        dataset = model.training_dataset(
            prepared, batch_size=10, start_step=epoch * steps, repeat=True
        )
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / folder), *callbacks]
        options = {"steps_per_epoch": steps, "epochs": 4, "shuffle": False, "verbose": 0}
        model.fit(dataset, callbacks=callbacks, **options)
        return map(numpy, [*model.trainable_weights, model.optimizer.iterations])

    with pytest.raises(InterruptedError):
        train(Interruption(), folder="interrupted")
    resumed, whole = train(folder="interrupted"), train(folder="whole")
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_item_features_know_which_items_train(tmp_path):
    sessions = Sessions.from_lists([[1, 2, 3], [1, 2]])
    cuts = ([2, 2], [-1, -1], [2, -1])
    prepared = load_prepared(write_prepared(tmp_path / "prepared", sessions, cuts=cuts))
    model = build("caser", num_items=4, item_features=np.eye(4))
    for rows in (prepared, prepared.before_test()):
        model.training_dataset(rows)
        np.testing.assert_array_equal(numpy(model.item_embedding.occurs), [1, 1, 0, 0])


def test_matrix_factorization_takes_the_bags_of_the_rows(prepared):
    model = MatrixFactorization(vocabulary=prepared.vocabulary, embedding_dim=4)
    streamed, in_memory = (
        model.training_dataset(rows, batch_size=7, shuffle=False)
        for rows in (prepared, prepared.sessions())
    )
    assert_same(elements(streamed), elements(in_memory))
    assert len(streamed) == len(in_memory)


@pytest.mark.parametrize("baseline", [Popularity, ItemCooccurrence])
def test_baselines_count_a_folder_as_they_do_in_memory(prepared, baseline):
    histories = prepared.examples("validation").histories
    for data in (prepared, prepared.before_test()):
        scores, expected = (
            baseline(rows, vocabulary=prepared.vocabulary).score(histories)
            for rows in (data, data.sessions())
        )
        np.testing.assert_array_equal(scores, expected)
        assert len(np.unique(scores)) > 3


def test_another_vocabulary(prepared):
    turned = Vocabulary(prepared.vocabulary.items[::-1])
    for model in (build("caser", vocabulary=turned), MatrixFactorization(vocabulary=turned)):
        with pytest.raises(ValueError, match="must have the same vocabulary"):
            model.training_dataset(prepared)
        with pytest.raises(TypeError, match="first_step"):
            model.training_dataset(prepared.sessions(), first_step=1)
    with pytest.raises(ValueError, match=r"knows 9 items. Received prepared data with 10"):
        MatrixFactorization(9).training_dataset(prepared)
    with pytest.raises(ValueError, match="must have the same vocabulary"):
        Popularity(prepared, vocabulary=turned)
