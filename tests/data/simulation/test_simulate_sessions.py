import hashlib

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.simulation.simulate_sessions import simulate_sessions


@pytest.fixture(scope="module")
def simulation():
    return simulate_sessions(num_sessions=1500, num_items=300, seed=1)


def item_indices(simulation):
    return pd.Index(simulation.truth.items).get_indexer(simulation.events["item"])


def kept_before(events):
    """How many tracks the session kept before each event: the round the event is in."""
    kept = (events["feedback"] > 0).astype(int)
    return kept.groupby(events["session"]).cumsum() - kept


def test_events_are_a_valid_events_table(simulation):
    events = simulation.events
    check_events(events)
    assert list(events.columns) == ["session", "position", "item", "feedback"]
    assert events["session"].is_monotonic_increasing
    assert (events["session"].unique() == np.arange(1500)).all()
    assert (events["position"] == events.groupby("session").cumcount()).all()
    assert set(events["item"]) <= {f"track_{index:04d}" for index in range(300)}
    assert set(events["feedback"]) == {-2, -1, 1, 2}


def test_a_seed_gives_the_same_sessions_and_another_seed_others(simulation):
    again = simulate_sessions(num_sessions=1500, num_items=300, seed=1)
    other = simulate_sessions(num_sessions=1500, num_items=300, seed=2)
    pd.testing.assert_frame_equal(simulation.events, again.events)
    assert not simulation.events.equals(other.events)


@pytest.mark.parametrize(
    ("options", "num_events", "expected"),
    [
        (
            {"num_sessions": 100, "num_items": 50},
            2028,
            "cd3bcc1371f12696d3a899acf92c5b7d494dca2e530cf679574f868be4c7cb6c",
        ),
        (
            {"num_sessions": 100, "num_items": 1500, "mean_kept": 5, "seed": 7},
            730,
            "e6976209d8e7f49432d0e653aadfc030fff900aa9caf0396231ef98e7555e995",
        ),
    ],
)
def test_the_data_are_those_of_recorded_results(options, num_events, expected):
    events = simulate_sessions(**options).events
    assert len(events) == num_events
    lines = "\n".join(",".join(map(str, row)) for row in events.itertuples(index=False))
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_the_global_random_state_is_neither_read_nor_changed():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    simulate_sessions(num_sessions=5, num_items=20)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_between_a_third_and_a_half_of_the_tracks_are_skipped(simulation):
    feedback = simulation.events["feedback"]
    assert 0.30 <= (feedback < 0).mean() <= 0.45
    assert 0.02 <= (feedback[feedback > 0] == 2).mean() <= 0.2
    assert 0.02 <= (feedback[feedback < 0] == -2).mean() <= 0.2


def test_session_lengths_vary_around_what_was_asked_for(simulation):
    sessions = simulation.events.groupby("session")["feedback"]
    kept = sessions.agg(lambda feedback: (feedback > 0).sum())
    assert kept.min() == 6 and kept.max() == 18
    assert abs(kept.mean() - 12) < 0.5
    low, high = np.percentile(sessions.size(), [10, 90])
    assert low < 15 and high > 22


def test_every_session_ends_with_a_kept_track(simulation):
    assert (simulation.events.groupby("session")["feedback"].last() > 0).all()


def test_few_tracks_hold_a_clear_share_of_the_presentations(simulation):
    counts = simulation.events["item"].value_counts()
    assert counts.iloc[:3].sum() / counts.sum() > 3 * 3 / 300
    assert counts.iloc[:30].sum() / counts.sum() > 0.25
    # Presentations follow the truth's popularity, not only what goes well after what.
    presented = np.bincount(item_indices(simulation), minlength=300)
    order = np.argsort(-simulation.truth.log_popularity)
    assert presented[order[:30]].mean() > 2 * presented[order[150:]].mean()


def test_skips_cluster_in_sessions(simulation):
    skipped = simulation.events["feedback"] < 0
    by_session = skipped.groupby(simulation.events["session"])
    rate = skipped.mean()
    by_chance = (rate * (1 - rate) / by_session.size()).mean()
    assert by_session.mean().var() > 1.5 * by_chance


