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
    manifest_of,
    once,
    prepare_log,
    random_log,
    rows_of,
    sessions_of,
    shards_of,
    train_of,
    triples,
)

from keras_negrec.data import Vocabulary, leave_one_out, load_prepared, register_event_column
from keras_negrec.data.event_columns import EVENT_COLUMNS

pytestmark = once


def assert_equals_in_memory(frame, folder):
    """Rows, vocabulary and split are those of the in-memory path, event for event."""
    vocabulary, sessions = in_memory(frame)
    assert Vocabulary.load(folder / "vocabulary.json") == vocabulary
    written = sessions_of(folder)
    assert written.keys.tolist() == sessions.keys.tolist()
    assert written.fingerprint() == sessions.fingerprint()
    assert (written.session_ids is None) == (sessions.session_ids is None)
    split = leave_one_out(sessions)
    expected = np.split(split.train.item_ids, split.train.row_splits[1:-1])
    trained = {key: items for key, (items, _) in train_of(folder).items()}
    assert trained == {
        key: items.tolist()
        for key, items in zip(split.train.keys.tolist(), expected, strict=True)
        if len(items)
    }
    assert examples_of(folder, "validation") == triples(split.validation)
    assert examples_of(folder, "test") == triples(split.test)


# --- the same as in memory ---


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
    assert ("session_ids" in manifest_of(tmp_path / "out")["columns"]) == (group_by == "user")


def test_skips_between_two_positives_are_skip_targets(tmp_path):
    prepare_log(log(("s", "a+ b+ c- d+ e- f+ g-")), tmp_path / "out")
    [row] = rows_of(tmp_path / "out")
    assert (row["train_end"], row["validation_at"], row["test_at"]) == (2, 2, 4)


# --- the files ---


