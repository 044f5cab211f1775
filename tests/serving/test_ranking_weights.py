"""How much a feedback term counts in the ranking is a matter of the request."""

import numpy as np
import pytest
import tensorflow as tf
from small_model import ITEMS, Client, build, on_tensorflow

import keras_negrec

pytestmark = on_tensorflow
HISTORIES = [[ITEMS[3], ITEMS[8]], [ITEMS[20], ITEMS[5]]]
KEEP = {"negative_loss": "keep", "keep_weight": 1.5}
CONTEXT = {"context_dim": 3, "feedback_inputs": True}
PROJECTED = {"projection_dim": 5, "contrastive_weight": 0.75}
SHARES = {"keep": 1.0, "contrastive": 0.5}  # of the weight that a test asks for


@pytest.fixture(scope="module", params=["single", "context", "two terms", "ensemble"])
def model(request):
    if request.param == "context":
        terms = {"negative_loss": ["keep", "preference"], "reference": build("bert4rec")}
        return build("bert4rec", **KEEP | CONTEXT | terms)
    if request.param == "two terms":
        return build("sasrec", **KEEP | {"negative_loss": ["keep", "contrastive"]}, **PROJECTED)
    model = build("sasrec", **KEEP)
    if request.param == "single":
        return model
    return keras_negrec.models.Ensemble([model, build("gru4rec", **KEEP)])


@pytest.fixture(scope="module")
def call(model, tmp_path_factory):
    return Client(keras_negrec.export(model, tmp_path_factory.mktemp("exports") / "keep"))


def ranked(model, weight, history, k=6):
    shares = {} if weight is None else SHARES
    weights = {name: weight * shares[name] for name in model.ranking_weights if name in shares}
    return keras_negrec.recommend(model, [history], k, ranking_weights=weights)[0]


@pytest.mark.parametrize("weights", [None, [0.0], [4.0], [0.5, 3.0]])
def test_served_as_recommend_ranks(model, call, weights):
    names = [] if weights is None else model.ranking_weights
    given = {f"{name}_weight": [each * SHARES[name] for each in weights] for name in names}
    answer = call("recommend", item_ids=HISTORIES, k=6, **given)
    for row, history in enumerate(HISTORIES):
        weight = None if weights is None else weights[row % len(weights)]
        expected = ranked(model, weight, history)
        assert [item.decode() for item in answer["item_ids"][row]] == [e.item for e in expected]
        scores = [each.score for each in expected]
        np.testing.assert_allclose(answer["scores"][row], scores, atol=1e-4)
        [candidates] = answer["item_ids"][row : row + 1]
        found = call(
            "score",
            item_ids=[history],
            candidate_ids=[candidates],
            **{name: [values[row % len(values)]] for name, values in given.items()},
        )
        np.testing.assert_allclose(found["scores"], [scores], atol=1e-4)


def test_weights_change_the_order_and_the_own_one_is_the_default(model, call):
    orders = [[each.item for each in ranked(model, w, HISTORIES[0], 28)] for w in (0.0, 1.5, 4.0)]
    assert len({tuple(order) for order in orders}) == 3
    assert orders[1] == [each.item for each in ranked(model, None, HISTORIES[0], 28)]
    assert model.ranking_weights["keep"] == 1.5
    assert "keep_weight" not in call.signatures["serving_default"].inputs
    vectors = call("embed", item_ids=HISTORIES)["vectors"]
    items = model.item_vectors().numpy()
    np.testing.assert_allclose(
        vectors @ items.T,
        call("score", item_ids=HISTORIES, candidate_ids=[ITEMS] * 2)["scores"],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([-0.5], "must hold numbers of at least 0"),
        ([float("nan")], "must hold numbers of at least 0"),
        ([float("inf")], "must hold numbers of at least 0"),
        ([1.0, 2.0, 3.0], "must have one value, or one a history"),
        ([], "must have one value, or one a history"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused(call, weights, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"`keep_weight` {message}"):
        call("recommend", item_ids=HISTORIES, k=3, keep_weight=np.array(weights, "float32"))


def test_unknown_terms(model):
    with pytest.raises(ValueError, match=r"rank in this model are \[.*'keep'\]. Received: skip=2"):
        keras_negrec.recommend(model, HISTORIES, ranking_weights={"skip": 2})
    with pytest.raises(ValueError, match=r"`keep_weight` must be a number of at least 0"):
        keras_negrec.recommend(model, HISTORIES, ranking_weights={"keep": -1.0})


def test_members_of_different_weights_have_none_in_common():
    members = [build("sasrec", **KEEP), build("gru4rec", negative_loss="keep")]
    ensemble = keras_negrec.models.Ensemble(members)
    assert ensemble.ranking_weights == {}
    means = [member.score(toy()) for member in members]
    np.testing.assert_allclose(ensemble.score(toy()), np.mean(means, axis=0), atol=1e-4)


def toy():
    return keras_negrec.data.Sessions.from_lists([[4, 9], [21]])
