import numpy as np
import pytest

from keras_negrec.data import Examples, Sessions, Vocabulary, leave_one_out, simulate_log

NUM_ITEMS = 400


@pytest.fixture(scope="module")
def log():
    return simulate_log(num_users=400, num_items=NUM_ITEMS, num_genres=8, seed=1)


@pytest.fixture(scope="module")
def vocabulary(log):
    # In the order of the simulation, so that internal id j is item index j - 1.
    return Vocabulary(log.truth.items)


@pytest.fixture(scope="module")
def users(log, vocabulary):
    return Sessions.from_events(log.events(), vocabulary)


@pytest.fixture(scope="module")
def sessions(log, vocabulary):
    return Sessions.from_events(log.events().drop(columns="user"), vocabulary)


def simulated_next_kept(truth, session, items, feedback, num_runs, random):
    """Plays the round after a history, one presentation at a time, from the documented rules."""
    state = truth.states(np.array([session]))
    mood, patience = state.moods[0], state.patience[0]
    last, avoided, heard, current = None, np.zeros(len(mood)), set(), []
    num_kept = 0
    for item, reaction in zip(items, feedback, strict=True):
        current.append((item, reaction))
        if reaction > 0:
            skips = [truth.genres[truth.genre_of[i]] for i, r in current if r < 0]
            avoided = truth.memory * avoided + (np.mean(skips, axis=0) if skips else 0)
            heard |= {i for i, _ in current}
            last, current = item, []
            num_kept += 1
    wanted = truth.insight * mood - truth.avoidance * avoided
    if last is not None:
        wanted = wanted + truth.successors[truth.genre_of[last]]
    vectors = truth.genres[truth.genre_of]
    presented = truth.weights * np.exp(vectors @ wanted)
    presented[list(heard)] = 0
    presented /= presented.sum()
    patience = patience - truth.position_bias * truth.settling**num_kept
    keep = 0.1 + 0.87 / (1 + np.exp(-(vectors @ mood + patience)))
    kept = np.full(num_runs, -1)
    while (kept < 0).any():
        waiting = np.flatnonzero(kept < 0)
        drawn = random.choice(len(presented), size=len(waiting), p=presented)
        accepted = random.random(len(waiting)) < keep[drawn]
        kept[waiting[accepted]] = drawn[accepted]
    return np.bincount(kept, minlength=len(presented))


def assert_frequencies_agree(counts, probabilities):
    """Chi-square against the probabilities; rare items count together."""
    expected = counts.sum() * probabilities.astype("float64")
    assert counts[probabilities == 0].sum() == 0
    often = expected >= 10
    assert often.sum() > 20
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(expected[often], expected[~often].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("session", [0, 7, 42, 1000])
def test_agrees_with_monte_carlo(log, vocabulary, sessions, session):
    cut = int(sessions.lengths[session]) * 2 // 3
    history = sessions.between(0, [cut], [session])
    counts = simulated_next_kept(
        log.truth,
        session,
        history.item_ids - 1,
        history.feedback,
        30_000,
        np.random.default_rng(session),
    )
    assert_frequencies_agree(counts, log.oracle(vocabulary).score(history)[0])


def assert_hits_are_as_frequent_as_foretold(scores, targets):
    """The share of targets among the 10 best is what the oracle's probabilities add up to."""
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-4)
    best = np.argsort(-scores, axis=1)[:, :10]
    foretold = np.take_along_axis(scores, best, axis=1).sum(axis=1)
    hit = (best == targets[:, np.newaxis] - 1).any(axis=1)
    spread = np.sqrt((foretold * (1 - foretold)).sum())
    assert abs((hit - foretold).sum()) < 4 * spread
    assert 0.05 < foretold.mean() < 0.7
    # Nor are they more surprising: -log p of the targets adds up to the entropies.
    surprise = -np.log(np.where(scores > 0, scores, 1)).astype("float64")
    entropy = (scores * surprise).sum(axis=1)
    spread = np.sqrt(((scores * surprise**2).sum(axis=1) - entropy**2).sum())
    observed = surprise[np.arange(len(scores)), targets - 1]
    assert abs((observed - entropy).sum()) < 4 * spread


