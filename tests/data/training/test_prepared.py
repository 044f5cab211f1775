import numpy as np
import pytest
import tensorflow as tf
from prepared_folder import all_train, epoch, leave_one_out_cuts, numbered, rows_in

from keras_negrec.data import Sessions, Vocabulary, leave_one_out, simulate_sessions


def test_the_split_is_that_of_the_in_memory_path(tmp_path):
    events = simulate_sessions(num_sessions=80, num_items=60, mean_kept=4, seed=2).events
    vocabulary = Vocabulary.from_items(events["item"])
    sessions = Sessions.from_events(events, vocabulary)
    options = {"order": np.random.default_rng(0).permutation(80), "rows_per_shard": 30}
    options["cuts"] = leave_one_out_cuts(sessions)
    prepared = all_train(tmp_path, sessions, vocabulary=vocabulary, **options)
    expected, split = leave_one_out(sessions), prepared.split()
    assert split.train.fingerprint() == expected.train.fingerprint()
    for part in ("validation", "test"):
        found, examples = getattr(split, part), getattr(expected, part)
        assert found.fingerprint() == examples.fingerprint()
        np.testing.assert_array_equal(found.histories.keys, examples.histories.keys)
    assert (expected.validation.skip_targets > 0).any()
    in_memory = expected.before_test()
    in_memory = in_memory.take(np.argsort(in_memory.keys))
    assert prepared.before_test().sessions().fingerprint() == in_memory.fingerprint()


def test_rows_that_do_not_train_and_rows_with_one_cut(tmp_path):
    sessions = Sessions.from_lists(
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 1, 1], [1, -1, 1], [1, -1, 1]]
    )
    prepared = all_train(tmp_path, sessions, cuts=([3, 0, 0], [-1, 1, -1], [-1, -1, 1]))
    assert prepared.sessions().item_ids.tolist() == [1, 2, 3]
    validation, test = prepared.examples("validation"), prepared.examples("test")
    for examples, key, history, skip, target in ((validation, 1, 4, 5, 6), (test, 2, 7, 8, 9)):
        assert examples.histories.keys.tolist() == [key]
        assert examples.histories.item_ids.tolist() == [history]
        assert (examples.skip_targets.tolist(), examples.targets.tolist()) == ([skip], [target])
    assert prepared.before_test().sessions().item_ids.tolist() == [1, 2, 3, 7]


def test_a_validation_skip_after_the_test_cut_is_none(tmp_path):
    sessions = Sessions.from_lists([[1, 2, 3, 4]], [[1, 1, -1, 1]])
    prepared = all_train(tmp_path, sessions, cuts=([1], [1], [2]))
    assert prepared.examples("validation").skip_targets.tolist() == [0]
    assert prepared.examples("test").skip_targets.tolist() == [3]


def test_an_example_without_a_target(tmp_path):
    sessions = Sessions.from_lists([[1, 2], [3, 4]], [[1, 1], [1, -1]])
    prepared = all_train(tmp_path, sessions, cuts=([1, 1], [-1, -1], [1, 1]))
    with pytest.raises(ValueError, match=r"positive event after it. Received 1 without, first: 1"):
        prepared.examples("test")


@pytest.mark.parametrize("positive_counts", [True, False])
def test_counts_of_the_rows_that_train(tmp_path, positive_counts):
    sessions = Sessions.from_lists([[1, 2, 2], [2, 1]], [[1, 1, -1], [1, 1]])
    cuts = ([3, 1], [-1, -1], [-1, 1])
    prepared = all_train(tmp_path, sessions, cuts=cuts, positive_counts=positive_counts)
    assert prepared.item_counts(2).tolist() == [1, 3]
    assert prepared.item_counts(3, positive=True).tolist() == [1, 2, 0]
    assert prepared.before_test().item_counts(2).tolist() == [1, 3]
    assert prepared.items["count"].tolist() == [2, 3]


def test_rows_of_all_shards_come_early_and_late(tmp_path):
    # 40 shards of one row group of 5 rows, 10 of them in the buffer at a time.
    prepared = all_train(tmp_path, numbered([4] * 200), rows_per_shard=5, rows_per_group=5)
    firsts = []
    for seed in range(15):
        dataset = prepared.batches(batch_size=2, max_length=4, seed=seed, buffer_events=200)
        rows = [(row[0] - 1) // 4 for row in rows_in(dataset.take(5).as_numpy_iterator())]
        assert len({row // 5 for row in rows}) > 3  # several shards among the first ten rows
        firsts += rows
    # 150 draws among 200 rows: about 105 different ones.
    assert len(set(firsts)) > 80 and max(firsts) > 190 and min(firsts) < 10


def test_an_error_while_reading_reaches_the_consumer(tmp_path):
    prepared = all_train(tmp_path, numbered([4] * 9))
    dataset = prepared.batches(batch_size=2, max_length=4)
    (prepared.folder / "shards" / "part-00001.parquet").write_bytes(b"nothing")
    with pytest.raises(tf.errors.OpError, match=r"part-00001.parquet must have \d+ bytes"):
        epoch(dataset)
