import numpy as np
import pytest

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.simulation.oracle import Oracle
from keras_negrec.data.simulation.simulate_sessions import simulate_sessions
from keras_negrec.data.splits.leave_one_out import leave_one_out
from keras_negrec.data.vocabulary import Vocabulary
from keras_negrec.evaluation.rank_targets import rank_targets


@pytest.fixture(scope="module")
def simulation():
    return simulate_sessions(num_sessions=1500, num_items=300, seed=1)


@pytest.fixture(scope="module")
def vocabulary(simulation):
    # In the order of the simulation, so that internal id j is item index j - 1.
    return Vocabulary(simulation.truth.items)


@pytest.fixture(scope="module")
def sessions(simulation, vocabulary):
    return Sessions.from_events(simulation.events, vocabulary)


@pytest.fixture(scope="module")
def held_out(sessions):
    return leave_one_out(sessions).test


def hit_rate(scores, examples):
    """HR@10 under full ranking, without the items of the history."""
    scores = scores.copy()
    scores[examples.histories.rows(), examples.histories.item_ids - 1] = -np.inf
    target = scores[np.arange(len(scores)), examples.targets - 1]
    return ((scores > target[:, None]).sum(axis=1) < 10).mean()


def simulated_next_kept(truth, history, num_runs, rng):
    """Plays the round after `history`, one presentation at a time, from the documented rules.

    Written without the simulator's code: one session, plain sums, a coin for each reaction.
    """
    mood, patience = truth.moods[history.keys[0]], truth.patience[history.keys[0]]
    last, avoided, heard, current = None, np.zeros(len(mood)), set(), []
    for item_id, feedback in zip(history.item_ids, history.feedback, strict=True):
        item = int(item_id) - 1
        current.append((item, feedback))
        if feedback > 0:
            skips = [truth.vectors[i] for i, reaction in current if reaction < 0]
            avoided = truth.memory * avoided + (np.mean(skips, axis=0) if skips else 0)
            heard |= {i for i, _ in current}
            last, current = item, []
    wanted = truth.insight * mood - truth.avoidance * avoided
    if last is not None:
        wanted = wanted + truth.successors[last]
    presented = np.exp(truth.log_popularity + truth.vectors @ wanted)
    presented[list(heard)] = 0
    presented /= presented.sum()
    keep = 0.1 + 0.87 / (1 + np.exp(-(truth.vectors @ mood + patience)))

    kept = np.full(num_runs, -1)
    while (kept < 0).any():
        waiting = np.flatnonzero(kept < 0)
        items = rng.choice(len(presented), size=len(waiting), p=presented)
        accepted = rng.random(len(waiting)) < keep[items]
        kept[waiting[accepted]] = items[accepted]
    return np.bincount(kept, minlength=len(presented))


def assert_frequencies_agree(counts, probabilities):
    """Chi-square against the probabilities; rare items count together."""
    expected = counts.sum() * probabilities.astype("float64")
    assert counts[probabilities == 0].sum() == 0
    often = expected >= 10
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(expected[often], expected[~often].sum())
    filled = expected > 0
    observed, expected = observed[filled], expected[filled]
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert freedom >= 5
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_probabilities_sum_to_one(simulation, vocabulary, held_out):
    scores = simulation.oracle(vocabulary).score(held_out.histories)
    assert scores.shape == (len(held_out), 300) and scores.dtype == np.float32
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-4)


def test_items_heard_before_have_probability_zero(simulation, vocabulary, held_out):
    histories = held_out.histories
    scores = simulation.oracle(vocabulary).score(histories)
    assert (scores[histories.rows(), histories.item_ids - 1] == 0).all()
    assert (scores[np.arange(len(scores)), held_out.targets - 1] > 0).all()


@pytest.mark.parametrize("session", [0, 7, 42])
def test_agrees_with_monte_carlo_after_a_kept_track(simulation, vocabulary, held_out, session):
    row = int(np.flatnonzero(held_out.histories.keys == session)[0])
    history = held_out.histories.take([row])
    assert (history.feedback < 0).any()
    counts = simulated_next_kept(simulation.truth, history, 30_000, np.random.default_rng(session))
    assert_frequencies_agree(counts, simulation.oracle(vocabulary).score(history)[0])


def test_agrees_with_monte_carlo_in_the_middle_of_a_round(simulation, vocabulary, sessions):
    late = (sessions.feedback < 0) & (sessions.positions() > 5)
    event = np.flatnonzero(late)[0]
    row, position = sessions.rows()[event], sessions.positions()[event]
    history = sessions.between(0, [position + 1], [row])
    assert history.feedback[-1] < 0
    scores = simulation.oracle(vocabulary).score(history)[0]
    assert scores[history.item_ids[-1] - 1] > 0
    counts = simulated_next_kept(simulation.truth, history, 30_000, np.random.default_rng(0))
    assert_frequencies_agree(counts, scores)


def test_agrees_with_monte_carlo_before_any_kept_track(simulation, vocabulary, sessions):
    starts_with_skip = sessions.feedback[sessions.row_splits[:-1]] < 0
    history = sessions.between(0, [1], [np.flatnonzero(starts_with_skip)[0]])
    counts = simulated_next_kept(simulation.truth, history, 30_000, np.random.default_rng(0))
    assert_frequencies_agree(counts, simulation.oracle(vocabulary).score(history)[0])


