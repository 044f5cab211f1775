"""What every model that is trained with Keras can do: compile again, be cloned, be quantized."""

import keras
import numpy as np
import pytest
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Vocabulary

SIZE = {"max_length": 8, "embedding_dim": 16, "dropout": 0.0}
VOCABULARY = Vocabulary([f"track {i}" for i in range(NUM_ITEMS)])


def build(name="sasrec", **options):
    return keras_negrec.build_model(name, vocabulary=VOCABULARY, **SIZE, **options)


@pytest.mark.parametrize("objective", ["softmax", "gbce"])
def test_compiled_again_it_has_the_losses_of_its_parts(objective):
    model = build(objective=objective, negative_loss={"contrastive": 0.5, "keep": 0.1})
    sessions = toy_sessions(24)
    dataset = model.training_dataset(sessions, batch_size=8, shuffle=False)
    config = model.get_compile_config()
    model.compile(keras.optimizers.SGD(0.01))
    again = model.get_compile_config()
    assert again["loss"] == config["loss"]
    assert again["loss_weights"] == config["loss_weights"]
    assert np.isfinite(model.fit(dataset, verbose=0, shuffle=False).history["loss"]).all()


def test_a_loss_of_ones_own_is_taken_as_it_is():
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    model.compile("adam", loss={"next_item": loss})
    assert model.loss["next_item"] is loss


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_clone_is_of_the_same_class_and_answers_alike(name):
    model = build(name, negative_loss="keep", feedback_inputs=True)
    model.set_ranking_weights(keep=2.0)
    copy = model.clone()
    assert type(copy) is type(model) and copy is not model
    assert copy.get_config() == model.get_config()
    assert copy.vocabulary == model.vocabulary
    sessions = toy_sessions(4)
    np.testing.assert_allclose(copy.score(sessions), model.score(sessions), atol=1e-6)
    copy.item_embedding.embeddings.assign(0 * copy.item_embedding.embeddings)
    assert np.abs(copy.score(sessions) - model.score(sessions)).max() > 1e-3


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "caser"])
def test_quantized_to_int8_it_ranks_nearly_as_before(name):
    model = build(name, feedback_inputs=True)
    for i, weight in enumerate(model.trainable_weights):
        noise = np.random.default_rng(i).normal(scale=0.3, size=weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise)
    sessions = toy_sessions(16)
    before = model.score(sessions)
    model.quantize("int8")
    after = model.score(sessions)
    assert np.abs(after - before).max() > 0
    correlation = [np.corrcoef(*rows)[0, 1] for rows in zip(before, after, strict=True)]
    assert min(correlation) > 0.99
