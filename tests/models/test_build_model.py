import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Vocabulary
from keras_negrec.losses import NegativeFeedbackContrastive

SMALL = {"max_length": 8, "embedding_dim": 8, "dropout": 0.0, "learning_rate": 0.01}
TRANSFORMER = {"num_layers": 1, "intermediate_dim": 8}
EVERYTHING = {
    "negative_loss": True,
    "num_sampled_negatives": 5,
    "feedback_inputs": True,
    "max_sessions": 2,
    "target": "next",
}
BOTH = {"contrastive": 0.25, "not_to_recommend": 0.5}
MODELS = {
    "sasrec everything": ("sasrec", {**EVERYTHING, "context": "item"}),
    "bert4rec everything": ("bert4rec", EVERYTHING),
    "sasrec both losses": ("sasrec", {"negative_loss": BOTH, "similarity": "dot"}),
    "bert4rec sampled": (
        "bert4rec",
        {
            "negative_loss": "not_to_recommend",
            "num_sampled_negatives": 5,
            "sampling_distribution": "in_batch",
            "skips_as_negatives": True,
        },
    ),
    "gru4rec bpr": (
        "gru4rec",
        {"objective": "bpr", "sampling_distribution": "mixed", "feedback_inputs": True},
    ),
    "caser gbce": ("caser", {"objective": "gbce", "num_sampled_negatives": 4, "calibration": 0.5}),
    "bert4rec keep": ("bert4rec", {"negative_loss": {"keep": 2.0}, "max_sessions": 2}),
    "gru4rec keep": (
        "gru4rec",
        {"negative_loss": ["contrastive", "keep"], "num_sampled_negatives": 5},
    ),
}


def first_batches(model, sessions, count):
    """Batches as NumPy arrays, so that every backend takes them in `train_on_batch`."""
    dataset = model.training_dataset(sessions, batch_size=16, shuffle=False)
    return [
        tuple({name: values.numpy() for name, values in part.items()} for part in element)
        for element in dataset.take(count)
    ]


def test_as_the_readme_writes_it():
    model = keras_negrec.build_model("bert4rec", negative_loss=True)
    assert isinstance(model.encoder, keras_negrec.models.BERT4Rec)
    assert model.compiled
    assert set(model.output) == {"next_item", "contrastive"}
    assert model.num_items == 1000
    assert tuple(model.output["next_item"].shape) == (None, None, 1000)
    # Functional: its graph can be looked at, and it can be summarized.
    assert {"item_ids", "target_positions", "candidate_ids"} == set(model.input)
    lines = []
    model.summary(print_fn=lines.append)
    assert "item_embedding" in "\n".join(lines)
    assert isinstance(model.loss["contrastive"], NegativeFeedbackContrastive)
    assert model.get_compile_config()["loss_weights"] == {
        "next_item": 1.0,
        "contrastive": 0.25,
    }


def test_arguments_reach_the_compiled_model():
    model = keras_negrec.build_model(
        "sasrec",
        **SMALL,
        num_items=5,
        negative_loss=True,
        negative_weight=0.5,
        temperature=0.2,
    )
    assert isinstance(model.encoder, keras_negrec.models.SASRec)
    assert model.loss["contrastive"].temperature == 0.2
    assert model.get_compile_config()["loss_weights"]["contrastive"] == 0.5
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    plain = keras_negrec.build_model("sasrec", **SMALL, num_items=5)
    assert set(plain.output) == {"next_item"}


