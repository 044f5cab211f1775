"""No bit of a prepared folder can change what is read without an error that names the file."""

import re

import numpy as np
import pytest
from prepare_log import prepare_log, random_log

from keras_negrec.data import load_prepared
from keras_negrec.data.__main__ import main
from keras_negrec.data.preparation.folder_statistics import FolderStatistics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flips") / "out"
    prepare_log(random_log(0), folder, num_shards=3)
    return folder


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def read_all(folder):
    """All that a training and an evaluation read."""
    prepared = load_prepared(folder)
    split = prepared.split()
    parts = (split.train, split.validation, split.test, prepared.before_test().sessions())
    return [part.fingerprint() for part in parts], prepared.items.to_dict(), prepared.manifest


def assert_all_are_found(folder, files, num_flips):
    expected, random = read_all(folder), np.random.default_rng(0)
    sizes = np.array([path.stat().st_size for path in files])
    for position in random.integers(8 * sizes.sum(), size=num_flips):
        number = np.searchsorted(np.cumsum(8 * sizes), position, side="right")
        path, bit = files[number], int(position - 8 * sizes[:number].sum())
        flip(path, bit)
        try:
            found = read_all(folder)
        except ValueError as error:
            assert re.search(f"{re.escape(str(path))}.*overwrite=True", str(error))
        else:  # 0.30000000000000004 and 0.30000000000000005 are one number
            assert path.name == "manifest.json" and found == expected
        finally:
            flip(path, bit)
    assert read_all(folder) == expected


@pytest.mark.parametrize(
    ("num_of_data", "num_of_manifest"),
    [(6, 6), pytest.param(2000, 2000, marks=pytest.mark.thorough)],
)
def test_each_flip_of_a_bit_is_found(folder, num_of_data, num_of_manifest):
    data = [*sorted(folder.glob("shards/*")), folder / "items.parquet", folder / "vocabulary.json"]
    for path in data:
        assert_all_are_found(folder, [path], 1)
    assert_all_are_found(folder, data, num_of_data)
    assert_all_are_found(folder, [folder / "manifest.json"], num_of_manifest)


def test_shards_that_were_swapped(folder):
    first, second, _ = sorted(folder.glob("shards/*"))
    contents = first.read_bytes(), second.read_bytes()
    try:
        first.write_bytes(contents[1])
        second.write_bytes(contents[0])
        with pytest.raises(ValueError, match=r"part-0000[01]\.parquet (is damaged|must have)"):
            load_prepared(folder).sessions()
    finally:
        first.write_bytes(contents[0])
        second.write_bytes(contents[1])
    assert len(load_prepared(folder).sessions())


def test_a_file_is_hashed_once_and_again_where_it_changed(folder, monkeypatch):
    from keras_negrec.data.preparation import known_file

    hashed, sha256 = [], known_file._sha256
    monkeypatch.setattr(known_file, "_sha256", lambda path: hashed.append(path) or sha256(path))
    prepared = load_prepared(folder)
    for _ in range(2):
        prepared.split(), prepared.before_test().sessions()
    shards = sorted(folder.glob("shards/*"))
    assert sorted(hashed) == sorted([*shards, folder / "vocabulary.json"])
    flip(shards[0], 800)
    try:
        with pytest.raises(ValueError, match=f"{shards[0].name} is damaged"):
            prepared.sessions()
    finally:
        flip(shards[0], 800)


def test_inspect_and_a_bad_disk(folder, monkeypatch, capsys):
    path = folder / "items.parquet"
    flip(path, 800)
    try:
        assert main(["inspect", str(folder)]) == 1
        assert re.search(r"items.parquet is damaged.*--overwrite", capsys.readouterr().err)
    finally:
        flip(path, 800)
    FolderStatistics(folder)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", fail)
    with pytest.raises(ValueError, match=r"vocabulary.json cannot be read.* Input/output error"):
        load_prepared(folder)