def test_the_simulator_draws_what_the_oracle_says(simulation, vocabulary, sessions):
    """Over all rounds: items given a probability of p are kept next in a share p of the cases."""
    kept = np.flatnonzero(sessions.feedback > 0)
    row = sessions.rows()[kept]
    pairs = np.flatnonzero(row[1:] == row[:-1])[::5]
    last, following, row = kept[pairs], kept[pairs + 1], row[pairs]
    histories = sessions.between(0, sessions.positions()[last] + 1, row)
    targets = sessions.item_ids[following]
    scores = simulation.oracle(vocabulary).score(histories).astype("float64")
    was_kept = np.zeros(scores.shape)
    was_kept[np.arange(len(targets)), targets - 1] = 1
    assert (was_kept[scores == 0] == 0).all()
    bins = np.digitize(scores, [1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.2])
    for index in range(7):
        inside = bins == index
        expected = np.where(inside, scores, 0).sum(axis=1)
        deviation = (was_kept * inside).sum() - expected.sum()
        assert abs(deviation) < 4.5 * np.sqrt((expected * (1 - expected)).sum()) + 1


def test_beats_popularity_by_far(simulation, vocabulary, sessions, held_out):
    train = leave_one_out(sessions).train
    popularity = np.bincount(train.item_ids[train.feedback > 0] - 1, minlength=300)
    by_popularity = hit_rate(np.tile(popularity.astype(float), (1500, 1)), held_out)
    by_oracle = hit_rate(simulation.oracle(vocabulary).score(held_out.histories), held_out)
    assert by_oracle > 2 * by_popularity
    assert by_oracle > 0.4


def test_can_be_evaluated_like_a_model(simulation, vocabulary, held_out):
    oracle = simulation.oracle(vocabulary)
    assert oracle.num_items == 300
    ranks = rank_targets(oracle, held_out)
    assert (ranks["target"] <= 10).mean() == pytest.approx(
        hit_rate(oracle.score(held_out.histories), held_out), abs=0.01
    )
    assert np.nanmean(ranks["preference"]) > 0.6


def test_no_score_that_is_blind_to_skips_reaches_it(simulation, vocabulary, held_out):
    # The same truth, told that nothing was skipped: it avoids nothing.
    histories = held_out.histories
    oracle = simulation.oracle(vocabulary)
    kept = histories.feedback > 0
    lengths = np.bincount(histories.rows()[kept], minlength=len(histories))
    blind = Sessions(
        {name: values[kept] for name, values in histories.columns.items()},
        row_splits=np.concatenate([[0], np.cumsum(lengths)]),
        keys=histories.keys,
    )
    without_skips = hit_rate(oracle.score(blind), held_out)
    assert hit_rate(oracle.score(histories), held_out) > 1.1 * without_skips


def test_respects_the_order_of_the_vocabulary(simulation, vocabulary, sessions):
    order = np.random.default_rng(0).permutation(300)
    shuffled = Vocabulary(vocabulary.items[order])
    again = leave_one_out(Sessions.from_events(simulation.events, shuffled)).test
    scores = simulation.oracle(vocabulary).score(leave_one_out(sessions).test.histories)
    np.testing.assert_allclose(
        simulation.oracle(shuffled).score(again.histories), scores[:, order], rtol=1e-4
    )


def test_a_part_of_the_vocabulary_gets_its_part_of_the_probability(simulation, vocabulary):
    part = Vocabulary(vocabulary.items[:200])
    history = Sessions.from_lists([[5, 9]], [[-1, 1]], keys=[3])
    scores = simulation.oracle(vocabulary).score(history)
    np.testing.assert_array_equal(simulation.oracle(part).score(history), scores[:, :200])


def test_rows_are_found_by_their_key(simulation, vocabulary, held_out):
    oracle = simulation.oracle(vocabulary)
    rows = np.array([17, 3, 3])
    scores = oracle.score(held_out.histories)
    np.testing.assert_allclose(oracle.score(held_out.histories.take(rows)), scores[rows], rtol=1e-4)


def test_a_session_that_heard_everything_scores_zero():
    simulation = simulate_sessions(num_sessions=2, num_items=2, mean_kept=1)
    history = Sessions.from_lists([[1, 2]], keys=[1])
    oracle = Oracle(simulation.truth, Vocabulary(simulation.truth.items))
    assert oracle.score(history).tolist() == [[0, 0]]


def test_no_histories_give_no_rows(simulation, vocabulary, sessions):
    assert simulation.oracle(vocabulary).score(sessions.take([])).shape == (0, 300)


@pytest.mark.parametrize("item", ["track_9999", 7])
def test_an_unknown_item_is_named(simulation, item):
    with pytest.raises(ValueError, match=f"Received a vocabulary with {item!r}$"):
        simulation.oracle(Vocabulary([item]))


@pytest.mark.parametrize(
    ("keys", "received"), [([1500], "1500"), ([-1], "-1"), (["a"], "keys of dtype")]
)
def test_an_unknown_session_is_named(simulation, vocabulary, keys, received):
    with pytest.raises(ValueError, match=f"`histories.keys` must be .*Received:? {received}"):
        simulation.oracle(vocabulary).score(Sessions.from_lists([[1]], keys=keys))


def test_ids_beyond_the_vocabulary_are_refused(simulation, vocabulary):
    with pytest.raises(ValueError, match=r"Received: item id 301$"):
        simulation.oracle(vocabulary).score(Sessions.from_lists([[301]]))