def test_files_and_types(tmp_path):
    prepare_log(random_log(1, users=True), tmp_path / "out", group_by="user")
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert names == [
        "out",
        "out/items.parquet",
        "out/manifest.json",
        "out/shards",
        "out/shards/part-00000.parquet",
        "out/shards/part-00001.parquet",
        "out/vocabulary.json",
    ]
    schema = {field.name: str(field.type) for field in shards_of(tmp_path / "out")[0].schema}
    assert schema == {
        "key": "string",
        "item_ids": "list<element: int32>",
        "feedback": "list<element: int8>",
        "session_ids": "list<element: int32>",
        "train_end": "int32",
        "validation_at": "int32",
        "test_at": "int32",
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


def test_integer_keys_and_items_stay_integers(tmp_path):
    prepare_log(random_log(1, integers=True), tmp_path / "out")
    assert str(shards_of(tmp_path / "out")[0].schema.field("key").type) == "int64"
    table = pq.read_table(tmp_path / "out/items.parquet")
    assert [str(table.schema.field(name).type) for name in ("id", "item")] == ["int32", "int64"]


def test_the_manifest_counts_what_is_there(tmp_path):
    frame = random_log(1)
    manifest = prepare_log(frame, tmp_path / "out", num_shards=3)
    assert manifest == manifest_of(tmp_path / "out")
    shards = shards_of(tmp_path / "out")
    assert [shard["rows"] for shard in manifest["shards"]] == [len(shard) for shard in shards]
    sizes = [(tmp_path / "out" / shard["file"]).stat().st_size for shard in manifest["shards"]]
    assert [shard["bytes"] for shard in manifest["shards"]] == sizes
    events = [sum(map(len, shard["item_ids"].to_pylist())) for shard in shards]
    assert [shard["events"] for shard in manifest["shards"]] == events
    assert sum(events) == len(frame) == manifest["counts"]["kept"]["events"]
    assert manifest["counts"]["kept"]["rows"] == frame["session"].nunique()
    assert manifest["counts"]["kept"]["items"] == frame["item"].nunique()
    assert manifest["counts"]["dropped"] == []
    feedback = frame["feedback"].value_counts()
    assert manifest["feedback"] == {str(value): feedback[value] for value in range(-2, 3)}
    assert manifest["negative_share"] == pytest.approx((frame["feedback"] < 0).mean())
    for part in ("validation", "test"):
        examples = examples_of(tmp_path / "out", part)
        assert manifest["split"][part]["examples"] == len(examples)
        with_skip = sum(skip > 0 for _, _, skip in examples.values())
        assert manifest["split"][part]["with_skip"] == with_skip
    train = train_of(tmp_path / "out")
    assert manifest["split"]["train"] == {
        "rows": len(train),
        "events": sum(len(items) for items, _ in train.values()),
    }


def test_targets_that_no_training_row_holds_are_counted(tmp_path):
    manifest = prepare_log(log(("s", "a+ b+ c+"), ("t", "a+ c+ b+")), tmp_path / "out")
    # Both train on a alone: b and c are targets that never trained.
    assert manifest["split"]["validation"]["targets_not_in_training"] == 2
    assert manifest["split"]["test"]["targets_not_in_training"] == 2


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


# --- duplicates ---


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
    assert manifest["counts"]["dropped"] == [
        {"reason": "duplicate events", "events": 3, "sessions": 0, "items": 0}
    ]
    assert manifest["counts"]["kept"]["events"] == 7


def test_duplicates_stay_or_raise_where_asked(tmp_path):
    manifest = prepare_log(duplicated(), tmp_path / "out", duplicates="keep")
    assert manifest["counts"]["kept"]["events"] == 10
    assert manifest["counts"]["odd"] == {"duplicate events": 3}
    with pytest.raises(ValueError, match=r"3 events are duplicates.* position .* session 's'"):
        prepare_log(duplicated(), tmp_path / "raise", duplicates="raise")


def test_one_item_at_two_positions_is_no_duplicate(tmp_path):
    manifest = prepare_log(log(("s", "a+ a+ a+")), tmp_path / "out", duplicates="raise")
    assert manifest["counts"]["kept"]["events"] == 3


# --- filters ---


def test_rare_items(tmp_path):
    frame = log(("s", "a+ b+ c+ a+"), ("t", "a+ c+ b+ x+"), ("u", "x- y-"))
    manifest = prepare_log(frame, tmp_path / "out", min_item_count=2)
    assert items_of(tmp_path / "out") == {"s": list("abca"), "t": list("acbx"), "u": ["x"]}
    assert dropped(manifest) == [("items with fewer than 2 events", 1, 0, 1)]


def test_rare_items_are_counted_without_duplicates(tmp_path):
    frame = log(("s", "a+ b+ a+ b+ x+"))
    frame = pd.concat([frame, frame.tail(1)], ignore_index=True)
    prepare_log(frame, tmp_path / "out", min_item_count=2)
    assert items_of(tmp_path / "out") == {"s": list("abab")}


def test_short_sessions(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+ x+"), ("u", "x+"))
    manifest = prepare_log(frame, tmp_path / "out", min_session_length=3)
    assert items_of(tmp_path / "out") == {"s": list("abc")}
    assert dropped(manifest) == [("sessions with fewer than 3 events", 3, 2, 1)]


def test_short_sessions_of_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+"), ("u", "a+ b+")).assign(user=1)
    prepare_log(frame, tmp_path / "out", group_by="user", min_session_length=2)
    [row] = rows_of(tmp_path / "out")
    assert row["session_ids"] == [0, 0, 0, 1, 1]


def test_items_are_filtered_before_sessions(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "a+ b+ x+"), ("u", "c+ a+ b+"))
    prepare_log(frame, tmp_path / "out", min_item_count=2, min_session_length=3)
    assert set(items_of(tmp_path / "out")) == {"s", "u"}


@pytest.mark.parametrize(
    ("require", "kept", "reason"),
    [
        (None, "stuv", None),
        ("any", "stu", "sessions without any feedback"),
        ("negative", "tu", "sessions without negative feedback"),
        ("both", "u", "sessions without both negative and positive feedback"),
    ],
)
def test_sessions_without_feedback(tmp_path, require, kept, reason):
    frame = log(("s", "a+ b0 c+ d+"), ("t", "a- b0"), ("u", "a! b+"), ("v", "a0 b0"))
    manifest = prepare_log(frame, tmp_path / "out", require_feedback=require, split=None)
    assert set(items_of(tmp_path / "out")) == set(kept)
    assert [drop[0] for drop in dropped(manifest)] == [reason] * (reason is not None)


def test_core_takes_several_rounds(tmp_path):
    # x is rare, without it t is short, without t y is rare, and without y u is short.
    frame = log(
        ("r", "a+ b+ c+"), ("s", "a+ b+ c+"), ("t", "x+ y+"), ("u", "y+ a+"), ("v", "a+ b+ c+")
    )
    manifest = prepare_log(frame, tmp_path / "out", k_core=2)
    assert set(items_of(tmp_path / "out")) == {"r", "s", "v"}
    assert dropped(manifest) == [("items and sessions outside of the 2-core", 4, 2, 2)]


def test_core_against_a_loop(tmp_path):
    frame = random_log(7, users=True, times=True, num_sessions=80)
    core = frame
    while True:
        smaller = core[core.groupby("item")["item"].transform("size") >= 9]
        smaller = smaller[smaller.groupby("user")["user"].transform("size") >= 9]
        if len(smaller) == len(core):
            break
        core = smaller
    assert 0 < len(core) < len(frame) - 20
    prepare_log(frame, tmp_path / "out", k_core=9, group_by="user")
    assert_equals_in_memory(core, tmp_path / "out")


def test_everything_dropped_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"Nothing remains of 3 events.*3 events dropped: sessions"
    ):
        prepare_log(log(("s", "a+ b+ c+")), tmp_path / "out", min_session_length=4)
    assert list(tmp_path.iterdir()) == []


