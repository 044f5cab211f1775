"""Batches of sessions in memory and of prepared folders, which are alike."""

import platform
import resource

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_folder import all_train, epoch, numbered, rows_in, rows_of

from keras_negrec import build_model
from keras_negrec.data import Sessions, TrainingData

kinds = pytest.mark.parametrize("kind", ["in memory", "folder"])


@pytest.fixture(scope="module")
def data_of(tmp_path_factory):
    """A function from sessions to `Sessions`, or to a `Prepared` folder that holds them."""

    def data(kind, sessions, **options):
        if kind == "in memory":
            return sessions
        return all_train(tmp_path_factory.mktemp("data"), sessions, **options)

    return data


@pytest.fixture(scope="module")
def sixty(data_of):
    """60 rows of 1 to 30 events, in memory and in 9 shards of 3 row groups."""
    sessions = numbered(np.random.default_rng(0).integers(1, 31, 60))
    return {"in memory": sessions, "folder": data_of("folder", sessions)}


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_equal(one, other)


@kinds
def test_both_are_training_data(sixty, kind):
    data = sixty[kind]
    assert isinstance(data, TrainingData)
    assert data.column_names == ["item_ids", "feedback"]
    num_events = sum(rows.num_events for rows in data.chunks())
    assert data.item_counts(num_events + 2).tolist() == [1] * num_events + [0, 0]
    data.check_catalogue(num_events, None)
    with pytest.raises(ValueError, match=f"{num_events - 1}"):
        data.check_catalogue(num_events - 1, None)


@settings(max_examples=20)
@given(
    kind=st.sampled_from(["in memory", "folder"]),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=14),
    max_length=st.integers(1, 20),
    batch_size=st.integers(1, 4),
    buffer_events=st.sampled_from([1, 25, 1000]),
    shuffle=st.booleans(),
    with_sessions=st.booleans(),
)
def test_every_event_once_an_epoch(
    data_of, kind, lengths, max_length, batch_size, buffer_events, shuffle, with_sessions
):
    sessions = numbered(lengths, with_sessions)
    data = data_of(kind, sessions, rows_per_shard=5, rows_per_group=2)
    options = {"shuffle": shuffle, "buffer_events": buffer_events}
    dataset = data.batches(batch_size=batch_size, max_length=max_length, **options)
    assert dataset.options().autotune.enabled is False  # its thread ends late
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


@pytest.mark.parametrize("max_length", [2, 7, 12])
def test_windows_and_shapes_are_the_same(sixty, max_length):
    options = {"batch_size": 2, "max_length": max_length, "overlap": 1}
    batches = [epoch(data.batches(**options)) for data in sixty.values()]
    windows = sixty["in memory"].windows(max_length, overlap=1)
    for each in batches:
        assert sorted(map(list, rows_in(each))) == sorted(rows_of(windows.item_ids, windows))
    shapes = [sorted(batch["item_ids"].shape for batch in each) for each in batches]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("buffer_events", [1, 1000])
def test_without_shuffle_batches_are_the_same(sixty, buffer_events):
    options = {"batch_size": 7, "max_length": 12, "shuffle": False, "buffer_events": buffer_events}
    assert_same(*(epoch(data.batches(**options)) for data in sixty.values()))


def test_order_without_shuffle():
    batches = epoch(numbered([3, 1, 4, 2]).batches(batch_size=3, max_length=4, shuffle=False))
    expected = [[0, 1, 2, 3], [0, 0, 0, 4], [5, 6, 7, 8]]
    np.testing.assert_array_equal(batches[0]["item_ids"], expected)
    np.testing.assert_array_equal(batches[1]["item_ids"][:, -2:], [[9, 10]])


@kinds
def test_rows_of_similar_length_come_together_and_short_and_long_ones_in_turn(data_of, kind):
    data = data_of(kind, numbered([4] * 16 + [40] * 4))
    options = {"batch_size": 2, "max_length": 40}
    epochs = [
        [batch["item_ids"].shape for batch in epoch(data.batches(**options, seed=seed))]
        for seed in range(8)
    ]
    for shapes in epochs:  # as many events in a batch of short rows as in one of long rows
        assert sorted(shapes) == [(2, 40), (2, 40), (6, 8), (10, 8)]
    assert {shapes[0][1] for shapes in epochs} == {8, 40}


@kinds
@pytest.mark.parametrize(("start", "buffer_events"), [(0, 80), (5, 80), (5, 10**5), (50, 10**5)])
def test_epochs_differ_and_a_later_start_goes_on_where_their_order_was_left(
    sixty, kind, start, buffer_events
):
    options = {"batch_size": 2, "max_length": 30, "buffer_events": buffer_events}
    other_seed = epoch(sixty[kind].batches(**options, seed=2))
    options["seed"] = 1
    dataset = sixty[kind].batches(**options)
    num_steps = int(dataset.cardinality())
    assert 15 < num_steps < 40
    iter(dataset)  # as Keras does at the end of each epoch: a pass that is not begun is none
    whole = [batch for _ in range(4) for batch in epoch(dataset)]
    epochs = [rows_in(batches) for batches in (whole[:num_steps], whole[num_steps : 2 * num_steps])]
    assert epochs[0] != epochs[1] and epochs[0] != rows_in(other_seed)
    assert sorted(epochs[0]) == sorted(epochs[1])
    endless = sixty[kind].batches(**options, start_step=start, repeat=True)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    for _ in range(2):  # each pass begins there
        assert_same(epoch(endless.take(num_steps)), whole[start : start + num_steps])
    rest = sixty[kind].batches(**options, start_step=start)
    assert rest.cardinality() == num_steps - start % num_steps
    end = start + int(rest.cardinality())
    assert_same(epoch(rest), whole[start:end])
    again = epoch(rest)  # the rest of an epoch stays that; whole epochs go on
    expected = whole[start:end] if start % num_steps else whole[end : end + num_steps]
    assert_same(again, expected)


