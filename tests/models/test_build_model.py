import warnings

import keras
import numpy as np
import pytest
from small_models import VOCABULARY, batch_of, build, numpy
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec import losses
from keras_negrec.data import Sessions, Vocabulary

EVERYTHING = {
    "negative_loss": "contrastive",
    "num_sampled_negatives": 5,
    "feedback_inputs": True,
    "max_sessions": 2,
    "target": "next",
}
MODELS = {
    "sasrec everything": {**EVERYTHING, "context": "item"},
    "bert4rec everything": EVERYTHING,
    "sasrec both losses": {
        "negative_loss": {"contrastive": 0.25, "not_to_recommend": 0.5},
        "similarity": "dot",
    },
    "bert4rec sampled": {
        "negative_loss": "not_to_recommend",
        "num_sampled_negatives": 5,
        "sampling_distribution": "in_batch",
        "skips_as_negatives": True,
    },
    "gru4rec bpr": {"objective": "bpr", "sampling_distribution": "mixed", "feedback_inputs": True},
    "caser gbce": {"objective": "gbce", "calibration": 0.5, "skips_as_negatives": True},
    "bert4rec keep": {"negative_loss": {"keep": 2.0}, "max_sessions": 2},
    "gru4rec keep": {"negative_loss": ["contrastive", "keep"], "num_sampled_negatives": 5},
    "sasrec fused": {"fused_softmax": True},
    "caser features": {"item_features": np.eye(NUM_ITEMS)},
}


def test_as_the_readme_writes_it():
    model = keras_negrec.build_model("bert4rec", negative_loss=True)
    assert isinstance(model.encoder, keras_negrec.models.BERT4Rec)
    assert model.compiled and model.num_items == 1000
    assert {name: tuple(output.shape) for name, output in model.output.items()} == {
        "next_item": (None, None, 1000),
        "keep": (None, None, None, 1),
    }
    assert {"item_ids", "target_positions", "candidate_ids"} == set(model.input)


