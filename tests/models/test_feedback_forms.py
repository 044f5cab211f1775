"""Feedback terms in all their forms: gradients by finite differences, and nothing from later."""

import keras
import numpy as np
import pytest
from small_models import batch_of, build, numpy, random_sessions, with_random_weights
from toy_sessions import NUM_ITEMS
from value_and_gradient import value_and_gradient

FORMS = {
    "contrastive": {"projection_dim": 5, "temperature": 0.5},
    "keep": {"context_dim": 3, "context_dropout": 0.0, "horizon": 4},
    "preference": {"beta": 0.5},
    "preference beside a reference": {"beta": 0.5},
}


@pytest.fixture(params=FORMS)
def form(request):
    """The name of a term, and the keywords of its form."""
    options = FORMS[request.param]
    if "beside" in request.param:
        first = with_random_weights(build("sasrec", feedback_inputs=True), seed=1)
        options = options | {"reference": first}
    return request.param.split()[0], options


def test_gradients_by_finite_differences(form):
    name, options = form
    model = build("sasrec", negative_loss=name, feedback_inputs=True, **options)
    with_random_weights(model, 0.3)
    x, y, weight = batch_of(model, random_sessions())
    x, y, weight = (
        keras.tree.map_structure(keras.ops.convert_to_tensor, d) for d in (x, y, weight)
    )
    start = [keras.ops.stop_gradient(each.value) for each in model.trainable_variables]
    random = np.random.default_rng(2)
    direction = [
        keras.ops.convert_to_tensor(random.normal(size=each.shape).astype("float32"))
        for each in start
    ]
    rest = [each.value for each in model.non_trainable_variables]

    def loss(step):
        there = [each + step * way for each, way in zip(start, direction, strict=True)]
        outputs, _ = model.stateless_call(there, rest, x)
        return model.loss[name](y[name], outputs[name], weight[name])

    _, found = value_and_gradient(loss, 0.0)
    sides = [value_and_gradient(loss, step)[0] for step in (0.004, -0.004)]
    assert found == pytest.approx((sides[0] - sides[1]) / 0.008, rel=0.02)
    assert abs(found) > 0.01


def test_no_output_sees_what_comes_later(form):
    """Neither the events nor the feedback after a position, that of its target first of all."""
    name, options = form
    model = build("sasrec", negative_loss=name, feedback_inputs=True, **options)
    with_random_weights(model)
    x, _, _ = batch_of(model, random_sessions())
    assert (x["target_positions"][1] > 4).any() and (x["target_positions"][1] < 4).any()
    early = x["target_positions"] < 4
    changed = {key: values.copy() for key, values in x.items()}
    changed["item_ids"][:, 4:] = 1 + changed["item_ids"][:, 4:] % NUM_ITEMS
    changed["feedback"][:, 4:] *= -1
    before, after = (model(inputs) for inputs in (x, changed))
    for output in (name, "next_item"):
        old, new = numpy(before[output]), numpy(after[output])
        np.testing.assert_allclose(old[early], new[early], atol=1e-5)
        assert np.abs(old - new)[~early].max() > 0.01


def test_a_masked_event_hides_its_feedback(form):
    name, options = form
    if options.get("reference") is not None:
        options = options | {"reference": build("bert4rec", feedback_inputs=True)}
    model = build("bert4rec", negative_loss=name, feedback_inputs=True, **options)
    x, _, weight = batch_of(model, random_sessions())
    rows, slots = np.nonzero(weight["next_item"])
    columns = x["target_positions"][rows, slots]
    masked = x["item_ids"][rows, columns] == model.mask_id
    assert masked.sum() >= 5
    assert len(set(x["feedback"][rows, columns][masked].tolist())) == 1
