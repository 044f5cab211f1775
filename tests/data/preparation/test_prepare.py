import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from prepare_log import (
    dropped,
    examples_of,
    in_memory,
    items_of,
    log,
    prepare_log,
    random_log,
    rows_of,
    shards_of,
    train_of,
)

from keras_negrec.data import (
    Vocabulary,
    leave_one_out,
    load_prepared,
    prepare,
    read_kuairand,
    register_event_column,
)
from keras_negrec.data.event_columns import EVENT_COLUMNS


def assert_equals_in_memory(frame, folder):
    """Rows, vocabulary and split are those of the in-memory path, event for event."""
    vocabulary, sessions = in_memory(frame)
    written, prepared = rows_of(folder), load_prepared(folder)
    assert prepared.vocabulary == vocabulary
    assert prepared.column_names == sessions.column_names
    assert [row["key"] for row in written] == sessions.keys.tolist()
    assert [len(row["item_ids"]) for row in written] == sessions.lengths.tolist()
    for name, values in sessions.columns.items():
        if name != "request_timestamps":  # which is made of the others, and not stored
            np.testing.assert_array_equal(np.concatenate([row[name] for row in written]), values)
    split, expected = prepared.split(), leave_one_out(sessions)
    assert split.train.fingerprint() == expected.train.fingerprint()
    for part in ("validation", "test"):
        assert getattr(split, part).fingerprint() == getattr(expected, part).fingerprint()