@pytest.mark.parametrize(("name", "options"), MODELS.values(), ids=MODELS.keys())
def test_save_and_go_on(name, options, tmp_path):
    vocabulary = Vocabulary([f"track {i}" for i in range(NUM_ITEMS)])
    if name in ("sasrec", "bert4rec"):
        options = {**TRANSFORMER, **options}
    model = keras_negrec.build_model(name, vocabulary=vocabulary, **SMALL, **options)
    sampled = (
        options.get("num_sampled_negatives") or options.get("objective", "softmax") != "softmax"
    )
    sessions = toy_sessions(48, with_sessions=True)
    batches = first_batches(model, sessions, 3)
    logs = model.train_on_batch(*batches[0], return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    if model.feedback_terms:
        weights = model.get_compile_config()["loss_weights"]
        assert set(weights) == set(model.output)  # each loss has its line
        total = sum(weights[key] * logs[f"{key}_loss"] for key in weights)
        assert logs["loss"] == pytest.approx(total, rel=1e-4)

    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert type(loaded) is type(model)
    assert loaded.get_config() == model.get_config()
    assert loaded.vocabulary == vocabulary
    np.testing.assert_allclose(loaded.score(sessions), model.score(sessions), atol=1e-6)
    outputs, again = model(batches[1][0]), loaded(batches[1][0])
    for key, values in outputs.items():
        if sampled and key not in ("contrastive", "keep"):
            assert values.shape == again[key].shape  # negatives are drawn anew
        else:
            np.testing.assert_allclose(
                ops.convert_to_numpy(again[key]), ops.convert_to_numpy(values), atol=1e-6
            )
    # Training goes on as if it had never stopped, moments of the optimizer included.
    for batch in batches[1:]:
        expected = model.train_on_batch(*batch, return_dict=True)
        found = loaded.train_on_batch(*batch, return_dict=True)
        assert set(found) == set(expected)
        if not sampled:
            assert found == pytest.approx(expected, abs=1e-5)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 3


def test_objectives_and_their_losses():
    losses = keras_negrec.losses

    def compiled(**options):
        return keras_negrec.build_model("sasrec", **SMALL, num_items=9, **options)

    gbce = compiled(objective="gbce", num_sampled_negatives=4, calibration=0.5).loss["next_item"]
    assert isinstance(gbce, losses.GeneralizedBinaryCrossentropy)
    assert (gbce.sampling_rate, gbce.calibration) == (0.5, 0.5)
    bpr = compiled(objective="bpr")
    assert isinstance(bpr.loss["next_item"], losses.BayesianPersonalizedRanking)
    assert bpr.output["next_item"].shape[-1] == 257
    both = compiled(negative_loss={"contrastive": 0.1, "not_to_recommend": 2})
    assert isinstance(both.loss["not_to_recommend"], losses.NotToRecommend)
    assert both.get_compile_config()["loss_weights"] == {
        "next_item": 1.0,
        "contrastive": 0.1,
        "not_to_recommend": 2.0,
    }
    several = compiled(negative_loss=["not_to_recommend", "contrastive"], negative_weight=0.3)
    assert several.get_compile_config()["loss_weights"]["not_to_recommend"] == 0.3
    assert list(compiled(negative_loss=True).feedback_terms) == ["contrastive"]


def test_in_batch_sampling_knows_the_frequencies_of_the_targets():
    model = keras_negrec.build_model(
        "sasrec", **SMALL, num_items=4, num_sampled_negatives=4, sampling_distribution="in_batch"
    )
    sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 2, 3]], [[1, 1, 1, -1]])
    model.training_dataset(sessions)
    found = ops.convert_to_numpy(model.get_layer("negative_sampler").frequencies)
    np.testing.assert_allclose(found, [1 / 3, 2 / 3, 1 / 3, 1 / 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"encoder": "gru"},
            "Unknown model. Expected .*'bert4rec', 'caser',.* Received: encoder='gru'",
        ),
        ({"objective": "hinge"}, "`objective` must be one of 'softmax', .* Received"),
        ({"negative_loss": "skips"}, "`negative_loss` must be one of .*'not_to_recommend'"),
        ({"negative_loss": {"contrastive": 0}}, "`negative_loss.'contrastive'.` must be above 0"),
        ({"similarity": "l2"}, "`similarity` must be one of"),
        (
            {"skips_as_negatives": True},
            "No part of this model has an argument `skips_as_negatives`.* SampledSoftmax",
        ),
        (
            {"sampling_distribution": "mixed"},
            "No part of this model has an argument `sampling_distribution`.*='mixed'",
        ),
        ({"keep_weight": 2}, "`keep_weight` is an argument of Keep.* Received: keep_weight=2"),
        (
            {"num_sampled_negatives": 3, "sampling_distribution": "zipf"},
            "`sampling_distribution` must be one of",
        ),
        ({"encoder": "gru4rec", "num_heads": 2}, "No part .* `num_heads`.* GRU4Rec: num_layers"),
        ({"encoder": "gru4rec", "num_layers": 0}, "`num_layers` must be a positive integer"),
        ({"encoder": "caser", "window": 0}, "`window` must be a positive integer"),
        (
            {"negative_loss": "not_to_recommend", "target": "next"},
            'needs target="next_positive"',
        ),
        ({"num_items": 0}, "`num_items` must be a positive integer. Received: num_items=0"),
        ({"num_items": 2.5}, "`num_items` must be a positive integer"),
        ({"num_heads": 3}, "`num_heads` must divide"),
        ({"num_layers": 0}, "`num_layers` must be a positive integer"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1"),
        ({"context": "user"}, "`context` must be one of 'hidden', 'item'. Received"),
        ({"target": "previous"}, "`target` must be one of"),
        ({"num_sampled_negatives": 0}, "`num_sampled_negatives` must be a positive integer"),
        ({"max_sessions": 0}, "`max_sessions` must be a positive integer"),
        ({"negative_weight": 0}, "`negative_weight` must be above 0"),
        ({"learning_rate": 0.1, "optimizer": "adam"}, "`learning_rate` is for the default.*=0.1"),
        ({"negative_loss": True, "temperature": 0}, "`temperature` must be above 0"),
        ({"vocabulary": Vocabulary([1, 2, 3])}, "size of the vocabulary, 3. Received: num_items=5"),
        ({"learning_rate": -1}, "`learning_rate` must be above 0. Received: learning_rate=-1"),
        ({"dtype": "float16"}, "Weights in float16.*mixed_float16.*Received: dtype='float16'"),
        (
            {"fused_softmax": True, "objective": "gbce"},
            "`fused_softmax` is for objective=\"softmax\" .*Received: .*objective='gbce'",
        ),
        ({"encoder": "bert4rec", "mask_probability": 1.5}, "`mask_probability` must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_negrec.build_model(**{**SMALL, "encoder": "sasrec", "num_items": 5, **arguments})


def test_what_is_no_sessions_is_refused():
    model = keras_negrec.build_model("sasrec", **SMALL, num_items=NUM_ITEMS)
    split = keras_negrec.data.leave_one_out(toy_sessions(8))
    with pytest.raises(TypeError, match=r"Expected `Sessions`, such as .* type Split"):
        model.training_dataset(split)
    with pytest.raises(TypeError, match=r"split.validation.sessions\(\)\).* type Examples"):
        model.training_dataset(split.validation)
    held_out = model.training_dataset(split.validation.sessions(), shuffle=False)
    assert model.evaluate(held_out, verbose=0) > 0
    with pytest.raises(TypeError, match=r"Expected `Sessions`, such as .* type list"):
        model.history_vectors([[1, 2]])
    with pytest.raises(TypeError, match=r"`examples` must be `Examples`.* type Split"):
        keras_negrec.evaluate(model, split)
