import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import check_events, simulate_log
from keras_negrec.data.simulation.log_truth import LogTruth


@pytest.fixture(scope="module")
def log():
    return simulate_log(num_users=900, num_items=5000, seed=1)


@pytest.fixture(scope="module")
def events(log):
    return log.events()


def kept_before(events):
    """How many tracks the session kept before each event: the round the event is in."""
    kept = (events["feedback"] > 0).astype(int)
    return kept.groupby(events["session"]).cumsum() - kept


def test_events_are_a_valid_events_table(log, events):
    check_events(events)
    assert list(events.columns) == [
        "user",
        "session",
        "position",
        "timestamp",
        "item",
        "feedback",
    ]
    assert events["session"].is_monotonic_increasing
    assert (events["session"].unique() == np.arange(log.num_sessions)).all()
    assert (events["user"].unique() == np.arange(900)).all()
    assert (events.groupby("session")["user"].nunique() == 1).all()
    assert (events["position"] == events.groupby("session").cumcount()).all()
    assert set(events["item"]) <= {f"track_{index:04d}" for index in range(5000)}
    assert set(events["feedback"]) == {-2, -1, 1, 2}


def test_a_seed_gives_the_same_events_and_another_seed_others(events):
    again = simulate_log(num_users=900, num_items=5000, seed=1).events()
    other = simulate_log(num_users=900, num_items=5000, seed=2).events()
    pd.testing.assert_frame_equal(events, again)
    assert not events.equals(other)


def test_chunks_hold_whole_users_and_make_up_the_events(log, events):
    chunks = [chunk.to_pandas() for chunk in log.chunks()]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), events)
    large = simulate_log(num_users=6000, num_items=5000, mean_kept=1)
    users = [set(chunk["user"].to_pylist()) for chunk in large.chunks()]
    assert len(users) > 2
    assert sum(map(len, users)) == len(set().union(*users)) == 6000


def test_times_follow_the_sessions_of_a_user(events):
    by_session = events.groupby("session")["timestamp"]
    gaps = by_session.diff().dropna()
    assert (gaps > 0).all()
    kept = (events["feedback"] > 0)[gaps.index - 1].to_numpy()
    assert gaps[kept].between(120, 299).all() and gaps[~kept].between(2, 44).all()
    sessions = pd.DataFrame(
        {
            "user": events.groupby("session")["user"].first(),
            "start": by_session.first(),
            "end": by_session.last(),
        }
    )
    pauses = sessions["start"] - sessions.groupby("user")["end"].shift()
    assert pauses.min() > 3600
    assert 0.8 < pauses.mean() / (24 * 3600 + 3600) < 1.2
    assert events["timestamp"].min() >= pd.Timestamp("2024-01-01").timestamp()


def test_users_have_several_sessions(events):
    counts = events.groupby("user")["session"].nunique()
    assert counts.min() == 1 and 7 < counts.mean() < 9 and counts.max() > 25


def test_a_quarter_of_the_tracks_is_skipped(events):
    feedback = events["feedback"]
    assert 0.2 < (feedback < 0).mean() < 0.35
    assert 0.05 < (feedback[feedback > 0] == 2).mean() < 0.2
    assert 0.02 < (feedback[feedback < 0] == -2).mean() < 0.2


def test_few_long_sessions_among_many_short_ones(events):
    assert (events.groupby("session")["feedback"].last() > 0).all()
    kept = (events["feedback"] > 0).groupby(events["session"]).sum()
    assert 11 < kept.mean() < 13
    assert np.median(kept) < 0.9 * kept.mean()
    assert np.percentile(kept, 99) > 3 * kept.mean()


def test_popularity_follows_a_power_law(log, events):
    counts = events["item"].value_counts().to_numpy()
    assert counts[:50].sum() / counts.sum() > 0.15  # 1 % of the tracks
    # Log counts fall with log ranks as the weights do, over two powers of ten.
    ranks = np.arange(10, 1000)
    slope = np.polyfit(np.log(ranks), np.log(counts[ranks]), 1)[0]
    assert -1.2 < slope < -0.6
    presented = events["item"].value_counts().reindex(log.truth.items, fill_value=0)
    order = np.argsort(-log.truth.weights)
    assert presented.iloc[order[:50]].mean() > 5 * presented.iloc[order[500:]].mean()


def test_skips_cluster_in_sessions(events):
    skipped = events["feedback"] < 0
    by_session = skipped.groupby(events["session"])
    rate = skipped.mean()
    by_chance = (rate * (1 - rate) / by_session.size()).mean()
    assert by_session.mean().var() > 1.4 * by_chance
    previous = by_session.shift()
    assert skipped[previous == True].mean() > 1.5 * skipped[previous == False].mean()  # noqa: E712


