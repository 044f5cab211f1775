import json

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import append, load_prepared, prepare
from keras_negrec.data.preparation import append as module

COLUMNS = {"session": "session", "item": "item", "feedback": "feedback", "position": "position"}


def log(rows, first=0):
    """A table of a row of items for each session, of which every third was skipped."""
    return pd.DataFrame(
        [
            {"session": first + n, "position": i, "item": item, "feedback": -1 if i % 3 == 1 else 1}
            for n, row in enumerate(rows)
            for i, item in enumerate(row)
        ]
    )


MONDAY = log([["a", "b", "c", "a"], ["b", "a", "d", "b"], ["a", "c", "b", "a"]])
TUESDAY = log([["c", "x", "a"], ["x", "y", "x", "b"]], first=10)


@pytest.fixture
def folder(tmp_path):
    prepare(MONDAY, tmp_path / "log", format_options=COLUMNS, num_shards=2, verbose=False)
    return tmp_path / "log"


def add(source, folder, **options):
    return append(source, folder, verbose=False, **options)


def test_all_is_there_with_its_ids(folder):
    before = load_prepared(folder)
    manifest = add(TUESDAY, folder)
    after = load_prepared(folder)
    known = before.vocabulary.items.tolist()
    assert after.vocabulary.items.tolist() == [*known, "x", "y"]
    for part in ("validation", "test"):
        assert after.examples(part).fingerprint() == before.examples(part).fingerprint()
    rows = after.sessions()
    found = {
        key: after.vocabulary.decode(ids).tolist()
        for key, ids in zip(rows.keys, np.split(rows.item_ids, rows.row_splits[1:-1]), strict=True)
    }
    assert found[10] == ["c", "x", "a"] and found[11] == ["x", "y", "x", "b"]
    old = before.sessions()
    assert rows.take(np.arange(len(old))).fingerprint() == old.fingerprint()
    for name, positive in (("train_count", False), ("train_positive_count", True)):
        counted = rows.item_counts(len(after.vocabulary), positive)
        assert after.items[name].tolist() == counted.tolist()
    assert after.items["count"].sum() == len(MONDAY) + len(TUESDAY)
    assert manifest["counts"]["kept"] == {"events": 19, "sessions": 5, "rows": 5, "items": 6}
    assert manifest["split"]["train"]["events"] == rows.num_events
    assert manifest["negative_share"] == pytest.approx(
        np.mean([*MONDAY.feedback, *TUESDAY.feedback] == np.array(-1))
    )
    [part] = manifest["parts"]
    assert (part["rows"], part["events"], part["items"]) == (2, 7, 2)
    assert manifest == json.loads((folder / "manifest.json").read_text("utf-8"))


def test_only_the_new_part_is_read_and_only_once(tmp_path, capsys):
    for name, events in (("monday", MONDAY), ("tuesday", TUESDAY)):
        events.to_csv(tmp_path / f"{name}.csv", index=False)
    prepare(tmp_path / "monday.csv", tmp_path / "log", format_options=COLUMNS, verbose=False)
    (tmp_path / "monday.csv").unlink()
    append(tmp_path / "tuesday.csv", tmp_path / "log")
    assert capsys.readouterr().out == "log: 2 rows, 7 events, 2 new items\n"
    first = json.loads((tmp_path / "log" / "manifest.json").read_text("utf-8"))
    append(tmp_path / "tuesday.csv", tmp_path / "log")
    assert capsys.readouterr().out == "log: holds this part already\n"
    assert json.loads((tmp_path / "log" / "manifest.json").read_text("utf-8")) == first


