import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, fit
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Examples, Sessions, Vocabulary

GROWN = VOCABULARY.grow(["new a", "new b"])
TODAY = Sessions.from_lists(
    [[1, NUM_ITEMS + 1, 2, 3], [4, 5, NUM_ITEMS + 2], [6, 7]], [[1, 1, 1, 1], [1, -1, 1], [1, 1]]
)
QUIET = {"fit_options": {"verbose": 0}}


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = build("sasrec", vocabulary=VOCABULARY, negative_loss="keep", feedback_inputs=True)
    fit(model, toy_sessions(32))
    return model


def test_training_goes_on_and_the_old_model_stays(model):
    weights, steps = model.get_weights(), int(model.optimizer.iterations)
    updated = keras_negrec.update(model, TODAY, vocabulary=GROWN, epochs=2, **QUIET)
    assert updated.vocabulary == GROWN and updated.num_items == NUM_ITEMS + 2
    assert int(updated.optimizer.iterations) > steps
    assert len(updated.history.epoch) == 2
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    again = keras_negrec.update(updated, toy_sessions(8), **QUIET)
    assert again is not updated and again.vocabulary == GROWN


def test_new_items_start_beside_what_was_kept_next_to_them(model):
    grown = keras_negrec.grow_vocabulary(model, ["new a", "new b"], sessions=TODAY)
    table = np.array(grown.item_embedding.embeddings)
    np.testing.assert_allclose(table[NUM_ITEMS], table[[0, 1, 2]].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(table[NUM_ITEMS + 1], table[3], atol=1e-6)  # 5 was skipped
    alone = Sessions.from_lists([[NUM_ITEMS + 1], [NUM_ITEMS + 2, 1]])
    grown = keras_negrec.grow_vocabulary(model, ["new a", "new b"], sessions=alone)
    table = np.array(grown.item_embedding.embeddings)
    np.testing.assert_allclose(table[NUM_ITEMS], table[:NUM_ITEMS].mean(axis=0), atol=1e-6)


def test_scores_of_old_items_are_the_same_to_the_bit_before_training(model):
    grown = keras_negrec.grow_vocabulary(model, ["new a", "new b"])
    histories = toy_sessions(40, length=7, seed=5)
    old, new = (each.score(histories)[:, :NUM_ITEMS] for each in (model, grown))
    np.testing.assert_array_equal(old, new)


def test_retired_items_stay_known_and_are_never_recommended(model, tmp_path):
    gone = VOCABULARY.items[[0, 3, 9]].tolist()
    updated = keras_negrec.update(model, toy_sessions(8), retired=gone, **QUIET)
    updated = keras_negrec.update(updated, TODAY, vocabulary=GROWN, retired=["new b"], **QUIET)
    gone.append("new b")
    assert updated.vocabulary.retired.tolist() == gone
    updated.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.vocabulary.retired.tolist() == gone
    random = np.random.default_rng(0)
    histories = [random.choice(GROWN.items, 4).tolist() for _ in range(300)]
    for each in (updated, loaded):
        answers = keras_negrec.recommend(each, histories, k=len(GROWN), exclude_seen=False)
        assert all({item for item, _ in row} == {*GROWN.items} - {*gone} for row in answers)

    history = Sessions.from_lists([[1, 2], [3, 4]])
    found = Examples(history, np.array([4, 7]), np.array([0, 10]), exclude_seen=False)
    ranks = keras_negrec.evaluation.rank_targets(updated, found, top_k=len(GROWN))
    assert np.isinf(ranks["target"][0]) and np.isfinite(ranks["target"][1])
    assert np.isinf(ranks["skip_target"][1])
    assert not np.isin(ranks["top_items"], updated.vocabulary.retired_ids).any()


def test_what_cannot_be_updated(model):
    others = Vocabulary([*VOCABULARY.items[::-1], "new"])
    first = VOCABULARY.items[0]
    with pytest.raises(ValueError, match=f"of the model's, .* Item 1 must be '{first}'. Received"):
        keras_negrec.update(model, TODAY, vocabulary=others)
    shrunk = Vocabulary(VOCABULARY.items[:3])
    with pytest.raises(ValueError, match=r"Item 4 must be .*Received: 'none'"):
        keras_negrec.update(model, TODAY, vocabulary=shrunk)
    with pytest.raises(TypeError, match=r"must be a `keras_negrec.data.Vocabulary`. .* type list"):
        keras_negrec.update(model, TODAY, vocabulary=["a"])
    with pytest.raises(TypeError, match=r"`retired` must be a list of items. Received: 'nobody'"):
        keras_negrec.update(model, TODAY, retired="nobody")
    with pytest.raises(ValueError, match=f"must not be retired. Received: all {NUM_ITEMS}"):
        keras_negrec.update(model, toy_sessions(4), retired=VOCABULARY.items)
    with pytest.raises(ValueError, match="`epochs` must be a positive integer"):
        keras_negrec.update(model, toy_sessions(4), epochs=-1)
    broken = model.clone()
    broken.item_embedding.embeddings.assign(np.full((NUM_ITEMS, 8), np.nan))
    with pytest.raises(ValueError, match="Weights of the model are not finite: `item_embedding"):
        keras_negrec.update(broken, toy_sessions(4))
    with pytest.raises(ValueError, match="Weights of the model are not finite: `item_embedding"):
        broken.save_to_preset("broken")
    with pytest.raises(ValueError, match=r"Scores must be numbers. Received NaN"):
        keras_negrec.recommend(broken, [VOCABULARY.items[:2].tolist()])
    with pytest.raises(KeyError, match="not in the vocabulary, first: 'nobody'"):
        keras_negrec.update(model, toy_sessions(4), retired=["nobody"])
    with pytest.raises(TypeError, match="trained with Keras"):
        keras_negrec.update(keras_negrec.models.Popularity(TODAY, NUM_ITEMS + 2), TODAY)
    with pytest.raises(ValueError, match="needs a model with a vocabulary"):
        keras_negrec.update(build("sasrec", num_items=NUM_ITEMS), TODAY)
