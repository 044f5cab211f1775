import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import rank_targets


class Table:
    """A scorer that gives each history, told by its key, a fixed row of scores."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, "float32")
        self.num_items = self.scores.shape[1]

    def score(self, histories):
        return self.scores[histories.keys]


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


def examples_of(histories, targets, skip_targets):
    return Examples(
        Sessions.from_lists(histories), np.array(targets), np.array(skip_targets, "int32")
    )


def reference_rank(scores, item, seen, exclude_seen):
    if exclude_seen and item in seen:
        return np.inf
    rank = 1.0
    for other, score in enumerate(scores, start=1):
        if other == item or (exclude_seen and other in seen):
            continue
        if score > scores[item - 1]:
            rank += 1
        elif score == scores[item - 1]:
            rank += 0.5
    return rank


@st.composite
def rankings(draw):
    num_items, num_rows = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    item = st.integers(1, num_items)
    scores = draw(
        st.lists(
            st.lists(
                st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]),
                min_size=num_items,
                max_size=num_items,
            ),
            min_size=num_rows,
            max_size=num_rows,
        )
    )
    histories = draw(
        st.lists(st.lists(item, min_size=1, max_size=4), min_size=num_rows, max_size=num_rows)
    )
    targets = draw(st.lists(item, min_size=num_rows, max_size=num_rows))
    skips = draw(st.lists(st.just(0) | item, min_size=num_rows, max_size=num_rows))
    return scores, histories, targets, skips


@given(rankings(), st.booleans(), st.integers(1, 7))
def test_against_reference(ranking, exclude_seen, batch_size):
    scores, histories, targets, skips = ranking
    ranks = rank_targets(
        Table(scores),
        examples_of(histories, targets, skips),
        exclude_seen=exclude_seen,
        batch_size=batch_size,
    )
    for row, (score, seen) in enumerate(zip(scores, histories, strict=True)):
        target, skip = targets[row], skips[row]
        assert ranks["target"][row] == reference_rank(score, target, seen, exclude_seen)
        if skip == 0:
            assert np.isnan(ranks["skip_target"][row])
            assert np.isnan(ranks["preference"][row])
            continue
        assert ranks["skip_target"][row] == reference_rank(score, skip, seen, exclude_seen)
        above, below = score[target - 1] > score[skip - 1], score[target - 1] < score[skip - 1]
        expected = 1.0 if above else 0.0 if below else 0.5
        assert ranks["preference"][row] == expected


@pytest.mark.parametrize("num_items", [1, 2, 9])
def test_equal_scores_share_the_middle_rank(num_items):
    model = Table(np.zeros((num_items, num_items)))
    examples = examples_of([[1]] * num_items, range(1, num_items + 1), [0] * num_items)
    ranks = rank_targets(model, examples, exclude_seen=False)["target"]
    np.testing.assert_array_equal(ranks, np.full(num_items, (num_items + 1) / 2))


def test_seen_items_do_not_compete():
    model = Table([[5.0, 4.0, 3.0, 2.0]])
    examples = examples_of([[1, 2, 1]], [4], [3])
    ranks = rank_targets(model, examples)
    assert (ranks["target"], ranks["skip_target"]) == ([2], [1])
    ranks = rank_targets(model, examples, exclude_seen=False)
    assert (ranks["target"], ranks["skip_target"]) == ([4], [3])


def test_a_seen_target_is_out_of_reach():
    ranks = rank_targets(Table([[5.0, 4.0]]), examples_of([[1]], [1], [2]))
    assert ranks["target"][0] == np.inf
    assert ranks["preference"][0] == 1  # compares scores alone


@given(rankings(), st.booleans(), st.integers(1, 9))
def test_top_items_against_a_sort(ranking, exclude_seen, top_k):
    scores, histories, targets, skips = ranking
    top_items = rank_targets(
        Table(scores),
        examples_of(histories, targets, skips),
        exclude_seen=exclude_seen,
        batch_size=2,
        top_k=top_k,
    )["top_items"]
    assert top_items.shape == (len(scores), min(top_k, len(scores[0])))
    for row, (score, seen) in enumerate(zip(scores, histories, strict=True)):
        items = [
            item
            for item in range(1, len(score) + 1)
            if score[item - 1] > -np.inf and not (exclude_seen and item in seen)
        ]
        best = sorted(items, key=lambda item: (-score[item - 1], item))[:top_k]
        assert [item for item in top_items[row] if item > 0] == best
        assert top_items[row, : len(best)].tolist() == best


def test_no_top_items_unless_asked():
    ranks = rank_targets(Table([[1.0, 2.0]]), examples_of([[1]], [2], [0]))
    assert set(ranks) == {"target", "skip_target", "preference"}


def test_nan_scores():
    model = Table([[1.0, 2.0], [np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"must not be NaN. Received NaN for the history .*1"):
        rank_targets(model, examples_of([[1], [1]], [2, 2], [0, 0]))


def test_wrong_shape():
    model = Table([[1.0, 2.0]])
    model.num_items = 3
    with pytest.raises(ValueError, match=r"must return shape \(1, 3\). Received: \(1, 2\)"):
        rank_targets(model, examples_of([[1]], [2], [0]))


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        rank_targets(Table([[1.0]]), examples_of([[1]], [1], [0]), batch_size=0)


def test_top_k_must_be_positive():
    with pytest.raises(ValueError, match=r"`top_k` must be .* Received: top_k=0"):
        rank_targets(Table([[1.0]]), examples_of([[1]], [1], [0]), top_k=0)


@pytest.fixture
def small_blocks(monkeypatch):
    module = sys.modules["keras_negrec.evaluation.rank_targets"]  # the attribute is the function
    monkeypatch.setattr(module, "_COLUMNS", 16)
    monkeypatch.setattr(module, "_ROWS", 4)


def assert_same_ranks(found, expected):
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def random_examples(num_items, num_rows=11):
    rng = np.random.default_rng(0)
    histories = [
        rng.integers(1, num_items + 1, rng.integers(1, 6)).tolist() for _ in range(num_rows)
    ]
    return examples_of(
        histories,
        rng.integers(1, num_items + 1, num_rows),
        rng.integers(0, num_items + 1, num_rows) * rng.integers(0, 2, num_rows),
    )


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("num_items", [1, 16, 17, 75])
def test_products_of_vectors_in_blocks(small_blocks, num_items, exclude_seen):
    rng = np.random.default_rng(1)
    # Small whole numbers, so that many scores are equal.
    model = Vectors(rng.integers(-2, 3, (11, 3)), rng.integers(-2, 3, (num_items, 3)))
    options = {"exclude_seen": exclude_seen, "top_k": 5}
    examples = random_examples(num_items)
    expected = rank_targets(Table(model.of_histories @ model.of_items.T), examples, **options)
    assert_same_ranks(rank_targets(model, examples, **options), expected)


@pytest.mark.parametrize("num_items", [40, 1682, 9000])
def test_equal_vectors_have_equal_scores_in_all_blocks(num_items):
    rng = np.random.default_rng(1)
    model = Vectors(rng.normal(size=(300, 64)), np.tile(rng.normal(size=(1, 64)), (num_items, 1)))
    examples = random_examples(num_items, num_rows=300)
    ranks = rank_targets(model, examples, exclude_seen=False)["target"]
    np.testing.assert_array_equal(ranks, np.full(300, (num_items + 1) / 2))


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_models_are_ranked_as_by_their_scores(small_blocks, name):
    model = keras_negrec.build_model(
        name, num_items=75, embedding_dim=8, max_length=5, negative_loss="keep"
    )
    bias = model._keep_logit.item_bias
    bias.assign(np.random.default_rng(2).normal(size=75))
    examples = random_examples(75)
    expected = rank_targets(Table(model.score(examples.histories)), examples, top_k=5)
    assert_same_ranks(rank_targets(model, examples, top_k=5), expected)


@pytest.mark.parametrize("place", ["of the histories", "of the items"])
def test_vectors_that_are_not_finite(place):
    model = Vectors(np.ones((1, 2)), np.ones((3, 2)))
    (model.of_histories if place == "of the histories" else model.of_items)[0, 0] = np.nan
    with pytest.raises(ValueError, match=f"vectors {place} must be finite"):
        rank_targets(model, examples_of([[1]], [2], [0]))


def test_no_examples():
    examples = examples_of([[1]], [1], [0]).take(np.arange(0))
    ranks = rank_targets(Table([[1.0]]), examples, top_k=1)
    assert {name: len(values) for name, values in ranks.items()} == dict.fromkeys(ranks, 0)