USERS = random_log(3, users=True, times=True)
TIES = random_log(5).assign(position=lambda f: f["position"] // 3)


@pytest.mark.parametrize(
    ("frame", "group_by"),
    [
        (random_log(1), "session"),
        (random_log(1, integers=True), "session"),
        (random_log(2, times=True).drop(columns="position"), "session"),
        (random_log(4).drop(columns="position"), "session"),  # in the order of the table
        (TIES.drop_duplicates(["session", "position", "item"]).reset_index(drop=True), "session"),
        (USERS, "user"),
        (USERS.drop(columns="position"), "user"),
        (USERS.drop(columns="timestamp"), "user"),
        (USERS.drop(columns=["position", "timestamp"]), "user"),
    ],
)
def test_sessions_equal_those_in_memory(tmp_path, frame, group_by):
    prepare_log(frame, tmp_path / "out", group_by=group_by)
    assert_equals_in_memory(frame, tmp_path / "out")
    assert ("session_ids" in load_prepared(tmp_path / "out").manifest["columns"]) == (
        group_by == "user"
    )


def test_kuairand_as_it_was_published(tmp_path, shared_data):
    path = shared_data / "kuairand_pure_labelled.parquet"
    manifest = prepare(path, tmp_path / "out", format="kuairand", verbose=False)
    kept = {"events": 1_039_631, "sessions": 27_077, "rows": 27_077, "items": 7_502}
    assert manifest["counts"]["kept"] == kept and dropped(manifest) == []
    assert manifest["negative_share"] == pytest.approx(0.6505, abs=5e-5)
    assert_equals_in_memory(read_kuairand(path), tmp_path / "out")


def test_files_and_types(tmp_path):
    prepare_log(random_log(1, users=True), tmp_path / "out", group_by="user")
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    shards = {"shards", "shards/part-00000.parquet", "shards/part-00001.parquet"}
    assert names == {"items.parquet", "manifest.json", "vocabulary.json", *shards}
    schema = {field.name: str(field.type) for field in shards_of(tmp_path / "out")[0].schema}
    assert schema == {
        "key": "string",
        "item_ids": "list<element: int32>",
        "feedback": "list<element: int8>",
        "session_ids": "list<element: int32>",
        **dict.fromkeys(("train_end", "validation_at", "test_at"), "int32"),
    }


def test_items_have_their_counts(tmp_path):
    prepare_log(log(("s", "a+ b- a+ c+ b+"), ("t", "b+ a-")), tmp_path / "out")
    # s trains on a b a; t, with one positive, on all.
    assert pq.read_table(tmp_path / "out/items.parquet").to_pydict() == {
        "id": [1, 2, 3],
        "item": ["a", "b", "c"],
        "count": [3, 3, 1],
        "train_count": [3, 2, 0],
        "train_positive_count": [2, 1, 0],
    }


def test_held_out_events_have_no_say_in_the_order_of_items(tmp_path):
    frame = log(("s", "b+ a+ z+ z+"), ("t", "b+ z+ y+"), ("u", "b+ z+ y+"))
    prepare_log(frame, tmp_path / "out")
    # b trains three times and a once; z is in the log most often, and never trains.
    assert Vocabulary.load(tmp_path / "out/vocabulary.json").items.tolist() == list("bayz")


def test_the_manifest_counts_what_is_there(tmp_path):
    frame, out = random_log(1), tmp_path / "out"
    manifest = prepare_log(frame, out, num_shards=3)
    assert manifest == load_prepared(out).manifest
    for shard, table in zip(manifest["shards"], shards_of(out), strict=True):
        assert shard["bytes"] == (out / shard["file"]).stat().st_size
        assert shard["rows"] == len(table)
        assert shard["events"] == sum(map(len, table["item_ids"].to_pylist()))
    kept = {"events": len(frame), "sessions": 60, "rows": 60, "items": frame["item"].nunique()}
    assert manifest["counts"]["kept"] == kept and dropped(manifest) == []
    feedback = frame["feedback"].value_counts()
    assert manifest["feedback"] == {str(value): feedback[value] for value in range(-2, 3)}
    assert manifest["negative_share"] == pytest.approx((frame["feedback"] < 0).mean())
    train = train_of(out)
    trained = {item for items in train.values() for item in items}
    events = sum(map(len, train.values()))
    assert manifest["split"]["train"] == {"rows": len(train), "events": events}
    for part in ("validation", "test"):
        examples = examples_of(out, part).values()
        assert manifest["split"][part] == {
            "examples": len(examples),
            "with_skip": sum(skip is not None for _, _, skip in examples),
            "targets_not_in_training": sum(target not in trained for _, target, _ in examples),
        }


def test_the_order_of_the_log_changes_nothing(tmp_path):
    frame = random_log(1)
    prepare_log(frame, tmp_path / "a")
    prepare_log(frame.iloc[::-1], tmp_path / "b")
    for name in ("shards/part-00000.parquet", "shards/part-00001.parquet", "vocabulary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_seed_draws_the_order(tmp_path):
    for seed in (0, 1):
        prepare_log(random_log(1), tmp_path / str(seed), seed=seed, num_shards=1)
    orders = [shards_of(tmp_path / str(seed))[0]["key"].to_pylist() for seed in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_a_shard_without_rows_is_there_too(tmp_path):
    manifest = prepare_log(log(("s", "a+ b+ c+")), tmp_path / "out", num_shards=5)
    assert sorted(shard["rows"] for shard in manifest["shards"]) == [0, 0, 0, 0, 1]
    assert len(shards_of(tmp_path / "out")) == 5


def duplicated():
    frame = log(("s", "a+ b- c+ d+"), ("t", "a+ b+ c+"))
    again = frame.iloc[[1, 1, 5]].assign(feedback=[-1, 2, -1])
    return pd.concat([frame, again], ignore_index=True)


def test_duplicates_are_dropped_and_the_strongest_feedback_stays(tmp_path):
    manifest = prepare_log(duplicated(), tmp_path / "out")
    assert items_of(tmp_path / "out") == {"s": list("abcd"), "t": list("abc")}
    # b was skipped twice and liked once in s; kept and skipped in t.
    feedback = {row["key"]: row["feedback"] for row in rows_of(tmp_path / "out")}
    assert feedback == {"s": [1, 2, 1, 1], "t": [1, -1, 1]}
    assert dropped(manifest) == [("duplicate events", 3, 0, 0)]


def test_duplicates_stay_or_raise_where_asked(tmp_path):
    manifest = prepare_log(duplicated(), tmp_path / "out", duplicates="keep")
    assert manifest["counts"]["kept"]["events"] == 10
    assert manifest["counts"]["odd"] == {"duplicate events": 3}
    with pytest.raises(ValueError, match=r"3 events are duplicates.* position .* session 's'"):
        prepare_log(duplicated(), tmp_path / "raise", duplicates="raise")
    # One item at two positions is none.
    prepare_log(log(("s", "a+ a+ a+")), tmp_path / "again", duplicates="raise")


def test_rare_items(tmp_path):
    frame = log(("s", "a+ b+ c+ a+"), ("t", "a+ c+ b+ x+"), ("u", "x- y-"), ("v", "z+"))
    manifest = prepare_log(frame, tmp_path / "out", min_item_count=2)
    assert items_of(tmp_path / "out") == {"s": list("abca"), "t": list("acbx"), "u": ["x"]}
    assert dropped(manifest) == [("items with fewer than 2 events", 2, 1, 2)]


def test_short_sessions_after_rare_items(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+ b+ x+"), ("u", "c+ a+ b+"), ("v", "a+"))
    manifest = prepare_log(frame, tmp_path / "out", min_item_count=2, min_session_length=3)
    assert set(items_of(tmp_path / "out")) == {"s", "u"}
    short = ("sessions with fewer than 3 events", 3, 2, 0)
    assert dropped(manifest) == [("items with fewer than 2 events", 1, 0, 1), short]


@pytest.mark.parametrize(
    ("require", "kept", "reasons"),
    [
        (None, "stuv", []),
        ("any", "stu", [("sessions without any feedback", 2, 1, 1)]),
        ("negative", "tu", [("sessions without negative feedback", 6, 2, 3)]),
        ("both", "u", [("sessions without both negative and positive feedback", 8, 3, 3)]),
    ],
)
def test_sessions_without_feedback(tmp_path, require, kept, reasons):
    frame = log(("s", "a+ b0 c+ d+"), ("t", "a- b0"), ("u", "a! b+"), ("v", "a0 e0"))
    manifest = prepare_log(frame, tmp_path / "out", require_feedback=require, split=None)
    assert set(items_of(tmp_path / "out")) == set(kept)
    assert dropped(manifest) == reasons


def test_core_takes_several_rounds(tmp_path):
    # x is rare, without it t is short, without t y is rare, and without y u is short.
    whole = [(key, "a+ b+ c+") for key in "rsv"]
    manifest = prepare_log(log(*whole, ("t", "x+ y+"), ("u", "y+ a+")), tmp_path / "out", k_core=2)
    assert set(items_of(tmp_path / "out")) == {"r", "s", "v"}
    assert dropped(manifest) == [("items and sessions outside of the 2-core", 4, 2, 2)]


def test_rare_items_are_counted_without_duplicates(tmp_path):
    frame = log(("s", "a+ b+ a+ b+ x+"))
    frame = pd.concat([frame, frame.tail(1)], ignore_index=True)
    prepare_log(frame, tmp_path / "out", min_item_count=2)
    assert items_of(tmp_path / "out") == {"s": list("abab")}


def test_short_sessions_of_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+"), ("u", "a+ b+")).assign(user=1)
    prepare_log(frame, tmp_path / "out", group_by="user", min_session_length=2)
    [row] = rows_of(tmp_path / "out")
    assert row["session_ids"] == [0, 0, 0, 1, 1]


def test_core_against_a_loop(tmp_path):
    frame = random_log(7, users=True, times=True, num_sessions=80)
    core, size = frame, None
    while len(core) != size:
        size = len(core)
        for column in ("item", "user"):
            core = core[core.groupby(column)[column].transform("size") >= 9]
    assert 0 < len(core) < len(frame) - 20
    prepare_log(frame, tmp_path / "out", k_core=9, group_by="user")
    assert_equals_in_memory(core, tmp_path / "out")


def test_a_gap_splits_a_session(tmp_path):
    frame = log(("s", "a+ b+ c+ d+ e+ f+"), ("t", "a+")).drop(columns="position")
    frame["timestamp"] = [0, 100, 201, 300, 300, 401, 7]
    prepare_log(frame, tmp_path / "out", session_gap=100)
    parts = {"s_0": ["a", "b"], "s_1": ["c", "d", "e"], "s_2": ["f"], "t_0": ["a"]}
    assert items_of(tmp_path / "out") == parts


def test_a_gap_splits_the_sessions_of_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "d+")).assign(user="u", timestamp=[0, 10, 60, 30])
    prepare_log(frame, tmp_path / "out", session_gap=20, group_by="user")
    [row] = rows_of(tmp_path / "out")
    assert items_of(tmp_path / "out") == {"u": ["a", "b", "d", "c"]}
    assert row["session_ids"] == [0, 0, 1, 2]


def test_windows_of_long_rows_are_those_in_memory(tmp_path):
    frame = random_log(8, users=True, times=True)
    manifest = prepare_log(frame, tmp_path / "out", group_by="user", max_length=7)
    _, sessions = in_memory(frame)
    assert dropped(manifest) == []

    def rows(sessions):
        columns = np.stack([sessions.item_ids, sessions.feedback], axis=1)
        parts = np.split(columns, sessions.row_splits[1:-1])
        return sorted(zip(sessions.keys.tolist(), [part.tolist() for part in parts], strict=True))

    expected = leave_one_out(sessions).train.windows(7)
    assert rows(load_prepared(tmp_path / "out").sessions()) == rows(expected)


@pytest.mark.parametrize("long_rows", ["windows", "newest"])
def test_long_rows_leave_targets_as_they_are(tmp_path, long_rows):
    frame = random_log(8, users=True, times=True)
    prepare_log(frame, tmp_path / "all", group_by="user")
    prepare_log(frame, tmp_path / "out", group_by="user", max_length=7, long_rows=long_rows)
    for part in ("validation", "test"):
        whole, short = examples_of(tmp_path / "all", part), examples_of(tmp_path / "out", part)
        assert whole.keys() == short.keys()
        for key, (history, *targets) in whole.items():
            newest, *same_targets = short[key]
            assert same_targets == targets
            assert len(newest) >= min(7, len(history))
            assert newest == history[-len(newest) :]


def test_older_events_are_dropped_and_counted(tmp_path):
    frame = log(("s", "x+ a+ b+ c+ d+"), ("t", "a+ b- c+"))
    manifest = prepare_log(frame, tmp_path / "out", max_length=2, long_rows="newest")
    assert items_of(tmp_path / "out") == {"s": list("abcd"), "t": list("bc")}
    assert dropped(manifest) == [("older than the last 2 events of long rows", 2, 0, 0)]
    # x is gone with its only event, and a has lost one.
    assert Vocabulary.load(tmp_path / "out/vocabulary.json").items.tolist() == list("bacd")


def test_rows_that_do_not_train_give_no_windows(tmp_path):
    settings = {"split": "session", "validation_share": 0.3, "test_share": 0.3}
    prepare_log(random_log(9), tmp_path / "out", max_length=2, **settings)
    held_out = [row for row in rows_of(tmp_path / "out") if not row["train_end"]]
    assert held_out and train_of(tmp_path / "out").keys().isdisjoint(row["key"] for row in held_out)
    assert all(max(row["validation_at"], row["test_at"]) <= 2 for row in held_out)


@pytest.fixture
def further_columns():
    register_event_column("device", log_column="device_id", dtype="int16")
    register_event_column("seconds", dtype="float32")
    yield
    for name in ("device", "seconds"):
        EVENT_COLUMNS.pop(name, None)


@pytest.mark.parametrize("by", [["position"], ["timestamp"], []], ids=str)
def test_registered_columns_reach_shards_and_batches(tmp_path, further_columns, by):
    frame = random_log(11, users=True, times=True)
    frame["device_id"] = np.arange(len(frame)) % 300
    frame["seconds"] = np.arange(len(frame)) / 4
    frame = frame.drop(columns=[name for name in ("position", "timestamp") if name not in by])
    manifest = prepare_log(frame, tmp_path / "out", group_by="user")
    columns = ["item_ids", "feedback", "session_ids", "device", "seconds"]
    assert manifest["columns"] == columns[:3] + ["timestamps"] * ("timestamp" in by) + columns[3:]
    assert str(shards_of(tmp_path / "out")[0].schema.field("seconds").type.value_type) == "float"
    assert_equals_in_memory(frame, tmp_path / "out")
    prepared = load_prepared(tmp_path / "out")
    rows = prepared.sessions()
    [batch] = prepared.batches(batch_size=len(rows), max_length=200, shuffle=False)
    for name, dtype in (("seconds", "float32"), ("device", "int32")):
        assert batch[name].dtype == dtype
        assert sorted(batch[name][batch["item_ids"] > 0].numpy()) == sorted(rows.columns[name])


def test_a_folder_with_a_column_that_is_not_known_here(tmp_path, further_columns):
    prepare_log(random_log(1).assign(seconds=3), tmp_path / "out")
    del EVENT_COLUMNS["seconds"]
    with pytest.raises(
        ValueError, match=r"holds the column 'seconds'. Make it known before: .*\('"
    ):
        load_prepared(tmp_path / "out")
