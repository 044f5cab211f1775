import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_folder import leave_one_out_cuts, rows_of, write_prepared

from keras_negrec.data import (
    Examples,
    Sessions,
    leave_one_out,
    load_prepared,
    session_batches,
    simulate_sessions,
)
from keras_negrec.data.vocabulary import Vocabulary


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


def prepare(tmp_path_factory, sessions, **options):
    """A folder in which all events train, unless `cuts` are given."""
    options.setdefault("cuts", (sessions.lengths, [-1] * len(sessions), [-1] * len(sessions)))
    folder = tmp_path_factory.mktemp("data") / "prepared"
    return load_prepared(write_prepared(folder, sessions, **options))


def epoch(dataset):
    return [{name: values.numpy() for name, values in batch.items()} for batch in dataset]


def rows_in(batches):
    return [tuple(row[row > 0].tolist()) for batch in batches for row in batch["item_ids"]]


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    """60 rows of 1 to 30 events in 9 shards of 3 row groups."""
    lengths = np.random.default_rng(0).integers(1, 31, 60)
    return prepare(tmp_path_factory, numbered(lengths))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    events = simulate_sessions(num_sessions=80, num_items=60, mean_kept=4, seed=2).events
    vocabulary = Vocabulary.from_items(events["item"])
    sessions = Sessions.from_events(events, vocabulary)
    order = np.random.default_rng(0).permutation(80)
    prepared = prepare(
        tmp_path_factory,
        sessions,
        vocabulary=vocabulary,
        order=order,
        rows_per_shard=30,
        cuts=leave_one_out_cuts(sessions),
    )
    return sessions, prepared


def test_the_split_is_that_of_the_in_memory_path(simulated):
    sessions, prepared = simulated
    expected, split = leave_one_out(sessions), prepared.split()
    assert split.train.fingerprint() == expected.train.fingerprint()
    for part in ("validation", "test"):
        assert getattr(split, part).fingerprint() == getattr(expected, part).fingerprint()
        np.testing.assert_array_equal(
            getattr(split, part).histories.keys, getattr(expected, part).histories.keys
        )
    assert (expected.validation.skip_targets > 0).any()
    before_test = prepared.sessions("before_test")
    in_memory = expected.before_test()
    in_memory = in_memory.take(np.argsort(in_memory.keys))
    assert before_test.fingerprint() == in_memory.fingerprint()


def test_rows_that_do_not_train_and_rows_with_one_cut(tmp_path_factory):
    sessions = Sessions.from_lists(
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 1, 1], [1, -1, 1], [1, -1, 1]]
    )
    prepared = prepare(tmp_path_factory, sessions, cuts=([3, 0, 0], [-1, 1, -1], [-1, -1, 1]))
    assert prepared.sessions("train").item_ids.tolist() == [1, 2, 3]
    validation, test = prepared.examples("validation"), prepared.examples("test")
    for examples, key, history, skip, target in ((validation, 1, 4, 5, 6), (test, 2, 7, 8, 9)):
        assert examples.histories.keys.tolist() == [key]
        assert examples.histories.item_ids.tolist() == [history]
        assert (examples.skip_targets.tolist(), examples.targets.tolist()) == ([skip], [target])
    assert prepared.sessions("before_test").item_ids.tolist() == [1, 2, 3, 7]


def test_a_validation_skip_after_the_test_cut_is_none(tmp_path_factory):
    sessions = Sessions.from_lists([[1, 2, 3, 4]], [[1, 1, -1, 1]])
    prepared = prepare(tmp_path_factory, sessions, cuts=([1], [1], [2]))
    assert prepared.examples("validation").skip_targets.tolist() == [0]
    assert prepared.examples("test").skip_targets.tolist() == [3]


def test_no_examples(sixty):
    assert len(sixty.examples("test")) == 0
    assert isinstance(sixty.examples("validation"), Examples)


