import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_negrec.data import Sessions, session_batches


def numbered(lengths, with_sessions=False):
    """Sessions whose item ids number all events, so that each can be told apart."""
    lengths = np.asarray(lengths)
    num_events = int(lengths.sum())
    columns = {
        "item_ids": np.arange(1, num_events + 1),
        "feedback": np.arange(num_events) % 5 - 2,
    }
    if with_sessions:
        columns["session_ids"] = np.concatenate([np.arange(n) // 2 for n in lengths])
    return Sessions(
        columns,
        row_splits=np.concatenate([[0], np.cumsum(lengths)]),
        keys=np.arange(len(lengths)),
    )


def epoch(dataset):
    return [{name: values.numpy() for name, values in batch.items()} for batch in dataset]


def rows_of(batches):
    return [tuple(row[row > 0].tolist()) for batch in batches for row in batch["item_ids"]]


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.integers(1, 20),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)
def test_every_event_once_an_epoch(lengths, max_length, batch_size, shuffle, with_sessions):
    sessions = numbered(lengths, with_sessions)
    dataset = session_batches(
        sessions, batch_size=batch_size, max_length=max_length, shuffle=shuffle
    )
    for _ in range(2):
        batches = epoch(dataset)
        assert dataset.cardinality() == len(batches)
        items = np.concatenate([batch["item_ids"].ravel() for batch in batches])
        np.testing.assert_array_equal(np.sort(items[items > 0]), sessions.item_ids)
        for batch in batches:
            assert batch["item_ids"].shape[1] <= max_length
            assert ("session_ids" in batch) == with_sessions
            for row, column in np.ndindex(batch["item_ids"].shape):
                item = batch["item_ids"][row, column]
                values = {name: batch[name][row, column] for name in batch if name != "item_ids"}
                expected = {
                    name: getattr(sessions, name)[item - 1] if item else 0 for name in values
                }
                assert values == expected
            filled = batch["item_ids"] > 0
            assert filled[:, -1].all()  # padding on the left alone
            assert (np.diff(filled.astype(int), axis=1) >= 0).all()


def test_order_without_shuffle():
    sessions = numbered([3, 1, 4, 2])
    batches = epoch(session_batches(sessions, batch_size=3, max_length=4, shuffle=False))
    np.testing.assert_array_equal(
        batches[0]["item_ids"], [[0, 1, 2, 3], [0, 0, 0, 4], [5, 6, 7, 8]]
    )
    np.testing.assert_array_equal(batches[1]["item_ids"][:, -2:], [[9, 10]])


def test_seed_and_reshuffling():
    def two_epochs(seed):
        dataset = session_batches(
            numbered([2] * 40), batch_size=4, max_length=5, shuffle=True, seed=seed
        )
        return [rows_of(epoch(dataset)) for _ in range(2)]

    first, second = two_epochs(seed=3)
    assert first != second
    assert sorted(first) == sorted(second)
    assert two_epochs(seed=3) == [first, second]
    assert two_epochs(seed=4)[0] != first


def test_overlap_repeats_the_last_event_of_the_window_before():
    batches = epoch(
        session_batches(numbered([7]), batch_size=9, max_length=3, overlap=1, shuffle=False)
    )
    assert rows_of(batches) == [(5, 6, 7), (3, 4, 5), (1, 2, 3)]


def test_rows_of_similar_length_share_a_batch():
    lengths = [3] * 16 + [40] * 4
    batches = epoch(session_batches(numbered(lengths), batch_size=2, max_length=40))
    assert sorted({batch["item_ids"].shape[1] for batch in batches}) == [8, 40]
    # As many events in a batch of short rows as in one of long rows.
    sizes = {batch["item_ids"].shape[1]: len(batch["item_ids"]) for batch in batches}
    assert sizes == {8: 10, 40: 2} or sizes == {8: 6, 40: 2}  # 16 short rows: 10 and 6


def test_no_rows():
    with pytest.raises(ValueError, match="`sessions` must hold at least one row"):
        session_batches(numbered([]), batch_size=2, max_length=3)


def test_an_empty_row():
    with pytest.raises(
        ValueError, match=r"A session must have at least one event. Row .*1.* empty"
    ):
        session_batches(numbered([2, 0, 1]), batch_size=2, max_length=3)


@pytest.mark.parametrize("name", ["batch_size", "max_length"])
def test_sizes_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        session_batches(numbered([2]), **{"batch_size": 2, "max_length": 3, name: 0})