@pytest.mark.parametrize("kind", ["sessions", "users"])
def test_held_out_events_are_drawn_from_the_probabilities(log, vocabulary, kind, request):
    rows = request.getfixturevalue(kind)
    test = leave_one_out(rows).test
    scores = log.oracle(vocabulary).score(test.histories)
    assert_hits_are_as_frequent_as_foretold(scores, test.targets)


@pytest.mark.parametrize("kind", ["sessions", "users"])
def test_events_after_any_cut_are_drawn_from_the_probabilities(log, vocabulary, kind, request):
    rows = request.getfixturevalue(kind)
    random = np.random.default_rng(0)
    rows = rows.take(np.tile(np.arange(len(rows)), 5 if kind == "users" else 1))
    cuts = (random.random(len(rows)) * rows.lengths).astype(int)
    examples = Examples.after(rows, cuts)
    scores = log.oracle(vocabulary).score(examples.histories)
    assert_hits_are_as_frequent_as_foretold(scores, examples.targets)


def test_the_service_remembers_skips_as_the_oracle_does():
    log = simulate_log(
        num_users=500, num_items=NUM_ITEMS, num_genres=8, avoidance=15.0, patience=-1.0, seed=3
    )
    vocabulary = Vocabulary(log.truth.items)
    sessions = Sessions.from_events(log.events().drop(columns="user"), vocabulary)
    test = leave_one_out(sessions).test
    scores = log.oracle(vocabulary).score(test.histories)
    assert_hits_are_as_frequent_as_foretold(scores, test.targets)


def test_a_user_row_counts_the_current_session_alone(log, vocabulary, users, sessions):
    oracle = log.oracle(vocabulary)
    user = int(np.argmax(np.diff(log.truth.first_sessions) > 3))
    row = users.take([user])
    first = int(log.truth.first_sessions[user])
    boundary = int(np.argmax(row.session_ids == 2))
    # In the middle of the third session; at the end of the second, where the third is next.
    for events, length in ((boundary + 3, 3), (boundary, 0)):
        expected = oracle.score(sessions.between(0, [length], [first + 2]))
        np.testing.assert_allclose(oracle.score(row.between(0, [events])), expected, rtol=1e-5)
    before_its_end = oracle.score(row.between(0, [boundary - 1]))
    assert not np.allclose(before_its_end, expected)


def test_a_user_who_keeps_nothing_more_has_no_scores(log, vocabulary, users):
    scores = log.oracle(vocabulary).score(users.take([0, 1]))
    assert (scores == 0).all()


def test_an_empty_history_is_the_first_session(log, vocabulary, users, sessions):
    oracle = log.oracle(vocabulary)
    first = log.truth.first_sessions[5]
    expected = oracle.score(sessions.between(0, [0], [first]))
    np.testing.assert_allclose(oracle.score(users.between(0, [0], [5])), expected)


def test_keys_and_sessions_that_there_are_not(log, vocabulary):
    oracle = log.oracle(vocabulary)

    def row(key, session_ids=None):
        return Sessions.from_lists([[1]], session_ids=session_ids, keys=[key])

    last = log.num_sessions
    with pytest.raises(
        ValueError, match=rf"must be session ids, 0 to {last - 1}. Received: {last}"
    ):
        oracle.score(row(last))
    with pytest.raises(ValueError, match=r"must be user ids, 0 to 399. Received: 400"):
        oracle.score(row(400, [[0]]))
    number = int(np.diff(log.truth.first_sessions)[0])
    with pytest.raises(ValueError, match=rf"User 0 has {number} sessions. Received: .* {number}"):
        oracle.score(row(0, [[number]]))
    with pytest.raises(ValueError, match="Only the simulation's items are known"):
        log.oracle(Vocabulary(["other"]))
