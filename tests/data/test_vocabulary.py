import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_negrec.data.vocabulary import Vocabulary


def test_ids_start_at_1_in_the_order_of_the_items():
    vocabulary = Vocabulary(["b", "a", "c"])
    ids = vocabulary.encode(["c", "b", "b"])
    assert ids.tolist() == [3, 1, 1] and ids.dtype == "int32"
    assert vocabulary.decode([3, 1]).tolist() == ["c", "b"] and len(vocabulary) == 3


@settings(max_examples=20)
@given(
    st.one_of(
        st.lists(st.text(), min_size=1, unique=True),
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, unique=True),
    )
)
def test_decode_undoes_encode(items):
    vocabulary = Vocabulary(items)
    ids = vocabulary.encode(items)
    assert ids.tolist() == list(range(1, len(items) + 1))
    assert vocabulary.decode(ids).tolist() == items


def test_the_most_frequent_item_comes_first_and_ties_by_id():
    for events in (["b", "c", "a", "c"], ["c", "a", "c", "b"]):
        assert Vocabulary.from_items(events).items.tolist() == ["c", "a", "b"]
    assert Vocabulary.from_items([30, 4, 30, 5, 4, 1]).items.tolist() == [4, 30, 1, 5]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (pd.Series(["x", "y"]), ["x", "y"]),
        (pd.Series(["x", "y"], dtype="category"), ["x", "y"]),
        (np.array(["x", "y"]), ["x", "y"]),
        (iter(["x", "y"]), ["x", "y"]),
        (pd.array([3, 2], "Int64"), [3, 2]),
        (np.array([3, 2], "uint32"), [3, 2]),
        ([3, np.int16(2)], [3, 2]),
        (range(3, 1, -1), [3, 2]),
    ],
)
def test_kinds_of_sequences(items, expected):
    vocabulary = Vocabulary(items)
    assert vocabulary.items.tolist() == expected
    assert vocabulary.is_string == isinstance(expected[0], str)
    assert vocabulary.items.dtype == (object if vocabulary.is_string else "int64")
    assert vocabulary.encode(expected).tolist() == [1, 2]


def test_unknown_items():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.encode(["b", "z", "a"], unknown="zero").tolist() == [2, 0, 1]
    with pytest.raises(KeyError, match="2 items are not in the vocabulary, first: 'z'"):
        vocabulary.encode(["b", "z", "y"])
    with pytest.raises(ValueError, match=r"`unknown` must be one of .*unknown='skip'"):
        vocabulary.encode(["a"], unknown="skip")
    # Nor are items of another type taken for unknown ones.
    with pytest.raises(TypeError, match=r"holds strings. Received an item of type int: 1"):
        vocabulary.encode([1], unknown="zero")
    with pytest.raises(TypeError, match=r"holds integers. Received an item of type str: '1'"):
        Vocabulary([1, 2]).encode(["1"])


@pytest.mark.parametrize("ids", [[0], [1, 3], [-1], [[1], [0]]])
def test_ids_without_an_item(ids):
    with pytest.raises(ValueError, match=r"Ids must lie in 1..2. Received ids from"):
        Vocabulary(["a", "b"]).decode(ids)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], ValueError, "at least one item. Received: none"),
        (["a", "b", "a"], ValueError, "Received 'a' more than once"),
        (["a", 1], TypeError, "Received an item of type int: 1"),
        ([1, "a"], TypeError, "Received an item of type str: 'a'"),
        (["a", None], TypeError, "Received an item of type NoneType"),
        ([1, True], TypeError, "Received an item of type bool: True"),
        ([1.5], TypeError, "Received an item of type float: 1.5"),
        (np.array([1.0]), TypeError, "Received an array of dtype float64"),
        (np.array([True]), TypeError, "Received an array of dtype bool"),
        ("abc", TypeError, "Received one str"),
        (b"abc", TypeError, "Received one bytes"),
        ([2**63], ValueError, "signed 64-bit integer.*Received items from 9223372036854775808"),
        (np.array([1, 2**63], "uint64"), ValueError, "to 9223372036854775808"),
    ],
)
def test_what_cannot_be_a_vocabulary(items, error, message):
    with pytest.raises(error, match=message):
        Vocabulary(items)


@pytest.mark.parametrize("items", [["b", 'quote " and Øl', "007", ""], [-5, 2**53 + 1, 0]])
def test_save_and_load(tmp_path, items, monkeypatch):
    path, vocabulary = tmp_path / "vocabulary.json", Vocabulary(items)
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded == vocabulary
    assert loaded.items.tolist() == items and loaded.items.dtype == vocabulary.items.dtype
    # Nothing half written is left.
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        Vocabulary(["b"]).save(path)
    assert Vocabulary.load(path) == vocabulary
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.json"]


def test_by_frequency_orders_by_counts_and_then_by_id():
    vocabulary = Vocabulary(["d", "b", "a", "c"])
    assert vocabulary.by_frequency(np.array([1, 2, 1, 5])).items.tolist() == ["c", "b", "a", "d"]
    assert Vocabulary([9, 10, 2]).by_frequency([0, 0, 0]).items.tolist() == [2, 9, 10]
    with pytest.raises(ValueError, match=r"`counts` must .*\(4,\).* Received shape: \(3,\)"):
        vocabulary.by_frequency([1, 2, 3])
