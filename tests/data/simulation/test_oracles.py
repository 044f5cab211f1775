import itertools

import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Examples, Sessions, Vocabulary, leave_one_out, simulate_sessions

NUM_ITEMS = 300
ORACLES = ["oracle", "history_oracle"]


def encoded(simulation):
    # In the order of the simulation, so that internal id j is item index j - 1.
    vocabulary = Vocabulary(simulation.truth.items["item"])
    return simulation, vocabulary, Sessions.from_events(simulation.events, vocabulary)


@pytest.fixture(scope="module")
def sessions():
    return encoded(simulate_sessions(2000, NUM_ITEMS, seed=1))


@pytest.fixture(scope="module")
def users():
    return encoded(simulate_sessions(3000, NUM_ITEMS, num_users=600, seed=2))


@pytest.fixture(scope="module")
def impatient():
    return encoded(simulate_sessions(1500, NUM_ITEMS, avoidance=15.0, patience=-0.5, seed=3))


@pytest.fixture(scope="module")
def tiny():
    options = {"num_users": 12, "num_genres": 5, "mean_kept": 4, "position_bias": 1.5, "seed": 4}
    return encoded(simulate_sessions(40, 30, **options))


@pytest.fixture(scope="module")
def held_out(sessions):
    return leave_one_out(sessions[2]).test


# The rules, written again from their documentation, for one session and with loops.


def play_and_state(truth, items, feedback):
    """How likely each item is played next, and how many tracks were kept."""
    genre, last, heard, current, num_kept = truth.genre_of, -1, set(), [], 0
    avoided = np.zeros(len(truth.likeness))
    for item, reaction in zip(items, feedback, strict=True):
        current.append((item, reaction))
        if reaction > 0:
            skips = [truth.likeness[genre[i]] for i, r in current if r < 0]
            avoided = 0.8 * avoided + (np.mean(skips, axis=0) if skips else 0)
            heard |= {i for i, _ in current}
            last, current, num_kept = genre[item], [], num_kept + 1
    play = np.zeros(len(truth.items))
    for i in set(range(len(play))) - heard:
        flow = truth.flow[last, genre[i]] if last >= 0 else 0
        play[i] = truth.items["weight"][i] * np.exp(flow - truth.avoidance * avoided[genre[i]])
    return play / max(play.sum(), 1e-30), num_kept


def keep_chance(truth, mood, tendency, num_kept, item):
    logit = truth.match[mood, truth.genre_of[item]] + truth.items["appeal"][item]
    logit += truth.tendencies[tendency] - truth.position_bias * 0.7**num_kept
    return 0.1 + 0.87 / (1 + np.exp(-logit))


def next_kept(truth, mood, tendency, items, feedback):
    play, num_kept = play_and_state(truth, items, feedback)
    kept = [p * keep_chance(truth, mood, tendency, num_kept, i) for i, p in enumerate(play)]
    return np.array(kept) / np.sum(kept)


def likelihood(truth, mood, tendency, items, feedback):
    """Of the reactions to the tracks of a session."""
    total, num_kept = 1.0, 0
    for item, reaction in zip(items, feedback, strict=True):
        keep = keep_chance(truth, mood, tendency, num_kept, item)
        s = (keep - 0.1) / 0.87
        strong = 0.15 * (s if reaction > 0 else 1 - s)
        total *= keep if reaction > 0 else 1 - keep
        total *= strong if abs(reaction) == 2 else 1 - strong
        num_kept += reaction > 0
    return total


NOW = [([3, 17, 4, 29, 8, 11, 8], [1, -1, -2, 2, -1, 1, -1])]
PAST = [([3, 9, 17, 4, 29], [1, -1, 1, -2, 1]), ([8, 11, 2, 20], [-1, 2, 1, 1])]


@pytest.mark.parametrize("past", [[], PAST])
@pytest.mark.parametrize("now", [([3], [1]), ([3], [-2]), ([17, 5, 21], [-1, 1, -1]), *NOW])
def test_the_history_oracle_is_bayes(tiny, past, now):
    simulation, vocabulary, _ = tiny
    truth = simulation.truth
    num_moods = len(truth.match)
    moves = np.full((num_moods, num_moods), 0.5 / num_moods) + 0.5 * np.eye(num_moods)
    belief = np.zeros((num_moods, 3))
    for tendency in range(3):
        of_past, of_now = (
            [[likelihood(truth, mood, tendency, *one) for mood in range(num_moods)] for one in some]
            for some in (past, [now])
        )
        for home in range(num_moods):
            homes = np.prod([moves[home] @ one for one in of_past])
            belief[:, tendency] += homes * moves[home] * of_now[0]
    belief /= belief.sum()
    events = [*past, now]
    history = Sessions.from_lists(
        [[item + 1 for items, _ in events for item in items]],
        [[reaction for _, feedback in events for reaction in feedback]],
        [[number for number, (items, _) in enumerate(events) for _ in items]] if past else None,
    )
    expected = sum(
        belief[mood, tendency] * next_kept(truth, mood, tendency, *now)
        for mood, tendency in itertools.product(range(num_moods), range(3))
    )
    scores = simulation.history_oracle(vocabulary).score(history)[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-7)


