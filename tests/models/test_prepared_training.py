"""Models trained on a prepared folder."""

import keras
import numpy as np
import pytest
from prepared_folder import write_prepared
from toy_sessions import NUM_KEPT, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary, load_prepared
from keras_negrec.models import ItemCooccurrence, MatrixFactorization, Popularity

SMALL = {"embedding_dim": 8, "max_length": 12, "num_layers": 1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "prepared"
    sessions = toy_sessions(60, with_sessions=True)
    return load_prepared(write_prepared(folder, sessions, rows_per_shard=20, rows_per_group=5))


def elements(dataset):
    """What `fit` sees, batch by batch, as flat dicts of arrays."""
    return [
        {f"{part} {name}": values.numpy() for part, d in enumerate(e) for name, values in d.items()}
        for e in dataset
    ]


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"negative_loss": ["contrastive", "not_to_recommend"], "feedback_inputs": True},
        {"num_sampled_negatives": 5, "skips_as_negatives": True, "max_sessions": 2},
    ],
)
def test_batches_are_those_of_the_rows_in_memory(prepared, options):
    model = keras_negrec.build_model("sasrec", vocabulary=prepared.vocabulary, **SMALL, **options)
    in_memory = model.training_dataset(prepared.sessions(), batch_size=9, shuffle=False)
    streamed = model.training_dataset(prepared, batch_size=9, shuffle=False)
    # Rows in memory are in the order of their keys, which is that of these shards.
    assert_same(elements(streamed), elements(in_memory))
    assert len(streamed) == len(in_memory)


def test_masks_are_of_the_seed_and_new_at_each_epoch(prepared):
    model = keras_negrec.build_model("bert4rec", vocabulary=prepared.vocabulary, **SMALL)

    def epochs(seed, number=2, **options):
        dataset = model.training_dataset(prepared, batch_size=10, seed=seed, **options)
        return [elements(dataset) for _ in range(number)]

    first, second = epochs(seed=1)
    for one, other in zip([first, second], epochs(seed=1), strict=True):
        assert_same(one, other)
    masked = [
        np.concatenate([batch["0 item_ids"].ravel() == model.mask_id for batch in batches])
        for batches in (first, second)
    ]
    assert not np.array_equal(*masked)
    assert not np.array_equal(epochs(seed=2, number=1)[0][0]["0 item_ids"], first[0]["0 item_ids"])
    # Taken up again at the second epoch, its masks are the same.
    assert_same(epochs(seed=1, number=1, start_step=len(first))[0], second)
    # In the same order, rows are masked otherwise at each epoch.
    ordered = epochs(seed=1, shuffle=False)
    assert not np.array_equal(ordered[0][0]["0 item_ids"], ordered[1][0]["0 item_ids"])


def trained_weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]


class Interruption(keras.callbacks.Callback):
    """Breaks training off inside of an epoch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise InterruptedError


@pytest.mark.thorough
def test_an_interrupted_training_ends_like_one_that_was_not(prepared, tmp_path):
    # As the documentation of `TrainingData.batches` says it is done with `BackupAndRestore`.
    import json

    def train(*callbacks, folder):
        keras.utils.set_random_seed(3)
        model = keras_negrec.build_model(
            "sasrec", vocabulary=prepared.vocabulary, **SMALL, dropout=0.0
        )
        metadata = tmp_path / folder / "training_metadata.json"
        epoch = json.loads(metadata.read_text())["epoch"] if metadata.exists() else 0
        steps = len(model.training_dataset(prepared, batch_size=10))
        dataset = model.training_dataset(
            prepared, batch_size=10, start_step=epoch * steps, repeat=True
        )
        backup = keras.callbacks.BackupAndRestore(tmp_path / folder)
        model.fit(
            dataset,
            steps_per_epoch=steps,
            epochs=4,
            callbacks=[backup, *callbacks],
            shuffle=False,
            verbose=0,
        )
        return trained_weights(model), int(model.optimizer.iterations)

    with pytest.raises(InterruptedError):
        train(Interruption(epoch=2, batch=1), folder="interrupted")
    resumed, resumed_steps = train(folder="interrupted")
    whole, whole_steps = train(folder="whole")
    assert resumed_steps == whole_steps
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("target", ["next_positive", "next"])
def test_in_batch_sampling_knows_the_counts_of_the_training_rows(prepared, target):
    frequencies = []
    for rows in (prepared, prepared.sessions()):
        model = keras_negrec.build_model(
            "sasrec",
            vocabulary=prepared.vocabulary,
            **SMALL,
            num_sampled_negatives=4,
            sampling_distribution="mixed",
            target=target,
        )
        model.training_dataset(rows)
        frequencies.append(keras.ops.convert_to_numpy(model.objective.sampler.frequencies))
    np.testing.assert_array_equal(*frequencies)
    assert len(np.unique(frequencies[0])) > 2


def test_item_features_know_which_items_train(tmp_path):
    sessions = Sessions.from_lists([[1, 2, 3], [1, 2]])
    cuts = ([2, 2], [-1, -1], [2, -1])
    prepared = load_prepared(write_prepared(tmp_path / "prepared", sessions, cuts=cuts))
    model = keras_negrec.build_model("sasrec", num_items=4, item_features=np.eye(4), **SMALL)
    model.training_dataset(prepared)
    occurs = keras.ops.convert_to_numpy(model.item_embedding.occurs)
    np.testing.assert_array_equal(occurs, [1, 1, 0, 0])
    model.training_dataset(prepared.before_test())
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model.item_embedding.occurs), [1, 1, 0, 0]
    )


def test_matrix_factorization_takes_the_bags_of_the_rows(prepared):
    model = MatrixFactorization(
        vocabulary=prepared.vocabulary, embedding_dim=4, num_sampled_negatives=5, learning_rate=0.05
    )
    datasets = [
        model.training_dataset(rows, batch_size=7, shuffle=False)
        for rows in (prepared, prepared.sessions())
    ]
    bags = [[x["item_ids"].numpy().tolist() for x, _, _ in dataset] for dataset in datasets]
    assert bags[0] == bags[1]
    assert len(datasets[0]) == len(datasets[1])
    dataset = model.training_dataset(prepared, batch_size=10)
    model.fit(dataset, epochs=10, verbose=0, shuffle=False)
    scores = model.score(prepared.sessions()).mean(axis=0)
    assert scores[:NUM_KEPT].min() > scores[NUM_KEPT:].max()


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
    turned = Vocabulary(prepared.vocabulary.items[::-1])
    with pytest.raises(ValueError, match="must have the same vocabulary"):
        baseline(prepared, vocabulary=turned)


@pytest.mark.parametrize(
    "model_of",
    [
        lambda **options: keras_negrec.build_model("sasrec", **SMALL, **options),
        lambda **options: MatrixFactorization(embedding_dim=4, **options),
    ],
)
def test_another_vocabulary(prepared, model_of):
    with pytest.raises(
        ValueError, match=r"The model knows 9 items. Received prepared data with 10"
    ):
        model_of(num_items=9).training_dataset(prepared)
    turned = Vocabulary(prepared.vocabulary.items[::-1])
    with pytest.raises(ValueError, match="must have the same vocabulary"):
        model_of(vocabulary=turned).training_dataset(prepared)
    with pytest.raises(TypeError, match="first_step"):
        model_of(num_items=10).training_dataset(prepared.sessions(), first_step=1)
