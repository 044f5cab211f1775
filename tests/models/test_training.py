import keras
import pytest
from small_models import build, fit
from toy_sessions import NUM_ITEMS, NUM_KEPT, toy_sessions

import keras_negrec
from keras_negrec.data import Examples


@pytest.fixture(scope="module")
def held_out():
    sessions = toy_sessions(50, seed=9)
    return Examples.after(sessions, sessions.lengths // 2)


@pytest.mark.parametrize(
    ("name", "num_rows", "epochs", "arguments"),
    [
        (
            "sasrec",
            256,
            20,
            {"embedding_dim": 16, "num_sampled_negatives": 20, "feedback_inputs": True},
        ),
        # Narrower, or with fewer rows, it is not done by then with some seeds.
        pytest.param(
            "bert4rec",
            512,
            30,
            {"embedding_dim": 48, "learning_rate": 3e-3, "last_probability": 0.9},
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_learns_the_toy(name, num_rows, epochs, arguments, held_out):
    arguments = {"max_length": 15 if name == "sasrec" else 16, **arguments}  # rows of 16
    model = build(name, negative_loss=True, intermediate_dim=None, **arguments)
    history = fit(model, toy_sessions(num_rows), epochs, batch_size=32)
    assert {"loss", "next_item_loss", "contrastive_loss"} <= set(history)
    assert history["next_item_loss"][-1] < 0.5 * history["next_item_loss"][0]
    assert history["contrastive_loss"][-1] < history["contrastive_loss"][0]
    metrics = keras_negrec.evaluate(model, held_out, exclude_seen=False, k=(1, NUM_KEPT))
    assert metrics["hr@1"] > 0.9
    assert metrics["skip_hr@1"] == 0
    assert metrics["feedback_auc"] > 0.95


def test_negative_loss_alone_puts_kept_items_above_skipped_ones(held_out):
    model = build(negative_loss=True, negative_weight=1e4, embedding_dim=16, max_length=15)
    fit(model, toy_sessions(64), epochs=10, batch_size=32)
    assert keras_negrec.evaluate(model, held_out)["feedback_auc"] > 0.9


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="others trace in their own way")
@pytest.mark.parametrize(
    "make",
    [
        lambda: build("caser", negative_loss=True),
        lambda: build("bert4rec", negative_loss=True, num_sampled_negatives=20),
        lambda: keras_negrec.models.MatrixFactorization(NUM_ITEMS, embedding_dim=8),
    ],
    ids=["two losses", "row gradients", "matrix factorization"],
)
def test_tensorflow_traces_a_step_once(make, monkeypatch):
    model, traces = make(), []
    train_step = type(model).train_step
    monkeypatch.setattr(
        type(model), "train_step", lambda self, data: traces.append(1) or train_step(self, data)
    )
    assert len(fit(model, toy_sessions(16), epochs=2, batch_size=8)["loss"]) == 2
    assert len(traces) == 1


@pytest.mark.parametrize("loss_of_the_other", [{}, {"contrastive": None}])
def test_one_of_two_outputs_has_a_loss(loss_of_the_other):
    model = build("caser", negative_loss=True)
    model.compile("adam", loss={"next_item": model.loss["next_item"], **loss_of_the_other})

    def first_alone(x, y, weight):
        return x, {"next_item": y["next_item"]}, {"next_item": weight["next_item"]}

    dataset = model.training_dataset(toy_sessions(16), batch_size=8).map(first_alone)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][1] < history["loss"][0] < 3