@kinds
def test_steps_are_counted_over_epochs(sixty, kind):
    options = {"batch_size": 8, "max_length": 30, "with_steps": True}
    num_steps = int(sixty[kind].batches(**options).cardinality())
    dataset = sixty[kind].batches(**options, start_step=3, repeat=True)
    steps = [int(step) for _, step in dataset.take(2 * num_steps)]
    assert steps == list(range(3, 3 + 2 * num_steps))


@kinds
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_workers_share_the_rows_in_equally_many_steps(sixty, kind, num_workers, shuffle):
    options = {"batch_size": 3, "max_length": 30, "shuffle": shuffle, "num_workers": num_workers}
    datasets = [
        sixty[kind].batches(**options, worker=worker, buffer_events=150)
        for worker in range(num_workers)
    ]
    shares = [epoch(dataset) for dataset in datasets]
    assert [len(share) for share in shares] == [len(shares[0])] * num_workers
    assert [int(dataset.cardinality()) for dataset in datasets] == [len(shares[0])] * num_workers
    expected = sorted(rows_of(sixty["in memory"].item_ids, sixty["in memory"]))
    assert sorted(list(row) for share in shares for row in rows_in(share)) == expected


def test_too_many_workers(data_of):
    data = data_of("folder", numbered([2] * 6), rows_per_group=3)
    with pytest.raises(ValueError, match=r"3 workers need at least as many groups.*: 2"):
        data.batches(batch_size=1, max_length=2, num_workers=3)
    unequal = data_of("folder", numbered([20] * 6 + [1]), rows_per_group=6)
    with pytest.raises(ValueError, match=r"too unequal to give 2 workers.*: \[1, 6\] steps"):
        unequal.batches(batch_size=1, max_length=20, num_workers=2)


@kinds
def test_a_transform_makes_other_rows(data_of, kind):
    def all_but_two(rows):
        rows = rows.between(0, rows.lengths - 2)
        columns = {name: rows.columns[name] for name in ("item_ids", "feedback")}
        return Sessions(columns, rows.row_splits, rows.keys)

    data = data_of(kind, numbered([5, 2, 7, 3], with_sessions=True))
    dataset = data.batches(batch_size=1, max_length=9, transform=all_but_two)
    batches = epoch(dataset)
    assert sorted(rows_in(batches)) == [(1, 2, 3), (8, 9, 10, 11, 12), (15,)]
    assert dataset.cardinality() == len(batches)
    assert set(batches[0]) == {"item_ids", "feedback"}
    with pytest.raises(ValueError, match="no rows to train on of which `all_but_two` leaves"):
        data_of(kind, numbered([2, 1])).batches(batch_size=1, max_length=9, transform=all_but_two)


def test_nothing_to_train_on(data_of):
    with pytest.raises(ValueError, match=r"no rows to train on. Received: `sessions`"):
        numbered([]).batches(batch_size=2, max_length=3)
    cuts = ([0, 0], [-1, -1], [-1, -1])
    data = data_of("folder", numbered([3, 3]), cuts=cuts)
    with pytest.raises(ValueError, match=r"no rows to train on. Received: .*prepared"):
        data.batches(batch_size=2, max_length=4)
    assert len(data.sessions()) == 0


def test_an_empty_row():
    with pytest.raises(ValueError, match=r"must have at least one event. Row .*1.* empty"):
        numbered([2, 0, 1]).batches(batch_size=2, max_length=3)


@kinds
@pytest.mark.parametrize(
    ("options", "message"),
    [
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
def test_bad_arguments(sixty, kind, options, message):
    with pytest.raises(ValueError, match=message):
        sixty[kind].batches(**{"batch_size": 2, "max_length": 4, **options})


def test_what_models_read_does_not_wait_for_the_autotuner(monkeypatch):
    model = build_model("sasrec", num_items=10, max_length=4)
    predict, read = model.serving_model.predict, [model.training_dataset(numbered([3, 4, 3]))]
    noted = lambda x, **options: (read.append(x), predict(x, **options))[1]  # noqa: E731
    monkeypatch.setattr(model.serving_model, "predict", noted)
    model.history_vectors(numbered([3, 3]))
    assert [dataset.options().autotune.enabled for dataset in read] == [False, False]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's memory")
def test_memory_stays_with_the_process_after_a_generator_has_run():
    """TensorFlow's generators make glibc return large pieces, which each step then clears anew."""
    for _ in numbered([3, 3]).batches(batch_size=2, max_length=4):
        pass
    np.ones(2**18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(2**18)  # 512 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 10_000