def test_an_example_without_a_target(tmp_path_factory):
    sessions = Sessions.from_lists([[1, 2], [3, 4]], [[1, 1], [1, -1]])
    prepared = prepare(tmp_path_factory, sessions, cuts=([1, 1], [-1, -1], [1, 1]))
    with pytest.raises(ValueError, match=r"positive event after it. Received 1 rows .* first: 1"):
        prepared.examples("test")


@pytest.mark.parametrize("positive_counts", [True, False])
def test_counts_of_the_rows_that_train(tmp_path_factory, positive_counts):
    sessions = Sessions.from_lists([[1, 2, 2], [2, 1]], [[1, 1, -1], [1, 1]])
    prepared = prepare(
        tmp_path_factory,
        sessions,
        cuts=([3, 1], [-1, -1], [-1, 1]),
        positive_counts=positive_counts,
    )
    assert prepared.train_counts().tolist() == [1, 3]
    assert prepared.train_counts(positive=True).tolist() == [1, 2]
    assert prepared.train_counts("before_test").tolist() == [1, 3]
    assert prepared.item_counts["count"].tolist() == [2, 3]


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=14),
    max_length=st.integers(1, 20),
    batch_size=st.integers(1, 4),
    buffer_events=st.sampled_from([1, 25, 1000]),
    shuffle=st.booleans(),
    with_sessions=st.booleans(),
)
def test_every_event_once_an_epoch(
    tmp_path_factory, lengths, max_length, batch_size, buffer_events, shuffle, with_sessions
):
    sessions = numbered(lengths, with_sessions)
    dataset = prepare(tmp_path_factory, sessions, rows_per_shard=5, rows_per_group=2).dataset(
        "train",
        batch_size=batch_size,
        max_length=max_length,
        shuffle=shuffle,
        buffer_events=buffer_events,
    )
    for _ in range(2):
        batches = epoch(dataset)
        assert dataset.cardinality() == len(batches)
        items = np.concatenate([batch["item_ids"].ravel() for batch in batches])
        np.testing.assert_array_equal(np.sort(items[items > 0]), sessions.item_ids)
        for batch in batches:
            assert batch["item_ids"].shape[1] <= max_length
            assert ("session_ids" in batch) == with_sessions
            filled = batch["item_ids"] > 0
            assert filled[:, -1].all()  # padding on the left alone
            assert (np.diff(filled.astype(int), axis=1) >= 0).all()
            for name, values in batch.items():
                assert values.dtype == "int32"
                expected = np.zeros(values.shape, "int32")
                expected[filled] = getattr(sessions, name)[batch["item_ids"][filled] - 1]
                np.testing.assert_array_equal(values, expected)


@settings(max_examples=12)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=14), st.integers(2, 12))
def test_windows_and_shapes_are_those_of_session_batches(tmp_path_factory, lengths, max_length):
    sessions = numbered(lengths)
    prepared = prepare(tmp_path_factory, sessions)
    options = {"batch_size": 2, "max_length": max_length, "overlap": 1}
    expected = session_batches(sessions, **options)
    dataset = prepared.dataset(**options)
    assert dataset.cardinality() == expected.cardinality()
    streamed, in_memory = epoch(dataset), epoch(expected)
    assert sorted(rows_in(streamed)) == sorted(rows_in(in_memory))
    shapes = [sorted(batch["item_ids"].shape for batch in b) for b in (streamed, in_memory)]
    assert shapes[0] == shapes[1]


def test_without_shuffle_batches_are_those_of_session_batches(sixty):
    options = {"batch_size": 7, "max_length": 12, "shuffle": False}
    expected = session_batches(sixty.sessions("train"), **options)
    for buffer_events in (1, 1000):
        streamed = sixty.dataset("train", **options, buffer_events=buffer_events)
        assert_same(epoch(streamed), epoch(expected))