def test_the_oracle_knows_mood_and_tendency(tiny):
    simulation, vocabulary, _ = tiny
    state = simulation.truth.sessions.iloc[7]
    for items, feedback in [*NOW, *PAST]:
        history = Sessions.from_lists([[item + 1 for item in items]], [feedback], keys=[7])
        expected = next_kept(simulation.truth, state["mood"], state["tendency"], items, feedback)
        scores = simulation.oracle(vocabulary).score(history)[0]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-7)
        # played * kept ** 2 = (played * kept) ** 2 / played, each but for a factor
        played, _ = play_and_state(simulation.truth, items, feedback)
        squared = expected**2 / np.where(played > 0, played, 1)
        cautious = simulation.oracle(vocabulary, keep_weight=2).score(history)[0]
        expected, found = (each / each.sum() for each in (squared, cautious))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def assert_targets_are_as_frequent_as_foretold(scores, targets):
    """The share of targets among the 10 best is what the probabilities add up to."""
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-4)
    best = np.argsort(-scores, axis=1)[:, :10]
    foretold = np.take_along_axis(scores, best, axis=1).sum(axis=1)
    hit = (best == targets[:, np.newaxis] - 1).any(axis=1)
    spread = np.sqrt((foretold * (1 - foretold)).sum())
    assert abs((hit - foretold).sum()) < 4 * spread
    assert 0.05 < foretold.mean() < 0.8
    # Nor are they more surprising: -log p of the targets adds up to the entropies.
    surprise = -np.log(np.where(scores > 0, scores, 1)).astype("float64")
    entropy = (scores * surprise).sum(axis=1)
    spread = np.sqrt(((scores * surprise**2).sum(axis=1) - entropy**2).sum())
    observed = surprise[np.arange(len(scores)), targets - 1]
    assert abs((observed - entropy).sum()) < 4 * spread


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("kind", ["sessions", "users", "impatient"])
def test_events_are_drawn_from_the_probabilities(kind, oracle, request):
    simulation, vocabulary, rows = request.getfixturevalue(kind)
    # Any event of any row is as likely, so that a cut tells nothing of what follows.
    chosen = np.random.default_rng(0).random(rows.num_events) < 0.04
    after_any = Examples.after(rows.take(rows.rows()[chosen]), rows.positions()[chosen])
    for examples in [after_any, *([leave_one_out(rows).test] if kind != "users" else [])]:
        scores = getattr(simulation, oracle)(vocabulary).score(examples.histories)
        assert scores.shape == (len(examples), NUM_ITEMS) and scores.dtype == np.float32
        assert_targets_are_as_frequent_as_foretold(scores, examples.targets)


def without_skips(histories):
    kept, ends = histories.feedback > 0, histories.row_splits
    columns = {name: values[kept] for name, values in histories.columns.items()}
    return Sessions(columns, np.append(0, np.cumsum(kept))[ends], histories.keys)


def test_the_oracles_are_the_best_and_need_the_skips(sessions, held_out):
    simulation, vocabulary, rows = sessions
    train = leave_one_out(rows).train
    blind = Examples(without_skips(held_out.histories), held_out.targets, held_out.skip_targets)
    oracle, history_oracle = (getattr(simulation, name)(vocabulary) for name in ORACLES)
    found = {
        "popularity": (keras_negrec.models.Popularity(train, NUM_ITEMS), held_out),
        "counts": (keras_negrec.models.ItemCooccurrence(train, vocabulary=vocabulary), held_out),
        "blind history oracle": (history_oracle, blind),
        "history oracle": (history_oracle, held_out),
        "oracle": (oracle, held_out),
    }
    found = {name: keras_negrec.evaluate(*pair) for name, pair in found.items()}
    for metric in ("hr@10", "ndcg@10", "mrr"):
        *others, second, best = (metrics[metric] for metrics in found.values())
        assert max(others) < second < best
    hits = {name: metrics["hr@10"] for name, metrics in found.items()}
    assert found["counts"]["ndcg@10"] > 1.1 * found["popularity"]["ndcg@10"]
    assert hits["oracle"] > 2 * hits["popularity"]
    assert hits["history oracle"] > 1.3 * hits["blind history oracle"]
    auc = {name: metrics["feedback_auc"] for name, metrics in found.items()}
    assert auc["oracle"] > 0.57
    assert max(auc["popularity"], 0.52) < auc["history oracle"] < auc["oracle"]


