import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prepared_folder import file_in, write_manifest, write_prepared
from toy_sessions import toy_sessions

from keras_negrec.data import Sessions, Vocabulary, load_prepared

SHARD = "shards/part-00000.parquet"
REPAIR = "Run `prepare` again .* overwrite=True"


@pytest.fixture
def folder(tmp_path):
    return write_prepared(tmp_path / "prepared", toy_sessions(10))


def test_a_whole_folder(folder):
    prepared = load_prepared(str(folder))
    assert prepared.vocabulary == Vocabulary([f"item {i}" for i in range(1, 11)])
    assert prepared.manifest["schema_version"] == 3
    assert repr(prepared) == "<Prepared: 10 rows, 120 events in 2 shards, 10 items>"


def rewrite(folder, change):
    """Replaces a shard and tells the manifest of it."""
    pq.write_table(change(pq.read_table(folder / SHARD)), folder / SHARD, row_group_size=3)
    first, *others = json.loads((folder / "manifest.json").read_text())["shards"]
    write_manifest(folder, shards=[first | file_in(folder, SHARD), *others])


def unlink(name):
    return lambda folder: (folder / name).unlink()


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def replace(name, text, other):
    return lambda f: (f / name).write_text((f / name).read_text().replace(text, other))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (shutil.rmtree, FileNotFoundError, "There is no such folder"),
        (unlink("manifest.json"), FileNotFoundError, f"has no manifest.json.*{REPAIR}"),
        (write("manifest.json", "{"), ValueError, f"manifest.json cannot be read as .*{REPAIR}"),
        (write("manifest.json", "[1]"), ValueError, "manifest.json must hold .* Received: a list"),
        (lambda f: write_manifest(f, schema_version=2), ValueError, f"3. {REPAIR}.*Received: 2"),
        (write("manifest.json", '{"schema_version": 3}'), ValueError, "json: `shards` is missing"),
        (replace("manifest.json", "events", "event"), ValueError, f"json is damaged.*{REPAIR}"),
        (replace("manifest.json", "sha256", "sha257"), ValueError, "json"),
        (unlink("vocabulary.json"), FileNotFoundError, "names a file .* not there: .*vocabulary"),
        (replace("vocabulary.json", "item 1", "item 0"), ValueError, "vocabulary.json is damaged"),
        (unlink("items.parquet"), FileNotFoundError, "names a file that is not there: .*items.par"),
        (unlink(SHARD), FileNotFoundError, f"not there: .*part-00000.parquet. {REPAIR}"),
        (write(SHARD, ""), ValueError, rf"0.parquet must have \d+ bytes .*{REPAIR}.* Received: 0"),
        (write("shards/part-00007.parquet", ""), ValueError, "does not name.* part-00007.parquet"),
    ],
)
def test_a_folder_that_is_not_whole(folder, damage, error, message):
    damage(folder)
    with pytest.raises(error, match=message):
        load_prepared(folder)


def with_column(name, values, kind=None):
    def change(table):
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pa.array(values(table[name].to_pylist()), kind))

    return change


def without_first(rows):
    return [None, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["feedback"]), "column 'feedback' is missing"),
        (
            with_column("item_ids", lambda rows: [[11, *row[1:]] for row in rows]),
            r"row group 0: item ids must lie in 1\.\.10, the vocabulary. Received: 11",
        ),
        (
            with_column("feedback", lambda rows: [rows[0], rows[1][1:], *rows[2:]]),
            "row 1: `feedback` must have as many values as `item_ids`, 12. Received: 11",
        ),
        (
            with_column("feedback", without_first),
            r"column `feedback` must be of type list<.*int8>, without missing values. .* 1 missing",
        ),
        (
            with_column("item_ids", lambda rows: [[1.5] * 12] * len(rows)),
            r"column `item_ids` must be of type list<.*int32>.* Received: list<element: double>",
        ),
        (
            with_column("item_ids", lambda rows: list(range(len(rows)))),
            r"column `item_ids` must be of type list<.*int32>.* Received: int64",
        ),
        (
            with_column("train_end", without_first),
            "column `train_end` must be of type int32, .* Received: int64, 1 missing",
        ),
        (with_column("key", without_first), "`key` must be of type string or int64, without missi"),
    ],
)
def test_malformed_shards_are_named(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=rf"part-00000.parquet.*{message}"):
        load_prepared(folder).sessions()


def test_item_counts_must_be_of_the_vocabulary(folder):
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.slice(1), folder / "items.parquet")
    write_manifest(folder, files=[file_in(folder, n) for n in ("vocabulary.json", "items.parquet")])
    with pytest.raises(ValueError, match="one row for each id from 1 to 10"):
        load_prepared(folder).items  # noqa: B018


def test_large_lists_are_read(folder):
    rewrite(folder, with_column("item_ids", lambda rows: rows, pa.large_list(pa.int64())))
    rows = load_prepared(folder).sessions()
    assert rows.item_ids.dtype == "int32"
    expected = toy_sessions(10).item_ids[: rows.lengths[0]]
    np.testing.assert_array_equal(rows.take([0]).item_ids, expected)


def test_string_keys(tmp_path):
    sessions = Sessions.from_lists([[1, 2], [2], [1]], keys=["b", "c", "a"])
    rows = load_prepared(write_prepared(tmp_path / "prepared", sessions)).sessions()
    assert rows.keys.tolist() == ["a", "b", "c"]
    assert rows.item_ids.tolist() == [1, 1, 2, 2]
