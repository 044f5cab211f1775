import itertools

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import check_events, simulate_sessions


@pytest.fixture(scope="module")
def simulation():
    return simulate_sessions(num_sessions=1500, num_items=300, seed=1)


@pytest.fixture(scope="module")
def service():
    """A large catalogue, and users with several sessions."""
    return simulate_sessions(num_sessions=7200, num_items=5000, num_users=900, seed=1)


@pytest.fixture(params=["simulation", "service"])
def either(request):
    return request.getfixturevalue(request.param)


def kept_before(events):
    """How many tracks the session kept before each event: the round the event is in."""
    kept = (events["feedback"] > 0).astype(int)
    return kept.groupby(events["session"]).cumsum() - kept


def test_events_are_a_valid_events_table(either):
    events, has_users = either.events, either.has_users
    check_events(events)
    user = ["user"] if has_users else []
    assert list(events) == ["session", *user, "position", "timestamp", "item", "feedback"]
    assert events["session"].is_monotonic_increasing
    assert (events["session"].unique() == np.arange(len(either.truth.sessions))).all()
    assert (events["position"] == events.groupby("session").cumcount()).all()
    assert set(events["item"]) <= set(either.truth.items["item"])
    assert set(events["feedback"]) == {-2, -1, 1, 2}


def test_times_rise_and_the_sessions_of_a_user_follow_each_other(service):
    events = service.events
    by_session = events.groupby("session")["timestamp"]
    gaps = by_session.diff().dropna()
    kept = (events["feedback"] > 0)[gaps.index - 1].to_numpy()
    assert gaps[kept].between(120, 299).all() and gaps[~kept].between(2, 44).all()
    assert (events.groupby("session")["user"].nunique() == 1).all()
    assert events["user"].is_monotonic_increasing
    ends = by_session.last().groupby(service.truth.sessions["user"]).shift()
    pauses = by_session.first() - ends
    assert pauses.min() > 3600
    assert 0.8 < pauses.mean() / (24 * 3600 + 3600) < 1.2
    assert events["timestamp"].min() >= pd.Timestamp("2024-01-01").timestamp()
    counts = events.groupby("user")["session"].nunique()
    assert (counts.index == np.arange(900)).all() and counts.sum() == 7200
    assert counts.min() == 1 and counts.median() < 7 and counts.max() > 25


@pytest.mark.parametrize("num_users", [None, 150])
def test_a_seed_gives_the_same_events_and_another_seed_others(num_users):
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (
        simulate_sessions(300, 300, num_users=num_users, seed=seed).events for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("num_users", [None, 4000])
def test_chunks_and_files_make_up_the_events(tmp_path, num_users):
    simulation = simulate_sessions(20_000, 500, num_users=num_users, mean_kept=2)
    chunks = [chunk.to_pandas() for chunk in simulation.chunks()]
    key = "user" if num_users else "session"
    assert len(chunks) == 2 and set(chunks[0][key]).isdisjoint(chunks[1][key])
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), simulation.events)
    paths = simulation.write(tmp_path / "new")
    assert [path.name for path in paths] == ["events-00000.parquet", "events-00001.parquet"]
    written = pd.concat(map(pd.read_parquet, paths), ignore_index=True)
    pd.testing.assert_frame_equal(written, simulation.events)
    with pytest.raises(FileExistsError, match=r"must hold no Parquet files. Received: .*00000"):
        simulation.write(tmp_path / "new")


def test_shares_of_feedback_and_session_lengths_are_what_was_asked_for(either):
    feedback = either.events["feedback"]
    assert 0.40 <= (feedback < 0).mean() <= 0.5
    assert 0.02 <= (feedback[feedback > 0] == 2).mean() <= 0.2
    assert 0.02 <= (feedback[feedback < 0] == -2).mean() <= 0.2
    sessions = either.events.groupby("session")["feedback"]
    kept = sessions.agg(lambda feedback: (feedback > 0).sum())
    assert kept.min() == 7 and kept.max() == 13
    assert (kept.to_numpy() == either.truth.sessions["num_kept"]).all()
    low, median, high = np.percentile(sessions.size(), [10, 50, 90])
    assert low >= 9 and 14 < median < 20 and high < 32
    assert (sessions.last() > 0).all()


def test_tracks_tell_kept_from_skipped_about_as_well_as_on_a_real_log():
    simulation = simulate_sessions(num_sessions=4000)
    events = simulation.events.assign(kept=simulation.events["feedback"] > 0)
    # As many plays of a session as it keeps tracks: which these are does not depend on the skips.
    goal = simulation.truth.sessions["num_kept"].to_numpy()[events["session"]]
    is_new = events["position"].between(goal - 4, goal - 1)
    shares = events[~is_new].groupby("item")["kept"].mean()
    new = events[is_new].assign(share=shares.reindex(events.loc[is_new, "item"]).to_numpy())
    pairs = new.merge(new, on="session", suffixes=("", "_other")).query("kept and not kept_other")
    within = (pairs["share"] > pairs["share_other"]).mean()
    kept, skipped = (new.loc[new["kept"] == which, "share"].dropna() for which in (True, False))
    overall = np.searchsorted(np.sort(skipped), kept).mean() / len(skipped)
    assert 0.59 < overall < 0.67 and 0.60 < within < 0.67


