import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_negrec.data import split_at
from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions


def twenty_rows():
    return Sessions.from_lists([[3 * i + 1, 3 * i + 2, 3 * i + 3] for i in range(20)])


def test_trains_before_the_cut_and_predicts_after_it():
    sessions = Sessions.from_lists(
        [[1, 2, 3, 4], [5, 6], [7, 8], [9, 10]],
        [[1, -1, -1, 1], [1, 1], [1, -1], [1, 1]],
        keys=["u", "v", "w", "x"],
    )
    split = split_at(sessions, [2, 1, 1, 0], validation_share=0)
    # `w` keeps nothing after its cut and trains only; `x` has no history and takes no part.
    assert split.train.keys.tolist() == ["u", "v", "w"]
    assert split.train.item_ids.tolist() == [1, 2, 5, 7]
    assert split.test.histories.keys.tolist() == ["u", "v"]
    assert split.test.histories.item_ids.tolist() == [1, 2, 5]
    assert split.test.targets.tolist() == [4, 6]
    assert split.test.skip_targets.tolist() == [3, 0]
    assert len(split.validation) == 0


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.1, 2), (0.5, 10), (1, 20)])
def test_every_row_is_in_one_part(share, expected):
    split = split_at(twenty_rows(), np.full(20, 2), validation_share=share)
    validation = split.validation.histories.keys.tolist()
    test = split.test.histories.keys.tolist()
    assert len(validation) == expected
    assert sorted(validation + test) == list(range(20))
    assert validation == sorted(validation)
    assert test == sorted(test)
    assert len(split.train) == 20


def test_the_seed_draws_the_validation_rows():
    def drawn(seed):
        split = split_at(twenty_rows(), np.full(20, 1), validation_share=0.3, seed=seed)
        return split.validation.histories.keys.tolist()

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


@given(st.data())
def test_no_event_at_or_after_the_cut_is_in_training(data):
    feedback = data.draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=1, max_size=8), min_size=1, max_size=6)
    )
    items = [[100 * i + j + 1 for j in range(len(row))] for i, row in enumerate(feedback)]
    cuts = [data.draw(st.integers(0, len(row))) for row in feedback]
    sessions = Sessions.from_lists(items, feedback)
    split = split_at(sessions, cuts, validation_share=data.draw(st.floats(0, 1)))
    before = [item for row, cut in zip(items, cuts, strict=True) for item in row[:cut]]
    assert split.train.item_ids.tolist() == before
    assert (split.train.lengths > 0).all()
    whole = Examples.after(sessions, np.array(cuts))
    assert len(split.validation) + len(split.test) == len(whole)
    targets = [*split.validation.targets.tolist(), *split.test.targets.tolist()]
    assert sorted(targets) == sorted(whole.targets.tolist())
    assert set(before).isdisjoint(targets)


def test_summary():
    sessions = Sessions.from_lists([[1, 2, 3], [4, 5, 6]], [[1, 1, -1], [1, 1, 1]])
    assert split_at(sessions, [1, 1], validation_share=0).summary() == (
        "train: 2 sessions, 2 events; validation: 0 examples, 0 with a skip; "
        "test: 2 examples, 1 with a skip"
    )


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([1], r"must have shape \(20,\), one value a row. Received: \(1,\)"),
        ([[1] * 20], r"Received: \(1, 20\)"),
        ([1] * 19 + [4], "between 0 and the row's length, 3 in row 19. Received: 4"),
        ([1, -1] + [1] * 18, "3 in row 1. Received: -1"),
    ],
)
def test_cuts_that_do_not_fit(cuts, message):
    with pytest.raises(ValueError, match=message):
        split_at(twenty_rows(), cuts)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_share_outside_of_0_to_1(share):
    with pytest.raises(ValueError, match=f"between 0 and 1. Received: {share}"):
        split_at(twenty_rows(), [1] * 20, validation_share=share)