def test_no_track_heard_before_a_round_is_presented_again(simulation):
    events = simulation.events.assign(round=kept_before(simulation.events))
    rounds = events.groupby(["session", "item"])["round"].nunique()
    assert (rounds == 1).all()
    kept = events[events["feedback"] > 0]
    assert not kept.duplicated(["session", "item"]).any()


def test_a_track_rarely_comes_twice_in_a_session(simulation):
    assert simulation.events.duplicated(["session", "item"]).mean() < 0.1


def test_polarity_agrees_with_the_match(simulation):
    events = simulation.events
    match = simulation.truth.match(events["session"].to_numpy(), item_indices(simulation))
    means = pd.Series(match).groupby(events["feedback"]).mean()
    assert means[-2] < means[-1] < means[1] < means[2]
    assert means[1] - means[-1] > 2


def test_skips_are_as_likely_as_the_truth_says(simulation):
    # Whether a presented track is kept depends on its match alone.
    events = simulation.events
    keep = simulation.truth.keep_probability(np.arange(1500))
    expected = keep[events["session"], item_indices(simulation)]
    kept = (events["feedback"] > 0).to_numpy()
    bins = np.digitize(expected, [0.2, 0.4, 0.6, 0.8, 0.9])
    for index in range(6):
        chosen = bins == index
        deviation = (kept[chosen] - expected[chosen]).sum()
        spread = np.sqrt((expected[chosen] * (1 - expected[chosen])).sum())
        assert abs(deviation) < 4.5 * spread


def test_the_next_track_can_be_learnt_from_the_last(simulation):
    kept = simulation.events[simulation.events["feedback"] > 0]
    items = pd.Index(simulation.truth.items).get_indexer(kept["item"])
    session = kept["session"].to_numpy()
    same = session[1:] == session[:-1]
    last, following, train = items[:-1][same], items[1:][same], session[1:][same] < 1200
    popularity = np.bincount(following[train], minlength=300) / train.sum()
    counts = np.zeros((300, 300))
    np.add.at(counts, (last[train], following[train]), 1)
    markov = (counts + 20 * popularity) / (counts.sum(axis=1, keepdims=True) + 20)

    def hit_rate(scores):
        target = scores[np.arange(len(scores)), following[~train]]
        return ((scores > target[:, None]).sum(axis=1) < 10).mean()

    by_popularity = hit_rate(np.tile(popularity, ((~train).sum(), 1)))
    assert hit_rate(markov[last[~train]]) > 1.5 * by_popularity


def test_more_patience_gives_fewer_skips():
    rates = [
        (simulate_sessions(200, 60, patience=patience).events["feedback"] < 0).mean()
        for patience in (-3, 0, 3)
    ]
    assert rates[0] > rates[1] > rates[2]


def test_without_mood_only_patience_decides():
    simulation = simulate_sessions(300, 60, mood_strength=0)
    keep = simulation.truth.keep_probability(np.arange(300))
    np.testing.assert_allclose(keep, np.tile(keep[:, :1], (1, 60)), rtol=1e-5)
    assert set(simulation.events["feedback"]) == {-1, 1}


def test_a_session_that_heard_everything_ends():
    events = simulate_sessions(num_sessions=50, num_items=4, mean_kept=12).events
    check_events(events)
    assert events[events["feedback"] > 0].groupby("session").size().max() <= 4
    assert len(simulate_sessions(num_sessions=1, num_items=1, mean_kept=1).events) >= 1


def test_names_have_as_many_digits_as_the_catalogue_needs():
    assert simulate_sessions(2, 12000, mean_kept=1).truth.items[7] == "track_00007"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sessions", 0),
        ("num_sessions", 2.5),
        ("num_items", 0),
        ("num_items", "many"),
        ("num_items", True),
        ("mean_kept", -3),
        ("mean_kept", None),
        ("seed", -1),
        ("popularity_exponent", -0.1),
        ("sequence_strength", float("nan")),
        ("mood_strength", "strong"),
        ("avoidance", -1),
        ("patience", float("inf")),
        ("patience", None),
    ],
)
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: ") as error:
        simulate_sessions(**{name: value})
    assert str(error.value).endswith(f"Received: {value!r}")
