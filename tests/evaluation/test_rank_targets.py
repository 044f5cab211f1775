import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from table_scorer import TableScorer as Table

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import rank_targets


class Vectors:
    """Histories, told by their keys, and items, as vectors."""

    def __init__(self, of_histories, of_items):
        self.of_histories = np.asarray(of_histories, "float32")
        self.of_items = np.asarray(of_items, "float32")
        self.num_items = len(self.of_items)

    def history_vectors(self, histories):
        return self.of_histories[histories.keys]

    def item_vectors(self, rows):
        return ops.convert_to_tensor(self.of_items[rows])


def examples_of(histories, targets, skip_targets, **options):
    skip_targets = np.array(skip_targets, "int32")
    return Examples(Sessions.from_lists(histories), np.array(targets), skip_targets, **options)


def reference_rank(scores, item, taken_out):
    if item == 0:
        return np.nan
    if item in taken_out:
        return np.inf
    rank = 1.0
    for other, score in enumerate(scores, start=1):
        if other == item or other in taken_out:
            continue
        if score > scores[item - 1]:
            rank += 1
        elif score == scores[item - 1]:
            rank += 0.5
    return rank


@st.composite
def rankings(draw):
    """Scores with ties, and examples that may lack one of the targets, or have items excluded."""
    num_items, num_rows = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    item = st.integers(1, num_items)

    def each(values):
        return draw(st.lists(values, min_size=num_rows, max_size=num_rows))

    value = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    scores = each(st.lists(value, min_size=num_items, max_size=num_items))
    histories = each(st.lists(item, min_size=1, max_size=4))
    targets = each(st.tuples(item, st.just(0) | item) | st.tuples(st.just(0), item))
    excluded = draw(st.none() | st.just(each(st.lists(item, max_size=3))))
    options = {"excluded_items": excluded, "exclude_seen": draw(st.booleans())}
    return scores, examples_of(histories, *zip(*targets, strict=True), **options)


def taken_out_of(examples, row):
    taken_out = set()
    if examples.exclude_seen:
        taken_out |= {*examples.histories.take([row]).item_ids.tolist()}
    if examples.excluded_items is not None:
        taken_out |= {*examples.excluded_items.take([row]).item_ids.tolist()}
    return taken_out


@given(rankings(), st.integers(1, 7), st.integers(1, 9))
def test_against_reference(ranking, batch_size, top_k):
    scores, examples = ranking
    ranks = rank_targets(Table(scores), examples, batch_size=batch_size, top_k=top_k)
    assert ranks["top_items"].shape == (len(scores), min(top_k, len(scores[0])))
    for row, score in enumerate(scores):
        target, skip = examples.targets[row], examples.skip_targets[row]
        taken_out = taken_out_of(examples, row)
        for name, item in (("target", target), ("skip_target", skip)):
            np.testing.assert_equal(ranks[name][row], reference_rank(score, item, taken_out))
        competing = set(range(1, len(score) + 1)) - taken_out
        items = [item for item in competing if score[item - 1] > -np.inf]
        best = sorted(items, key=lambda item: (-score[item - 1], item))[:top_k]
        top_items = ranks["top_items"][row].tolist()
        assert top_items == best + [0] * (len(top_items) - len(best))
        expected = np.nan
        if target and skip:
            above, below = score[target - 1] > score[skip - 1], score[target - 1] < score[skip - 1]
            expected = 1.0 if above else 0.0 if below else 0.5
        np.testing.assert_equal(ranks["preference"][row], expected)


def test_by_hand():
    """What was seen does not compete and is out of reach; the preference compares scores alone."""
    model = Table([[5.0, 4.0, 3.0, 3.0]] * 2)
    examples = examples_of([[1, 2, 1], [1]], [4, 1], [3, 2])
    ranks = rank_targets(model, examples)
    assert {name: values.tolist() for name, values in ranks.items()} == {
        "target": [1.5, np.inf],
        "skip_target": [1.5, 1],
        "preference": [0.5, 1],
    }
    assert rank_targets(model, examples, exclude_seen=False)["target"].tolist() == [3.5, 1]


def test_scores_that_are_none():
    model, examples = Table([[1.0, 2.0], [np.nan, 1.0]]), examples_of([[1], [1]], [2, 2], [0, 0])
    with pytest.raises(ValueError, match=r"must not be NaN. Received NaN for the history .*1"):
        rank_targets(model, examples)
    model.num_items = 3
    with pytest.raises(ValueError, match=r"must return shape \(2, 3\). Received: \(2, 2\)"):
        rank_targets(model, examples)


@pytest.mark.parametrize("name", ["batch_size", "top_k"])
def test_arguments_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}=0"):
        rank_targets(Table([[1.0]]), examples_of([[1]], [1], [0]), **{name: 0})


def random_examples(num_items, num_rows=300):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, num_rows)
    histories = [rng.integers(1, num_items + 1, length).tolist() for length in lengths]
    return examples_of(
        histories,
        rng.integers(1, num_items + 1, num_rows),
        rng.integers(0, num_items + 1, num_rows) * rng.integers(0, 2, num_rows),
    )


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("num_items", [1, 6145, 13_000])
def test_products_of_vectors_in_blocks(num_items, exclude_seen):
    rng = np.random.default_rng(1)
    # Small whole numbers, so that many scores are equal.
    model = Vectors(rng.integers(-9, 10, (300, 3)), rng.integers(-9, 10, (num_items, 3)))
    options = {"exclude_seen": exclude_seen, "top_k": 5}
    examples = random_examples(num_items)
    expected = rank_targets(Table(model.of_histories @ model.of_items.T), examples, **options)
    np.testing.assert_equal(rank_targets(model, examples, **options), expected)


@pytest.mark.parametrize("num_items", [1682, 9000])
def test_equal_vectors_have_equal_scores_in_all_blocks(num_items):
    rng = np.random.default_rng(1)
    model = Vectors(rng.normal(size=(300, 64)), np.tile(rng.normal(size=(1, 64)), (num_items, 1)))
    examples = random_examples(num_items)
    ranks = rank_targets(model, examples, exclude_seen=False)["target"]
    np.testing.assert_array_equal(ranks, np.full(300, (num_items + 1) / 2))


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_models_are_ranked_as_by_their_scores(name):
    small = {"embedding_dim": 8, "max_length": 5, "negative_loss": "keep"}
    model = keras_negrec.build_model(name, num_items=75, **small)
    bias = model.get_layer("keep_logit").item_bias
    bias.assign(np.random.default_rng(2).normal(size=75))
    examples = random_examples(75, num_rows=11)
    expected = rank_targets(Table(model.score(examples.histories)), examples, top_k=5)
    np.testing.assert_equal(rank_targets(model, examples, top_k=5), expected)


@pytest.mark.parametrize("place", ["of the histories", "of the items"])
def test_vectors_that_are_not_finite(place):
    model = Vectors(np.ones((1, 2)), np.ones((3, 2)))
    (model.of_histories if place == "of the histories" else model.of_items)[0, 0] = np.nan
    with pytest.raises(ValueError, match=f"vectors {place} must be finite"):
        rank_targets(model, examples_of([[1]], [2], [0]))