def test_sessions_begin_with_more_skips():
    def first_and_later(position_bias):
        events = simulate_log(
            num_users=900, num_items=5000, position_bias=position_bias, avoidance=0, seed=1
        ).events()
        rounds, skipped = kept_before(events), events["feedback"] < 0
        long = (events["feedback"] > 0).groupby(events["session"]).transform("sum") > 8
        return skipped[long & (rounds == 0)].mean() - skipped[long & (rounds == 7)].mean()

    without, some, much = (first_and_later(position_bias) for position_bias in (0.0, 1.5, 3.0))
    assert some > without + 0.05
    assert much > some + 0.05


def test_no_track_heard_before_a_round_is_presented_again(events):
    rounds = events.assign(round=kept_before(events))
    assert (rounds.groupby(["session", "item"])["round"].nunique() == 1).all()
    kept = events[events["feedback"] > 0]
    assert not kept.duplicated(["session", "item"]).any()


def test_skips_are_as_likely_as_the_truth_says(log, events):
    few = events[events["session"] < 1500]
    items = pd.Index(log.truth.items).get_indexer(few["item"])
    sessions, rounds = few["session"].to_numpy(), kept_before(few).to_numpy()
    expected = np.empty(len(few))
    for rows in np.array_split(np.arange(len(few)), 40):
        keep = log.truth.keep_probability(sessions[rows], rounds[rows])
        expected[rows] = keep[np.arange(len(rows)), items[rows]]
    kept = (few["feedback"] > 0).to_numpy()
    bins = np.digitize(expected, [0.2, 0.4, 0.6, 0.8, 0.9])
    for index in range(6):
        chosen = bins == index
        assert chosen.sum() > 300
        deviation = (kept[chosen] - expected[chosen]).sum()
        spread = np.sqrt((expected[chosen] * (1 - expected[chosen])).sum())
        assert abs(deviation) < 4.5 * spread


def test_the_sessions_of_a_user_are_alike(log):
    truth = log.truth
    moods = truth.states(np.arange(log.num_sessions)).moods
    users = np.repeat(np.arange(900), np.diff(truth.first_sessions))
    same = users[1:] == users[:-1]
    products = (moods[1:] * moods[:-1]).sum(axis=1)
    assert products[same].mean() > 0.4 * (moods**2).sum(axis=1).mean()
    assert abs(products[~same].mean()) < 0.2 * products[same].mean()


def test_states_are_those_of_the_chunks(log):
    truth = log.truth
    assert isinstance(truth, LogTruth)
    large = simulate_log(num_users=6000, num_items=100, mean_kept=1).truth
    first_user, end_user = large.chunks()[1]
    chunk = large.chunk_state(first_user, end_user)
    asked = np.array([chunk.first + 5, 3, chunk.first])
    states = large.states(asked)
    np.testing.assert_array_equal(states.moods[[0, 2]], chunk.moods[[5, 0]])
    assert states.num_kept[0] == chunk.num_kept[5]
    np.testing.assert_array_equal(states.patience[1], large.states(np.array([3])).patience[0])


def test_a_session_that_heard_everything_ends():
    events = simulate_log(num_users=20, num_items=4, num_genres=2, mean_kept=12).events()
    check_events(events)
    kept = events[events["feedback"] > 0].groupby("session").size()
    assert kept.max() == 4
    one = simulate_log(num_users=1, num_items=1, sessions_per_user=1, mean_kept=1, num_genres=1)
    assert (one.events()["feedback"] > 0).sum() == 1


def test_the_number_of_sessions_can_be_fixed():
    assert simulate_log(num_users=30, num_items=100, sessions_per_user=1).num_sessions == 30


def test_item_table(log, events):
    table = log.item_table()
    assert list(table.columns) == ["item", "genre"]
    assert table["genre"].nunique() == 64
    liked = events[events["feedback"] == 2].merge(table, on="item")
    # A session likes tracks of few genres.
    assert liked.groupby("session")["genre"].nunique().mean() < 0.8 * (
        liked.groupby("session").size().mean()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_users", 0),
        ("num_items", 2.5),
        ("num_genres", None),
        ("seed", -1),
        ("sessions_per_user", 0.5),
        ("mean_kept", 0),
        ("popularity_exponent", -0.1),
        ("sequence_strength", float("nan")),
        ("mood_strength", "strong"),
        ("avoidance", -1),
        ("patience", float("inf")),
        ("position_bias", -1),
    ],
)
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: ") as error:
        simulate_log(**{name: value})
    assert str(error.value).endswith(f"Received: {value!r}")