# --- gaps ---


def test_a_gap_parts_a_session(tmp_path):
    frame = log(("s", "a+ b+ c+ d+ e+ f+"), ("t", "a+"))
    frame["timestamp"] = [0, 100, 201, 300, 300, 401, 7]
    prepare_log(frame.drop(columns="position"), tmp_path / "out", session_gap=100)
    parts = {"s_0": ["a", "b"], "s_1": ["c", "d", "e"], "s_2": ["f"], "t_0": ["a"]}
    assert items_of(tmp_path / "out") == parts


def test_a_gap_parts_the_sessions_of_users(tmp_path):
    frame = log(("s", "a+ b+ c+"), ("t", "d+")).assign(user="u", timestamp=[0, 10, 60, 30])
    prepare_log(frame, tmp_path / "out", session_gap=20, group_by="user")
    [row] = rows_of(tmp_path / "out")
    assert items_of(tmp_path / "out") == {"u": ["a", "b", "d", "c"]}
    assert row["session_ids"] == [0, 0, 1, 2]


# --- long rows ---


def test_windows_of_long_rows_are_those_in_memory(tmp_path):
    frame = random_log(8, users=True, times=True)
    prepare_log(frame, tmp_path / "out", group_by="user", max_length=7)
    _, sessions = in_memory(frame)
    windows = leave_one_out(sessions).train.windows(7)
    assert manifest_of(tmp_path / "out")["counts"]["dropped"] == []

    def rows(key, items, feedback):
        return sorted(zip(key, items, feedback, strict=True))

    splits = windows.row_splits[1:-1]
    expected = rows(
        windows.keys.tolist(),
        [part.tolist() for part in np.split(windows.item_ids, splits)],
        [part.tolist() for part in np.split(windows.feedback, splits)],
    )
    train = [row for row in rows_of(tmp_path / "out") if row["train_end"]]
    ends = [row["train_end"] for row in train]
    assert expected == rows(
        [row["key"] for row in train],
        [row["item_ids"][:end] for row, end in zip(train, ends, strict=True)],
        [row["feedback"][:end] for row, end in zip(train, ends, strict=True)],
    )