def test_a_user_row_counts_the_current_session_alone(users):
    simulation, vocabulary, rows = users
    sessions = Sessions.from_events(simulation.events.drop(columns="user"), vocabulary)
    oracle = simulation.oracle(vocabulary)
    user = int(np.argmax(np.diff(simulation.truth.first_sessions) > 3))
    row = rows.take([user])
    first = int(simulation.truth.first_sessions[user])
    boundary = int(np.argmax(row.session_ids == 2))
    # In the middle of the third session; at the end of the second, where the third is next.
    for events, length in ((boundary + 3, 3), (boundary, 0)):
        expected = oracle.score(sessions.between(0, [length], [first + 2]))
        np.testing.assert_allclose(oracle.score(row.between(0, [events])), expected, rtol=1e-4)
    assert not np.allclose(oracle.score(row.between(0, [boundary - 1])), expected)
    first_of_user = oracle.score(sessions.between(0, [0], [first]))
    np.testing.assert_allclose(oracle.score(row.between(0, [0])), first_of_user, rtol=1e-4)
    assert (oracle.score(row) == 0).all()  # nothing more is kept


@pytest.mark.parametrize("name", ORACLES)
def test_any_vocabulary_of_the_simulation_and_any_rows(sessions, held_out, name):
    simulation, vocabulary, rows = sessions
    oracle = getattr(simulation, name)(vocabulary)
    assert oracle.num_items == NUM_ITEMS
    histories = held_out.histories
    scores = oracle.score(histories)
    assert (scores[histories.rows(), histories.item_ids - 1] == 0).all()  # heard before
    assert (scores[np.arange(len(scores)), held_out.targets - 1] > 0).all()
    order = np.random.default_rng(0).permutation(NUM_ITEMS)
    shuffled = Vocabulary(vocabulary.items[order])
    again = leave_one_out(Sessions.from_events(simulation.events, shuffled)).test
    np.testing.assert_allclose(
        getattr(simulation, name)(shuffled).score(again.histories), scores[:, order], rtol=1e-4
    )
    part = getattr(simulation, name)(Vocabulary(vocabulary.items[:200]))
    history = Sessions.from_lists([[5, 9]], [[-1, 1]], keys=[3])
    np.testing.assert_array_equal(part.score(history), oracle.score(history)[:, :200])
    some = np.array([17, 3, 3])
    np.testing.assert_allclose(oracle.score(histories.take(some)), scores[some], rtol=1e-4)
    assert oracle.score(rows.take([])).shape == (0, NUM_ITEMS)
    everything = simulate_sessions(num_sessions=2, num_items=2, mean_kept=1)
    oracle = getattr(everything, name)(Vocabulary(everything.truth.items["item"]))
    assert oracle.score(Sessions.from_lists([[1, 2]], keys=[1])).tolist() == [[0, 0]]


def test_what_is_not_of_the_simulation_is_named(sessions, users):
    simulation, vocabulary, _ = sessions
    with pytest.raises(ValueError, match=r"Received a vocabulary with 'track_9999'$"):
        simulation.history_oracle(Vocabulary(["track_9999"]))
    for key, received in ((2000, "2000"), (-1, "-1"), ("a", "'a'")):
        with pytest.raises(ValueError, match=rf"session ids .*0 to 1999. Received: {received}$"):
            simulation.oracle(vocabulary).score(Sessions.from_lists([[1]], keys=[key]))
    with pytest.raises(ValueError, match=r"must lie in 1..300. Received: 301$"):
        simulation.history_oracle(vocabulary).score(Sessions.from_lists([[301]]))
    oracle = users[0].oracle(vocabulary)
    with pytest.raises(ValueError, match=r"user ids .*0 to 599. Received: 600$"):
        oracle.score(Sessions.from_lists([[1]], session_ids=[[0]], keys=[600]))
    number = int(np.diff(users[0].truth.first_sessions)[0])
    with pytest.raises(ValueError, match=rf"User 0 has {number} sessions. Received: .* {number}$"):
        oracle.score(Sessions.from_lists([[1]], session_ids=[[number]], keys=[0]))
