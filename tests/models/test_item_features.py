"""Items without a single play are ranked by their features."""

import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, with_random_weights
from toy_sessions import NUM_ITEMS

import keras_negrec
from keras_negrec import data


@pytest.mark.thorough
def test_cold_items_are_ranked_far_better_than_by_chance():
    simulation = data.simulate_sessions(1200, 200, popularity_exponent=0.3, seed=1)
    vocabulary = data.Vocabulary(simulation.truth.items["item"])
    sound = [f"sound_{number}" for number in range(1, 9)]
    _, features = data.item_features(simulation.item_table(), vocabulary, numeric=sound)
    cold = np.random.default_rng(0).choice(vocabulary.items, 20, replace=False)
    events = simulation.events
    warm_events = events[~events["item"].isin(cold)]
    train = data.leave_one_out(data.Sessions.from_events(warm_events, vocabulary)).train
    test = data.leave_one_out(data.Sessions.from_events(events, vocabulary)).test
    cold_test = test.take(np.flatnonzero(np.isin(test.targets, vocabulary.encode(cold))))
    assert len(cold_test) > 60
    assert not np.isin(cold_test.targets, train.item_ids).any()
    keras.utils.set_random_seed(0)
    model = keras_negrec.build_model(
        "sasrec",
        vocabulary=vocabulary,
        item_features=features,
        max_length=24,
        embedding_dim=32,
        num_layers=1,
        learning_rate=3e-3,
    )
    dataset = model.training_dataset(train, batch_size=64)
    model.fit(dataset, epochs=6, verbose=0, shuffle=False)
    ranks = keras_negrec.evaluation.rank_targets(model, cold_test)["target"]
    assert np.median(ranks) < 45  # by chance about 90
    assert np.mean(ranks <= 10) > 0.12  # by chance about 0.055
    assert np.mean(1 / ranks) > 1.5 * np.mean(1 / np.arange(1, 181))


def test_exported(tmp_path):
    import tensorflow as tf

    features = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3))
    model = with_random_weights(build("caser", vocabulary=VOCABULARY, item_features=features))
    model.item_embedding.adapt([1] * 8 + [0] * 2)  # two items never occur
    history = VOCABULARY.items[:4].tolist()
    version = keras_negrec.export(model, tmp_path, k=6)
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    answer = serve(item_ids=tf.constant([history]), feedback=tf.ones([1, 4], tf.int32))
    [best] = keras_negrec.recommend(model, [history], k=6)
    assert [item.decode() for item in answer["item_ids"][0].numpy()] == [r.item for r in best]


def test_training_begins_where_it_does_without_features():
    """The features' part of a vector is no longer than the item's own at first."""
    sessions = data.Sessions.from_lists([[1 + (i + j) % 200 for j in range(12)] for i in range(64)])
    features = np.random.default_rng(0).normal(size=(200, 5)).astype("float32")
    for options in ({}, {"item_features": features}):
        model = build("caser", num_items=200, embedding_dim=64, **options)
        loss = model.evaluate(model.training_dataset(sessions, shuffle=False), verbose=0)
        assert loss == pytest.approx(np.log(200), rel=0.05)
