import math

import numpy as np
import pandas as pd
import pytest

import keras_negrec as kn
from keras_negrec.evaluation import TradeOff, choose_weights, trade_off

CURVE = pd.DataFrame(
    {"weight": [0.0, 1.0, 2.0], "hr@10": [0.10, 0.12, 0.08], "skip_hr@10": [0.09, 0.07, 0.03]}
)


@pytest.fixture(scope="module")
def model():
    """Item `j` has the keep bias `j`; what is shown next is nearly the same for all items."""
    model = kn.build_model("gru4rec", num_items=20, embedding_dim=4, negative_loss="keep")
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if weight.name == "item_bias":
            weight.assign(np.resize(np.arange(20.0), weight.shape))
        else:
            weight.assign(random.normal(scale=0.1, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def examples():
    """After each history a kept item of the upper half, and a skipped one of the lower half."""
    random = np.random.default_rng(1)
    rows = [[*random.permutation(20)[:3] + 1] for _ in range(40)]
    items = [[*row, 20 - n % 5, 1 + n % 5] for n, row in enumerate(rows)]
    sessions = kn.data.Sessions.from_lists(items, [[1, 1, 1, 1, -1]] * 40)
    return kn.data.Examples.after(sessions, np.full(40, 3)).replace(exclude_seen=False)


def test_each_point_is_what_evaluate_gives_at_that_weight(model, examples):
    curve = trade_off(model, examples, weights=[1, 0, 0.02], k=5)
    assert curve.table["weight"].tolist() == [0.0, 0.02, 1.0]
    assert model.ranking_weights == {"keep": 1.0}
    for weight, hits, skips in curve.table.itertuples(index=False):
        model.set_ranking_weights(keep=weight)
        metrics = kn.evaluate(model, examples, k=[5])
        assert (hits, skips) == (metrics["hr@5"], metrics["skip_hr@5"])
    model.set_ranking_weights(keep=1.0)
    assert curve.table["hr@5"].iloc[-1] == 1.0 and curve.table["skip_hr@5"].iloc[-1] == 0.0
    assert curve.table["hr@5"].iloc[0] < 1.0 and curve.table["skip_hr@5"].iloc[0] > 0.0


def test_between_two_points_it_goes_straight_and_takes_the_better_of_two_crossings():
    curve = TradeOff("keep", 10, CURVE)
    # Hits of .11 are passed on the way up, with .08, and on the way down, with .06.
    assert curve.at("equal hits", 0.11) == pytest.approx(
        {"weight": 1.25, "hr@10": 0.11, "skip_hr@10": 0.06}
    )
    assert curve.at("equal skips", 0.07) == pytest.approx(
        {"weight": 1.0, "hr@10": 0.12, "skip_hr@10": 0.07}
    )
    assert all(math.isnan(value) for value in curve.at("equal hits", 0.2).values())
    with pytest.raises(ValueError, match="`which` must be"):
        curve.at("hits", 0.1)


def test_weights_chosen_on_validation_get_there(model, examples):
    curve = trade_off(model, examples, k=5)
    hits = float(curve.table["hr@5"].iloc[:2].mean())
    chosen = choose_weights(model, examples, {"hr@5": hits}, k=5)
    assert chosen == {"keep": curve.at("equal hits", hits)["weight"]}
    with pytest.raises(ValueError, match=r"No weight of `keep` gives the baseline's hr@5, 2.0000"):
        choose_weights(model, examples, {"hr@5": 2.0}, k=5)


def test_terms_that_do_not_rank_are_refused(model, examples):
    with pytest.raises(ValueError, match=r"one of the feedback terms that rank, \['keep'\]"):
        trade_off(model, examples, term="contrastive")
    plain = kn.build_model("gru4rec", num_items=20)
    with pytest.raises(ValueError, match=r"terms that rank, \[\]. Received: term=None"):
        trade_off(plain, examples)
    with pytest.raises(ValueError, match="`keep_weight` must be a number of at least 0"):
        trade_off(model, examples, weights=[-1.0])


def test_the_figure_shows_the_curve_and_what_stands_beside_it():
    figure = TradeOff("keep", 10, CURVE).figure({"plain": {"hr@10": 0.1, "skip_hr@10": 0.05}})
    [panel] = figure.axes
    curve, plain = panel.lines
    assert list(curve.get_xdata()) == [0.09, 0.07, 0.03]
    assert (list(plain.get_xdata()), list(plain.get_ydata())) == ([0.05], [0.1])
