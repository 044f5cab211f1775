"""Items without a single play are ranked by their features."""

import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, with_random_weights
from toy_sessions import NUM_ITEMS, toy_sessions

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


VECTORS = (
    np.random.default_rng(2).normal(size=(NUM_ITEMS, 5)) * np.arange(1, NUM_ITEMS + 1)[:, None]
)


def built(**options):
    keras.utils.set_random_seed(0)
    return build("sasrec", vocabulary=VOCABULARY, **options)


def test_given_vectors_are_features_of_one_length():
    features = np.random.default_rng(3).normal(size=(NUM_ITEMS, 2))
    model = built(item_features=features, item_vectors=VECTORS)
    of_layer = keras.ops.convert_to_numpy(model.item_embedding.features)
    lengths = np.sqrt((VECTORS**2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(of_layer, np.hstack([features, VECTORS / lengths]), rtol=1e-5)
    nothing_known = built(item_vectors=np.zeros((NUM_ITEMS, 5)))
    assert not keras.ops.convert_to_numpy(nothing_known.item_embedding.features).any()


def test_given_vectors_that_are_trained_are_where_the_table_starts():
    vectors = VECTORS[:, np.arange(8) % 5]
    model = built(item_vectors=vectors, train_item_vectors=True)
    table, plain = (
        keras.ops.convert_to_numpy(each.item_embedding.embeddings) for each in (model, built())
    )
    cosines = (
        (table * vectors).sum(1) / np.linalg.norm(table, axis=1) / np.linalg.norm(vectors, axis=1)
    )
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)
    assert 0.8 < np.sqrt((table**2).mean() / (plain**2).mean()) < 1.4
    model.fit(model.training_dataset(toy_sessions(20)), verbose=0, shuffle=False)
    trained = keras.ops.convert_to_numpy(model.item_embedding.embeddings)
    assert (trained != table).any(axis=1).all() and model.item_embedding.num_features is None


def test_new_items_are_ranked_by_vectors_of_their_text(tmp_path):
    from keras_hub import models

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "song",
        "of",
        "the",
        "sea",
        "sun",
        "moon",
    ]
    texts = [f"song of the {('sea', 'sun')[i % 2]}" for i in range(NUM_ITEMS)]
    prepare = models.BertTextEmbedderPreprocessor(models.BertTokenizer(words), sequence_length=8)
    backbone = models.BertBackbone(
        vocabulary_size=len(words),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=8,
    )
    embedder = models.BertTextEmbedder(backbone, prepare)
    model = built(item_vectors=embedder.predict(texts, verbose=0))
    model.item_embedding.adapt([1, 0] * (NUM_ITEMS // 2))  # half of them never occur
    new = embedder.predict(["song of the sun", "song of the moon"], verbose=0)
    grown = keras_negrec.grow_vocabulary(model, ["new", "other"], item_vectors=new)
    path = tmp_path / "model.keras"
    grown.save(path)
    scores = keras.saving.load_model(path).score(data.Sessions.from_lists([[1, 2]]))[0]
    assert scores[NUM_ITEMS] == pytest.approx(scores[1], rel=1e-4)  # of the same text
    assert scores[NUM_ITEMS] != pytest.approx(scores[NUM_ITEMS + 1], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item_vectors": VECTORS[0]}, r"of shape \(num_items, n\)\. Received: shape \(5,\)$"),
        ({"item_vectors": VECTORS * np.inf}, r"\(10, 5\), with values that are not finite"),
        ({"item_vectors": VECTORS[1:]}, r"\(num_items, num_features\), \(10, 5\)"),
        ({"item_vectors": VECTORS[1:], "item_features": VECTORS}, r"\(10, 5\) and \(9, 5\)"),
        ({"train_item_vectors": True}, "needs `item_vectors`"),
        ({"item_vectors": VECTORS, "train_item_vectors": True}, r"embedding_dim\), \(10, \d+\)"),
    ],
)
def test_bad_vectors(options, message):
    with pytest.raises(ValueError, match=message):
        built(**options)
