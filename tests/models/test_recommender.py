"""What every model that is trained with Keras can do: compile again, be cloned, be quantized."""

import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, fit, with_random_weights
from toy_sessions import toy_sessions


@pytest.mark.parametrize("objective", ["softmax", "gbce"])
def test_compiled_again_it_has_the_losses_of_its_parts(objective):
    terms = {"contrastive": 0.5, "keep": 0.1}
    model = build("caser", objective=objective, negative_loss=terms)
    config = model.get_compile_config()
    model.compile(keras.optimizers.SGD(0.01))
    again = model.get_compile_config()
    assert again["loss"] == config["loss"]
    assert again["loss_weights"] == config["loss_weights"]
    assert np.isfinite(fit(model, toy_sessions(24))["loss"]).all()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss={"next_item": loss})
    assert model.loss["next_item"] is loss  # one's own is taken as it is


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_clone_is_of_the_same_class_and_answers_alike(name):
    model = build(name, vocabulary=VOCABULARY, negative_loss="keep", feedback_inputs=True)
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
    options = (
        {"embedding_dim": 16, "intermediate_dim": 64, "num_layers": 2} if name != "caser" else {}
    )
    model = with_random_weights(build(name, feedback_inputs=True, **options), scale=0.3)
    sessions = toy_sessions(16)
    before = model.score(sessions)
    model.quantize("int8")
    after = model.score(sessions)
    assert np.abs(after - before).max() > 0
    correlation = [np.corrcoef(*rows)[0, 1] for rows in zip(before, after, strict=True)]
    assert min(correlation) > 0.99
