import math

import numpy as np
import pytest

import keras_negrec as kn
from keras_negrec.evaluation import TradeOff, choose_weights, trade_off

WEIGHTS, HITS, SKIPS = [0.0, 1.0, 2.0], [0.10, 0.12, 0.08], [0.09, 0.07, 0.03]


def curve_of(weights, hits, skips, num_examples=100):
    """Of every hundred examples, as many hits and skips as the shares say."""
    found = [
        np.arange(num_examples)[:, None] % 100 < np.round(100 * np.array(shares))
        for shares in (hits, skips)
    ]
    return TradeOff("keep", 10, weights, *(values.astype(float) for values in found))


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
    curve = curve_of(WEIGHTS, HITS, SKIPS)
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
    # Where no weight gets there, it is the one that comes nearest.
    most = curve.at("equal hits", curve.table["hr@5"].max())["weight"]
    assert choose_weights(model, examples, {"hr@5": 2.0}, k=5) == {"keep": most}
    with pytest.raises(ValueError, match=r"a hr@5 that is known. Received: nan"):
        choose_weights(model, examples, {"hr@5": math.nan}, k=5)


def test_between_both_choices_hits_and_skips_are_better(model, examples):
    curve = trade_off(model, examples, k=5)
    hits, skips = (float(curve.table[name].iloc[:2].mean()) for name in ("hr@5", "skip_hr@5"))
    ends = [curve.at("equal skips", skips)["weight"], curve.at("equal hits", hits)["weight"]]
    baseline = {"hr@5": hits, "skip_hr@5": skips}
    found = choose_weights(model, examples, baseline, at="both", k=5)
    assert found == {"keep": pytest.approx(np.mean(ends))}
    # Where every weight shows fewer skips than the baseline, the least weight is one end.
    half = choose_weights(model, examples, {"hr@5": hits, "skip_hr@5": 1.0}, at="both", k=5)
    assert half == {"keep": pytest.approx(ends[1] / 2)}


@pytest.mark.parametrize("seed", range(3))
def test_against_a_baseline_as_loops_have_it(seed):
    random = np.random.default_rng(seed)
    hits, skips = random.random((2, 600, 3)) < np.array([[0.7, 0.5, 0.2], [0.6, 0.3, 0.1]])[:, None]
    skips = np.where(random.random((600, 1)) < 0.3, np.nan, skips)
    curve = TradeOff("keep", 10, WEIGHTS, hits.astype(float), skips)
    others = [(random.random((600, 1)) < share).astype(float) for share in (0.45, 0.4)]
    baseline = TradeOff("", 10, [math.nan], *others)

    def change(rows):
        drawn = TradeOff("keep", 10, WEIGHTS, curve.hits[rows], curve.skips[rows])
        hits, skips = (values[rows].mean() for values in others)
        return drawn.at("equal hits", hits)["skip_hr@10"] / skips - 1

    found = curve.against(baseline, num_resamples=400)
    assert found["change"] == pytest.approx(change(np.arange(600)))
    assert found["value"] == pytest.approx((1 + found["change"]) * found["baseline"])
    drawn = [change(random.integers(600, size=600)) for _ in range(400)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert [found["low"], found["high"]] == pytest.approx([low, high], abs=0.05)


def test_more_hits_at_equal_skips_and_what_cannot_be_compared():
    curve = curve_of(WEIGHTS, HITS, SKIPS, num_examples=100_000)
    baseline = curve_of([math.nan], [0.10], [0.07], num_examples=100_000)
    found = curve.against(baseline, "equal skips", num_resamples=200)
    assert found["change"] == pytest.approx(0.2) and found["low"] < 0.2 < found["high"]
    assert found["weight"] == pytest.approx(1.0)
    unreached = curve_of([math.nan], [0.2], [0.07], num_examples=100_000)
    assert math.isnan(curve.against(unreached, num_resamples=10)["change"])
    with pytest.raises(ValueError, match="100000 examples and one weight"):
        curve.against(curve)


def test_of_several_models_it_is_the_mean(model, examples):
    other = model.clone()
    other.trainable_weights[0].assign(-other.trainable_weights[0])
    both, *each = (
        trade_off(of, examples, weights=[0, 1], k=5) for of in ([model, other], model, other)
    )
    assert np.allclose(both.table, (each[0].table + each[1].table) / 2)
    as_they_are = trade_off([model, other], examples, weights=[], k=5)
    assert as_they_are.hits[:, 0].tolist() == both.hits[:, 1].tolist()


def test_terms_that_do_not_rank_are_refused(model, examples):
    with pytest.raises(ValueError, match=r"one of the feedback terms that rank, \['keep'\]"):
        trade_off(model, examples, term="contrastive")
    plain = kn.build_model("gru4rec", num_items=20)
    with pytest.raises(ValueError, match=r"terms that rank, \[\]. Received: term=None"):
        trade_off(plain, examples)
    with pytest.raises(ValueError, match="`keep_weight` must be a number of at least 0"):
        trade_off(model, examples, weights=[-1.0])


def test_the_figure_shows_the_curve_and_what_stands_beside_it():
    figure = curve_of(WEIGHTS, HITS, SKIPS).figure({"plain": {"hr@10": 0.1, "skip_hr@10": 0.05}})
    [panel] = figure.axes
    curve, plain = panel.lines
    assert list(curve.get_xdata()) == pytest.approx(SKIPS)
    assert (list(plain.get_xdata()), list(plain.get_ydata())) == ([0.05], [0.1])