@pytest.mark.parametrize("long_rows", ["windows", "newest"])
def test_long_rows_leave_targets_as_they_are(tmp_path, long_rows):
    frame = random_log(8, users=True, times=True)
    prepare_log(frame, tmp_path / "all", group_by="user")
    prepare_log(frame, tmp_path / "out", group_by="user", max_length=7, long_rows=long_rows)
    for part in ("validation", "test"):
        whole, short = examples_of(tmp_path / "all", part), examples_of(tmp_path / "out", part)
        decode = {
            name: Vocabulary.load(tmp_path / name / "vocabulary.json").decode
            for name in ("all", "out")
        }
        assert whole.keys() == short.keys()
        for key, (history, target, skip) in whole.items():
            cut, same_target, same_skip = short[key]
            assert decode["out"]([same_target]) == decode["all"]([target])
            assert (same_skip == 0) == (skip == 0)
            assert len(cut) >= 7 or len(cut) == len(history)
            newest = decode["all"](history)[-len(cut) :]
            assert decode["out"](cut).tolist() == newest.tolist()


def test_older_events_are_dropped_and_counted(tmp_path):
    frame = log(("s", "x+ a+ b+ c+ d+"), ("t", "a+ b- c+"))
    manifest = prepare_log(frame, tmp_path / "out", max_length=2, long_rows="newest")
    assert items_of(tmp_path / "out") == {"s": list("abcd"), "t": list("bc")}
    assert dropped(manifest) == [("older than the last 2 events of long rows", 2, 0, 0)]
    # x is gone with its only event, and a has lost one.
    assert Vocabulary.load(tmp_path / "out/vocabulary.json").items.tolist() == list("bacd")


def test_rows_that_do_not_train_give_no_windows(tmp_path):
    frame = random_log(9)
    settings = {"split": "session", "validation_share": 0.3, "test_share": 0.3}
    prepare_log(frame, tmp_path / "out", max_length=2, **settings)
    held_out = {row["key"] for row in rows_of(tmp_path / "out") if not row["train_end"]}
    assert held_out and held_out.isdisjoint(train_of(tmp_path / "out"))
    for row in rows_of(tmp_path / "out"):
        if not row["train_end"]:
            assert max(row["validation_at"], row["test_at"]) <= 2


# --- further columns of events ---


@pytest.fixture
def device_column():
    register_event_column("device", log_column="device_id", dtype="int16")
    register_event_column("seconds", dtype="float32")
    yield
    for name in ("device", "seconds"):
        del EVENT_COLUMNS[name]


@pytest.mark.parametrize("by", [["position"], ["timestamp"], []], ids=str)
def test_registered_columns_reach_shards_and_batches(tmp_path, device_column, by):
    frame = random_log(11, users=True, times=True)
    frame["device_id"] = np.arange(len(frame)) % 300
    frame["seconds"] = np.arange(len(frame)) / 4
    frame = frame.drop(columns=[name for name in ("position", "timestamp") if name not in by])
    manifest = prepare_log(frame, tmp_path / "out", group_by="user", max_length=9)
    assert manifest["columns"] == ["item_ids", "feedback", "session_ids", "device", "seconds"]
    _, sessions = in_memory(frame)
    prepared = load_prepared(tmp_path / "out")
    assert prepared.column_names == sessions.column_names
    assert str(shards_of(tmp_path / "out")[0].schema.field("seconds").type.value_type) == "float"
    windows = leave_one_out(sessions).train.windows(9)
    found = prepared.sessions()
    tables = [pd.DataFrame(dict(rows.columns)) for rows in (found, windows)]
    names = ["item_ids", "device", "seconds"]
    pd.testing.assert_frame_equal(*(t[names].sort_values(names, ignore_index=True) for t in tables))
    [batch] = prepared.batches(batch_size=len(found), max_length=9, shuffle=False)
    expected = found.padded(9)
    assert batch["seconds"].dtype == "float32" and batch["device"].dtype == "int32"
    for name in ("device", "seconds"):
        assert sorted(batch[name].numpy().ravel()) == sorted(expected[name].ravel())


def test_a_folder_with_a_column_that_is_not_known_here(tmp_path):
    register_event_column("device")
    prepare_log(random_log(1).assign(device=3), tmp_path / "out")
    del EVENT_COLUMNS["device"]
    with pytest.raises(ValueError, match=r"holds the column 'device'. Make it known before: .*\('"):
        load_prepared(tmp_path / "out")
