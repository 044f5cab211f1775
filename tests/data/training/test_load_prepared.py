import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prepared_folder import write_manifest, write_prepared
from toy_sessions import toy_sessions

from keras_negrec.data import Sessions, Vocabulary, load_prepared


@pytest.fixture
def folder(tmp_path):
    return write_prepared(tmp_path / "prepared", toy_sessions(10))


def rewrite(path, change):
    """Replaces a shard and tells the manifest its new size."""
    pq.write_table(change(pq.read_table(path)), path)
    folder = path.parent.parent
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    for shard in shards:
        if shard["file"] == path.name:
            shard["bytes"] = path.stat().st_size
    write_manifest(folder, shards=shards)


def test_a_whole_folder(folder):
    prepared = load_prepared(str(folder))
    assert prepared.vocabulary == Vocabulary([f"item {i}" for i in range(1, 11)])
    assert prepared.manifest["schema_version"] == 2
    assert repr(prepared) == "<Prepared: 10 rows, 120 events in 2 shards, 10 items>"


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no such folder"):
        load_prepared(tmp_path / "nowhere")


def test_without_a_manifest_prepare_must_be_run_again(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Run `prepare` again .* to complete it"):
        load_prepared(folder)


def test_a_manifest_that_is_no_json(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json cannot be read as JSON"):
        load_prepared(folder)


def test_another_schema_version(folder):
    write_manifest(folder, schema_version=1)
    with pytest.raises(ValueError, match=r"reads schema version 2.* Received: 1"):
        load_prepared(folder)


def test_a_manifest_without_shards(folder):
    (folder / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(ValueError, match="`shards` is missing"):
        load_prepared(folder)


def test_another_vocabulary(folder):
    Vocabulary(["other"]).save(folder / "vocabulary.json")
    with pytest.raises(ValueError, match=r"not the vocabulary that the shards were written with"):
        load_prepared(folder)


@pytest.mark.parametrize("name", ["vocabulary.json", "shards/part-00001.parquet"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"names a file that is not there: .*{name}"):
        load_prepared(folder)


def test_a_truncated_shard(folder):
    path = folder / "shards" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"part-00000.parquet must have \d+ bytes"):
        load_prepared(folder)


def test_a_shard_with_another_number_of_rows(folder):
    path = folder / "shards" / "part-00000.parquet"
    rewrite(path, lambda table: table.slice(1))
    with pytest.raises(ValueError, match=r"must have 7 rows by the manifest. Received: 6"):
        load_prepared(folder)


def test_a_shard_that_the_manifest_does_not_name(folder):
    shards = folder / "shards"
    (shards / "part-00007.parquet").write_bytes((shards / "part-00000.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"does not name.* Received: part-00007.parquet"):
        load_prepared(folder)


def with_column(name, values, kind):
    def change(table):
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pa.array(values(table[name].to_pylist()), kind))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["feedback"]), "column 'feedback' is missing"),
        (
            with_column("item_ids", lambda rows: [[11, *row[1:]] for row in rows], None),
            r"row group 0: item ids must lie in 1\.\.10, the vocabulary. Received: 11",
        ),
        (
            with_column("feedback", lambda rows: [rows[0], rows[1][1:], *rows[2:]], None),
            "row 1: `feedback` must have as many values as `item_ids`, 12. Received: 11",
        ),
        (
            with_column("feedback", lambda rows: [None, *rows[1:]], None),
            r"column `feedback` must be of type list<.*int8>, without missing values. .* 1 missing",
        ),
        (
            with_column("item_ids", lambda rows: [[1.5] * 12] * len(rows), None),
            r"column `item_ids` must be of type list<.*int32>.* Received: list<element: double>",
        ),
        (
            with_column("item_ids", lambda rows: list(range(len(rows))), None),
            r"column `item_ids` must be of type list<.*int32>.* Received: int64",
        ),
        (
            with_column("train_end", lambda rows: [None, *rows[1:]], None),
            "column `train_end` must be of type int32, .* Received: int64, 1 missing",
        ),
        (
            with_column("key", lambda rows: [None, *rows[1:]], None),
            "`key` must be of type string or int64, without missing values",
        ),
    ],
)
def test_malformed_shards_are_named(folder, change, message):
    rewrite(folder / "shards" / "part-00000.parquet", change)
    with pytest.raises(ValueError, match=rf"part-00000.parquet.*{message}"):
        load_prepared(folder).sessions()


def test_item_counts_must_be_of_the_vocabulary(folder):
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.slice(1), folder / "items.parquet")
    with pytest.raises(ValueError, match="one row for each id from 1 to 10"):
        load_prepared(folder).items  # noqa: B018


def test_large_lists_and_slices_are_read(folder):
    rewrite(
        folder / "shards" / "part-00000.parquet",
        with_column("item_ids", lambda rows: rows, pa.large_list(pa.int64())),
    )
    rows = load_prepared(folder).sessions()
    expected = toy_sessions(10)
    assert rows.item_ids.dtype == "int32"
    np.testing.assert_array_equal(rows.take([0]).item_ids, expected.item_ids[: rows.lengths[0]])


def test_string_keys(tmp_path):
    sessions = Sessions.from_lists([[1, 2], [2], [1]], keys=["b", "c", "a"])
    folder = write_prepared(tmp_path / "prepared", sessions)
    rows = load_prepared(folder).sessions()
    assert rows.keys.tolist() == ["a", "b", "c"]
    assert rows.item_ids.tolist() == [1, 1, 2, 2]