@pytest.mark.parametrize(("name", "options"), MODELS.items(), ids=MODELS)
def test_save_and_go_on(name, options, tmp_path):
    model = build(name.split()[0], vocabulary=VOCABULARY, **options)
    sampled = "objective" in options or "num_sampled_negatives" in options
    sessions = toy_sessions(48, with_sessions=True)
    batch = batch_of(model, sessions, batch_size=16)
    logs = model.train_on_batch(*batch, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    if model.feedback_terms:
        weights = model.get_compile_config()["loss_weights"]
        assert set(weights) == set(model.output)  # each loss has its line
        total = sum(weights[key] * logs[f"{key}_loss"] for key in weights)
        assert logs["loss"] == pytest.approx(total, rel=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.get_config() == model.get_config()
    assert loaded.vocabulary == VOCABULARY
    np.testing.assert_allclose(loaded.score(sessions), model.score(sessions), atol=1e-6)
    again = loaded(batch[0])
    for key, values in model(batch[0]).items():
        if sampled and key not in ("contrastive", "keep"):
            assert values.shape == again[key].shape  # negatives are drawn anew
        else:
            np.testing.assert_allclose(numpy(again[key]), numpy(values), atol=1e-6)
    # Training goes on as if it had never stopped, moments of the optimizer included.
    for _ in range(2):
        expected, found = (
            each.train_on_batch(*batch, return_dict=True) for each in (model, loaded)
        )
        assert set(found) == set(expected)
        if not sampled:
            assert found == pytest.approx(expected, abs=1e-5)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 3


def test_arguments_reach_the_compiled_model():
    def loss_and_weights(**options):
        model = build("caser", **options)
        return model.loss, model.get_compile_config()["loss_weights"]

    loss, weights = loss_and_weights(negative_loss="contrastive", temperature=0.2)
    assert isinstance(loss["contrastive"], losses.NegativeFeedbackContrastive)
    assert loss["contrastive"].temperature == 0.2
    assert weights == {"next_item": 1.0, "contrastive": 0.25}
    loss, weights = loss_and_weights(negative_loss={"contrastive": 0.1, "not_to_recommend": 2})
    assert isinstance(loss["not_to_recommend"], losses.NotToRecommend)
    assert weights == {"next_item": 1.0, "contrastive": 0.1, "not_to_recommend": 2.0}
    several = ["not_to_recommend", "contrastive"]
    _, weights = loss_and_weights(negative_loss=several, negative_weight=0.3)
    assert weights["contrastive"] == weights["not_to_recommend"] == 0.3
    loss, _ = loss_and_weights(objective="gbce", num_sampled_negatives=4, calibration=0.5)
    assert isinstance(loss["next_item"], losses.GeneralizedBinaryCrossentropy)
    assert (loss["next_item"].sampling_rate, loss["next_item"].calibration) == (4 / 9, 0.5)
    bpr = build("caser", objective="bpr", learning_rate=0.02)
    assert isinstance(bpr.loss["next_item"], losses.BayesianPersonalizedRanking)
    assert bpr.output["next_item"].shape[-1] == 257
    assert float(bpr.optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize(("target", "counts"), [("next_positive", [1, 2, 0]), ("next", [1, 2, 1])])
def test_in_batch_sampling_knows_the_frequencies_of_the_targets(target, counts):
    options = {"num_sampled_negatives": 4, "sampling_distribution": "in_batch", "target": target}
    model = build("caser", num_items=3, **options)
    model.training_dataset(Sessions.from_lists([[1, 2, 2, 3]], [[1, 1, 1, -1]]))
    found = numpy(model.get_layer("negative_sampler").frequencies)
    smoothed = np.maximum(counts, 1)  # no item counts as never there
    np.testing.assert_allclose(found, smoothed / np.sum(counts), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gru"}, "`encoder` must be one of 'bert4rec', 'caser',.* Rec.* encoder='gru'"),
        ({"objective": "hinge"}, "`objective` must be one of 'softmax', .* Received"),
        ({"negative_loss": "skips"}, "`negative_loss` must be one of .*'not_to_recommend'"),
        ({"negative_loss": {"contrastive": 0}}, "`negative_loss.'contrastive'.` must be above 0"),
        ({"similarity": "l2"}, "`similarity` must be one of"),
        ({"skips_as_negatives": True}, "No part .* `skips_as_negatives`.* SampledSoftmax"),
        ({"sampling_distribution": "mixed"}, "No part .* `sampling_distribution`.*='mixed'"),
        ({"keep_weight": 2}, "`keep_weight` is an argument of Keep.* Received: keep_weight=2"),
        (
            {"num_sampled_negatives": 3, "sampling_distribution": "zipf"},
            "`sampling_distribution` must be one of",
        ),
        ({"name": "gru4rec", "num_heads": 2}, "No part .* `num_heads`.* GRU4Rec: .*num_layers"),
        ({"name": "caser", "window": 0}, "`window` must be a positive integer"),
        ({"negative_loss": "not_to_recommend", "target": "next"}, 'needs target="next_positive"'),
        ({"num_items": 2.5}, "`num_items` must be a positive integer. Received: num_items=2.5"),
        ({"num_heads": 3}, "`num_heads` must divide"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"embedding_dim": 0}, "`embedding_dim` must be a positive integer"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1"),
        ({"context": "user"}, "`context` must be one of 'hidden', 'item'. Received"),
        ({"target": "previous"}, "`target` must be one of"),
        ({"num_sampled_negatives": 0}, "`num_sampled_negatives` must be a positive integer"),
        ({"max_sessions": 0}, "`max_sessions` must be a positive integer"),
        ({"max_sessions": 2, "use_position_embedding": False}, "`max_sessions` needs positions"),
        ({"negative_weight": 0}, "`negative_weight` must be above 0"),
        ({"optimizer": "adam"}, "`learning_rate` is for the default.*=0.01"),
        ({"negative_loss": "contrastive", "temperature": 0}, "`temperature` must be above 0"),
        (
            {"vocabulary": Vocabulary([1, 2, 3]), "num_items": 5},
            "size of the vocabulary, 3. Received: num_items=5",
        ),
        ({"learning_rate": -1}, "`learning_rate` must be above 0. Received: learning_rate=-1"),
        ({"dtype": "float16"}, "Weights in float16.*mixed_float16.*Received: dtype='float16'"),
        ({"fused_softmax": True, "objective": "gbce"}, "`fused_softmax` is for .*'gbce'"),
        ({"fused_softmax": True, "num_sampled_negatives": 4}, "`fused_softmax` is .* without"),
        ({"fused_softmax": True, "negative_loss": "not_to_recommend"}, "fused .* no logits"),
        ({"name": "bert4rec", "mask_probability": 1.5}, "`mask_probability` must be"),
        ({"item_features": np.zeros((8, 3))}, r"shape \(num_items, num_features\), \(10, 3\)"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_what_is_no_sessions_is_refused():
    model = build("caser")
    split = keras_negrec.data.leave_one_out(toy_sessions(8))
    with pytest.raises(TypeError, match=r"Expected `Sessions`, such as .* type Split"):
        model.training_dataset(split)
    with pytest.raises(TypeError, match=r"split.validation.sessions\(\)\).* type Examples"):
        model.training_dataset(split.validation)
    held_out = model.training_dataset(split.validation.sessions(), shuffle=False)
    assert model.evaluate(held_out, verbose=0) > 0
    with pytest.raises(TypeError, match=r"Expected `Sessions`, such as .* type list"):
        model.history_vectors([[1, 2]])


@pytest.mark.parametrize("name", keras_negrec.models.RECIPES)
def test_recipes_build_models(name):
    model = keras_negrec.build_model(**keras_negrec.models.RECIPES[name], num_items=9)
    assert model.optimizer is not None and model.num_items == 9


def test_a_large_softmax_warns_of_its_memory():
    with pytest.warns(UserWarning, match=r"30,000 items makes 0.7 GiB .* num_sampled_negatives"):
        build("sasrec", num_items=30_000, max_length=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("sasrec", num_items=20_000)
        build("sasrec", num_items=30_000, fused_softmax=True)
        build("sasrec", num_items=30_000, num_sampled_negatives=8)


@pytest.mark.parametrize(("num_rows", "rows_a_batch"), [(100, 16), (2400, 24), (20_000, 128)])
def test_without_a_batch_size_an_epoch_has_about_a_hundred_steps(num_rows, rows_a_batch):
    model = build("sasrec", max_length=4)
    rows = Sessions.from_lists([[1, 2, 3, 4]] * num_rows)
    dataset = model.training_dataset(rows)
    x, _, _ = next(iter(dataset))
    assert len(x["item_ids"]) >= rows_a_batch
    assert len(dataset) == len(model.training_dataset(rows, batch_size=rows_a_batch))