def test_popularity_follows_a_power_law(service):
    counts = service.events["item"].value_counts()
    # Log counts fall with log ranks as the weights do, over two powers of ten.
    ranks = np.arange(10, 1000)
    slope = np.polyfit(np.log(ranks), np.log(counts.to_numpy()[ranks]), 1)[0]
    assert -1.2 < slope < -0.6


def test_no_track_heard_before_a_round_is_played_again(either):
    events = either.events.assign(round=kept_before(either.events))
    rounds = events.groupby(["session", "item"])["round"].nunique()
    assert (rounds == 1).all()
    assert not events[events["feedback"] > 0].duplicated(["session", "item"]).any()
    assert 0 < events.duplicated(["session", "item"]).mean() < 0.1


def test_reactions_are_as_likely_as_the_truth_says(either):
    truth, events = either.truth, either.events
    rows = truth.sessions.iloc[events["session"]]
    items = pd.Index(truth.items["item"]).get_indexer(events["item"])
    rounds = kept_before(events).to_numpy()
    expected = truth.keep_probability(
        rows["mood"].to_numpy(), rows["tendency"].to_numpy(), rounds, items
    )
    kept = (events["feedback"] > 0).to_numpy()
    bins = np.digitize(expected, [0.2, 0.4, 0.6, 0.8, 0.9])
    strong = truth.strong_probability(expected, kept)
    is_strong = (events["feedback"].abs() == 2).to_numpy()
    for index, (happened, likely) in itertools.product(
        range(6), [(kept, expected), (is_strong, strong)]
    ):
        chosen = bins == index
        assert chosen.sum() > 300
        deviation = (happened[chosen] - likely[chosen]).sum()
        spread = np.sqrt((likely[chosen] * (1 - likely[chosen])).sum())
        assert abs(deviation) < 4.5 * spread


def test_the_sessions_of_a_user_are_alike(service):
    sessions = service.truth.sessions
    pairs = sessions.iloc[:-1].reset_index(), sessions.iloc[1:].reset_index()
    same_user = pairs[0]["user"] == pairs[1]["user"]
    same_mood = pairs[0]["mood"] == pairs[1]["mood"]
    assert 0.2 < same_mood[same_user].mean() < 0.35  # 1/4 at home in both, and by chance
    assert same_mood[~same_user].mean() < 0.1
    assert (pairs[0]["tendency"] == pairs[1]["tendency"])[same_user].all()
    assert (sessions.groupby("mood").size() > 100).all()


def test_position_bias_and_patience_change_the_skips():
    def skips(**options):
        events = simulate_sessions(3000, 500, avoidance=0, **options).events
        rounds, skipped = kept_before(events), events["feedback"] < 0
        return skipped.mean(), skipped[rounds == 0].mean() - skipped[rounds == 6].mean()

    begins = [skips(position_bias=bias)[1] for bias in (0.0, 1.5, 3.0)]
    assert begins[0] + 0.05 < begins[1] < begins[2] - 0.05
    rates = [skips(patience=patience)[0] for patience in (-3, 0, 3)]
    assert rates[0] > rates[1] > rates[2]


def test_each_user_has_a_session_and_one_that_heard_everything_ends():
    events = simulate_sessions(50, 4, num_users=20, num_genres=2, mean_kept=12).events
    check_events(events)
    kept = events[events["feedback"] > 0].groupby("session").size()
    assert kept.max() == 4
    one = simulate_sessions(1, 1, num_users=1, mean_kept=1, num_genres=1)
    assert (one.events["feedback"] > 0).sum() == 1
    with pytest.raises(ValueError, match=r"at most `num_sessions`.* num_users=3, num_sessions=2"):
        simulate_sessions(2, 5, num_users=3)


def test_what_is_known_of_items(service):
    table = service.item_table()
    sound = [f"sound_{number}" for number in range(1, 9)]
    assert list(table) == ["item", "genre", *sound]
    noise = table[sound] - service.truth.genres[service.truth.genre_of]
    assert noise.abs().mean().between(0.07, 0.09).all()
    assert table["genre"].nunique() == 64 and table["genre"].str.fullmatch(r"genre_\d\d").all()
    assert table["item"].iloc[7] == "track_0007"
    assert simulate_sessions(2, 12000, mean_kept=1).truth.items["item"].iloc[7] == "track_00007"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sessions", 0),
        ("num_items", True),
        ("num_users", 0),
        ("seed", -1),
        ("sequence_strength", float("nan")),
        ("mood_strength", "strong"),
        ("avoidance", -1),
        ("patience", None),
    ],
)
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: ") as error:
        simulate_sessions(**{name: value})
    assert str(error.value).endswith(f"Received: {value!r}")