def test_the_folder_is_as_before_where_it_fails(folder, monkeypatch):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("_add_counts", "write_manifest", "publish"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                add(TUESDAY, folder)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["log"]
    add(TUESDAY, folder)


def test_filters_of_a_whole_log_are_not_for_a_part_and_those_of_sessions_are(tmp_path):
    options = {"min_item_count": 2, "min_session_length": 3, "verbose": False}
    prepare(MONDAY, tmp_path / "log", format_options=COLUMNS, split=None, **options)
    assert "d" not in load_prepared(tmp_path / "log").vocabulary.items
    manifest = add(pd.concat([TUESDAY, log([["a", "b"]], first=20)]), tmp_path / "log")
    assert "y" in load_prepared(tmp_path / "log").vocabulary.items
    assert manifest["counts"]["kept"]["sessions"] == 5
    assert sum(drop["events"] for drop in manifest["counts"]["dropped"]) == 3


def was_skipped(table):
    return table.feedback.cast("int8")


def test_rules_that_are_functions_are_given_again(tmp_path):
    options = COLUMNS | {"feedback": was_skipped}
    prepare(MONDAY, tmp_path / "log", format_options=options, verbose=False)
    add(TUESDAY, tmp_path / "log", format_options=options)
    with pytest.raises(ValueError, match="`format_options` must be those of the folder"):
        add(log([["a"]], first=30), tmp_path / "log", format_options=COLUMNS)


def test_what_cannot_be_appended(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="one that `prepare` has written"):
        add(TUESDAY, tmp_path / "other")
    numbers = TUESDAY.assign(item=[1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(TypeError, match="The vocabulary holds strings"):
        add(numbers, folder)
    assert load_prepared(folder).manifest["parts"] == []
    with pytest.raises(TypeError, match=r"a path, a list of paths or a DataFrame. Received .* int"):
        add(3, folder)
    with pytest.raises(FileNotFoundError, match=r"has written, and it has no manifest.json"):
        add(TUESDAY, tmp_path)
    shard = next((folder / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{shard.name} must have .* bytes by the manifest"):
        add(TUESDAY, folder)


def test_bad_rows_of_a_part_are_left_out_where_asked_for(folder):
    bad = TUESDAY.assign(feedback=[1, 7, 1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match='errors="skip"'):
        add(bad, folder)
    manifest = add(bad, folder, errors="skip")
    assert manifest["parts"][0]["events"] == len(bad) - 1


def test_a_repair_says_what_has_to_be_appended_again(folder):
    add(TUESDAY, folder)
    shard = next((folder / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[::-1])
    again = {"format_options": COLUMNS, "num_shards": 2, "verbose": False, "overwrite": True}
    with pytest.warns(UserWarning, match="What had been appended to .*: append it again. Parts: 1"):
        manifest = prepare(MONDAY, folder, **again)
    assert manifest["parts"] == []
    add(TUESDAY, folder)
    assert len(load_prepared(folder).sessions()) == 5


def test_the_newest_part_with_some_of_the_older_ones(folder):
    assert (
        load_prepared(folder).newest().sessions().num_events
        == load_prepared(folder).sessions().num_events
    )
    for number in range(4):
        add(log([["a", "b", "z"]] * 5, first=100 + 10 * number), folder)
    prepared = load_prepared(folder)
    assert prepared.newest(replay=0).sessions().keys.tolist() == [130, 131, 132, 133, 134]
    some = prepared.newest(replay=1.0, seed=3)
    assert {130, 134} <= set(some.sessions().keys) and 20 <= some.sessions().num_events < 45
    counts = some.item_counts(len(prepared.vocabulary))
    assert counts.tolist() == some.sessions().item_counts(len(prepared.vocabulary)).tolist()
    assert repr(some).startswith("<Prepared: 10 of 23 rows in 2 shards")
    assert some.fingerprint() != prepared.newest(replay=0).fingerprint()
    everything = prepared.newest(replay=100.0)
    assert everything.sessions().fingerprint() == prepared.sessions().fingerprint()
    drawn = (prepared.newest(replay=1.0, seed=seed).sessions() for seed in range(8))
    assert len({tuple(rows.keys) for rows in drawn}) > 1
    with pytest.raises(ValueError, match="`replay` must be a number of at least 0"):
        prepared.newest(replay=-1)
    with pytest.raises(ValueError, match=r"`seed` must be an integer of at least 0. Received: -1"):
        prepared.newest(seed=-1)