@pytest.mark.parametrize("buffer_events", [60, 100_000])
def test_seed_and_reshuffling(sixty, buffer_events):
    def two_epochs(seed):
        dataset = sixty.dataset(batch_size=2, max_length=30, seed=seed, buffer_events=buffer_events)
        return [rows_in(epoch(dataset)) for _ in range(2)]

    first, second = two_epochs(seed=3)
    assert first != second
    assert sorted(first) == sorted(second)
    assert two_epochs(seed=3) == [first, second]
    assert two_epochs(seed=4) != [first, second]


def test_rows_of_all_shards_come_early_and_late(tmp_path_factory):
    # 40 shards of one row group of 5 rows, 10 of them in the buffer at a time.
    prepared = prepare(tmp_path_factory, numbered([4] * 200), rows_per_shard=5, rows_per_group=5)
    firsts = []
    for seed in range(15):
        dataset = prepared.dataset(batch_size=2, max_length=4, seed=seed, buffer_events=200)
        rows = [(row[0] - 1) // 4 for row in rows_in(dataset.take(5).as_numpy_iterator())]
        assert len({row // 5 for row in rows}) > 3  # several shards among the first ten rows
        firsts += rows
    # 150 draws among 200 rows: about 105 different ones.
    assert len(set(firsts)) > 80 and max(firsts) > 190 and min(firsts) < 10


def test_rows_of_similar_length_come_together(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([4] * 16 + [40] * 4))
    batches = epoch(prepared.dataset(batch_size=2, max_length=40))
    assert sorted(batch["item_ids"].shape for batch in batches) == [
        (2, 40),
        (2, 40),
        (6, 8),
        (10, 8),
    ]


def test_short_and_long_rows_come_in_turn(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([4] * 20 + [40] * 8))
    lengths = [
        batch["item_ids"].shape[1]
        for seed in range(5)
        for batch in epoch(prepared.dataset(batch_size=1, max_length=40, seed=seed).take(4))
    ]
    assert lengths.count(8) > 2 and lengths.count(40) > 8  # there are 4 short and 8 long batches


@settings(max_examples=8)
@given(start=st.integers(0, 60), buffer_events=st.sampled_from([80, 100_000]))
def test_a_later_start_goes_on_where_the_order_was_left(sixty, start, buffer_events):
    options = {"batch_size": 2, "max_length": 30, "seed": 1, "buffer_events": buffer_events}
    dataset = sixty.dataset(**options)
    num_steps = int(dataset.cardinality())
    assert 15 < num_steps < 40
    whole = [batch for _ in range(4) for batch in epoch(dataset)]
    endless = sixty.dataset(**options, start_step=start, repeat=True)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    for _ in range(2):  # each pass begins there
        assert_same(epoch(endless.take(num_steps)), whole[start : start + num_steps])
    rest = sixty.dataset(**options, start_step=start)
    assert rest.cardinality() == num_steps - start % num_steps
    end = start + int(rest.cardinality())
    assert_same(epoch(rest), whole[start:end])
    again = epoch(rest)  # the rest of an epoch stays that; whole epochs go on
    expected = whole[start:end] if start % num_steps else whole[end : end + num_steps]
    assert_same(again, expected)


def test_steps_are_counted_over_epochs(sixty):
    options = {"batch_size": 8, "max_length": 30, "with_steps": True}
    num_steps = int(sixty.dataset(**options).cardinality())
    dataset = sixty.dataset(**options, start_step=3, repeat=True)
    steps = [int(step) for _, step in dataset.take(2 * num_steps)]
    assert steps == list(range(3, 3 + 2 * num_steps))


def test_a_pass_that_is_not_begun_takes_no_epoch(sixty):
    dataset, other = (sixty.dataset(batch_size=4, max_length=30, seed=5) for _ in range(2))
    iter(dataset)  # as Keras does at the end of each epoch
    assert_same(epoch(dataset), epoch(other))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_workers", [1, 2, 3, 5])
def test_workers_share_the_rows_in_equally_many_steps(sixty, num_workers, shuffle):
    datasets = [
        sixty.dataset(
            batch_size=3,
            max_length=30,
            shuffle=shuffle,
            worker=worker,
            num_workers=num_workers,
            buffer_events=150,
        )
        for worker in range(num_workers)
    ]
    shares = [epoch(dataset) for dataset in datasets]
    assert [len(share) for share in shares] == [len(shares[0])] * num_workers
    assert [int(dataset.cardinality()) for dataset in datasets] == [len(shares[0])] * num_workers
    expected = sorted(rows_of(sixty.sessions().item_ids, sixty.sessions()))
    assert sorted(list(row) for share in shares for row in rows_in(share)) == expected


def test_too_many_workers(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([2] * 6), rows_per_group=3)
    with pytest.raises(ValueError, match=r"3 workers need at least as many row groups.*: 2"):
        prepared.dataset(batch_size=1, max_length=2, num_workers=3)
    unequal = prepare(tmp_path_factory, numbered([20] * 6 + [1]), rows_per_group=6)
    with pytest.raises(ValueError, match=r"too unequal to give 2 workers.*: \[1, 6\] steps"):
        unequal.dataset(batch_size=1, max_length=20, num_workers=2)


def test_a_transform_makes_other_rows(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([5, 2, 7, 3], with_sessions=True))

    def every_other(rows):
        rows = rows.between(0, rows.lengths - 2)
        columns = {name: rows.columns[name] for name in ("item_ids", "feedback")}
        return Sessions(columns, rows.row_splits, rows.keys)

    dataset = prepared.dataset(batch_size=1, max_length=9, transform=every_other)
    batches = epoch(dataset)
    assert sorted(rows_in(batches)) == [(1, 2, 3), (8, 9, 10, 11, 12), (15,)]
    assert dataset.cardinality() == len(batches)
    assert set(batches[0]) == {"item_ids", "feedback"}


def test_the_data_are_read_piece_by_piece(sixty, monkeypatch):
    from keras_negrec.data.preparation import prepared as module

    reads = []
    lock = threading.Lock()

    def counting(group, **options):
        with lock:
            reads.append(group)
        return read_rows(group, **options)

    read_rows = module.read_rows
    monkeypatch.setattr(module, "read_rows", counting)
    small = iter(sixty.dataset(batch_size=1, max_length=30, buffer_events=60))
    next(small)
    assert 0 < len(reads) < 10  # of 26 row groups
    del small
    reads.clear()
    whole = sixty.dataset(batch_size=1, max_length=30)
    for _ in range(3):
        epoch(whole)
    assert len(reads) == len(set(reads)) == 26  # what fits into the buffer is read once


def test_an_error_while_reading_reaches_the_consumer(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([4] * 9))
    dataset = prepared.dataset(batch_size=2, max_length=4)
    (prepared.folder / "shards" / "part-00001.parquet").write_bytes(b"nothing")
    with pytest.raises(tf.errors.OpError, match=r"part-00001.parquet cannot be read as Parquet"):
        epoch(dataset)


def test_no_rows_that_train(tmp_path_factory):
    prepared = prepare(tmp_path_factory, numbered([3, 3]), cuts=([0, 0], [-1, -1], [-1, -1]))
    with pytest.raises(ValueError, match="no rows to train on"):
        prepared.dataset(batch_size=2, max_length=4)
    assert len(prepared.sessions("train")) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "test"}, "`part` must be one of 'train', 'before_test'"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"num_workers": 0}, "`num_workers` must be a positive integer"),
        ({"buffer_events": 0}, "`buffer_events` must be a positive integer"),
        ({"overlap": 4}, "`overlap` must be at least 0 and below `max_length`"),
        ({"worker": 1}, r"`worker` must lie in 0..0. Received: worker=1"),
        ({"worker": -1}, "`worker` must be an integer of at least 0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"start_step": 1.5}, "`start_step` must be an integer of at least 0"),
    ],
)
def test_bad_arguments(sixty, options, message):
    with pytest.raises(ValueError, match=message):
        sixty.dataset(**{"batch_size": 2, "max_length": 4, **options})
