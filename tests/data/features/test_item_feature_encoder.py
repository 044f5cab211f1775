import json

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import ItemFeatureEncoder, Vocabulary, item_features

VOCABULARY = Vocabulary(["c", "a", "b", "d"])


def table(**columns):
    return pd.DataFrame({"item": ["a", "b", "c", "d"], **columns})


def test_numbers_have_mean_0_and_deviation_1_in_the_order_of_the_vocabulary():
    encoder, features = item_features(table(year=[1, 2, 3, 6]), VOCABULARY, numeric=["year"])
    deviation = np.sqrt((4 + 1 + 0 + 9) / 4)  # around the mean, 3
    np.testing.assert_allclose(features, np.array([[0], [-2], [-1], [3]]) / deviation, rtol=1e-6)
    assert features.dtype == np.float32 and encoder.columns == ["year"]


def test_a_missing_number_is_the_mean_and_is_told():
    encoder, features = item_features(table(year=[1, None, 3, 5]), VOCABULARY, numeric=["year"])
    assert encoder.columns == ["year", "year missing"]
    np.testing.assert_array_equal(features[:, 1], [0, 0, 1, 0])
    np.testing.assert_allclose(features[:, 0] * np.sqrt(8 / 3), [0, -2, 0, 2], atol=1e-6)


def test_a_constant_number_is_0():
    _, features = item_features(table(year=[7, 7, 7, 7]), VOCABULARY, numeric=["year"])
    np.testing.assert_array_equal(features, np.zeros((4, 1)))


def test_rare_categories_share_a_feature():
    encoder, features = item_features(
        table(genre=["rock", "jazz", "rock", "folk"]), VOCABULARY, categories=["genre"]
    )
    assert encoder.columns == ["genre=rock", "genre other"]
    np.testing.assert_array_equal(features, [[1, 0], [1, 0], [0, 1], [0, 1]])


def test_at_most_so_many_categories_the_most_frequent_ones():
    encoder, features = item_features(
        table(genre=["x", "y", "y", "z"]),
        VOCABULARY,
        categories=["genre"],
        min_items=1,
        max_categories=2,
    )
    assert encoder.columns == ["genre=y", "genre=x", "genre other"]
    np.testing.assert_array_equal(features[3], [0, 0, 1])


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["calm| old", "old", "", "|calm"], "|"),
        ([["calm", "old"], ["old"], [], ["calm"]], None),
        ([np.array(["calm", "old"]), ("old",), None, ["calm"]], None),
    ],
)
def test_several_values_and_none(cells, separator):
    encoder, features = item_features(table(tags=cells), VOCABULARY, categories={"tags": separator})
    assert encoder.columns == ["tags=calm", "tags=old"]
    np.testing.assert_array_equal(features, [[0, 0], [1, 1], [0, 1], [1, 0]])


def test_whole_numbers_are_categories_with_or_without_missing_ones():
    whole, _ = item_features(table(key=[7, 7, 8, 8]), VOCABULARY, categories=["key"])
    missing, features = item_features(table(key=[7, 7, None, 8]), VOCABULARY, categories=["key"])
    assert whole.columns == ["key=7", "key=8"]
    assert missing.columns == ["key=7", "key other"]
    np.testing.assert_array_equal(features[0], [0, 0])


def test_later_items_get_the_same_features(tmp_path):
    items = table(year=[1, 2, 3, 6], genre=["rock", "jazz", "rock", "folk"], n=[1, None, 2, 3])
    options = {"numeric": ["year", "n"], "categories": ["genre"]}
    encoder, features = item_features(items, VOCABULARY, **options, folder=tmp_path)
    loaded = ItemFeatureEncoder.load(tmp_path / "item_features.json")
    assert loaded == encoder and loaded.columns == encoder.columns
    later = pd.DataFrame(
        {
            "item": ["e", "a", "f"],
            "year": [None, 1, 3],
            "genre": ["new", "rock", None],
            "n": [None, 1, 2],
        }
    )
    again = loaded.transform(later, Vocabulary(["a", "e", "f"]))
    np.testing.assert_array_equal(again[0], features[1])
    year, missing_n, other = (
        loaded.columns.index(name) for name in ("year", "n missing", "genre other")
    )
    assert again[1, year] == 0 and again[1, missing_n] == 1 and again[1, other] == 1
    assert again[2, year] == 0 and (again[2, loaded.columns.index("genre=rock") :] == 0).all()


def test_a_new_category_has_no_feature_where_there_was_no_rare_one():
    encoder, _ = item_features(table(genre=["x", "x", "y", "y"]), VOCABULARY, categories=["genre"])
    later = pd.DataFrame({"item": ["a"], "genre": ["z"]})
    np.testing.assert_array_equal(encoder.transform(later, Vocabulary(["a"])), [[0, 0]])


def test_what_is_stored_is_plain_json(tmp_path):
    item_features(
        table(year=[1, 2, 3, 6], tags=["é|x", "é", "x", None]),
        VOCABULARY,
        numeric=["year"],
        categories={"tags": "|"},
        folder=tmp_path,
    )
    content = json.loads((tmp_path / "item_features.json").read_text("utf-8"))
    assert content["schema_version"] == 1
    assert content["parts"][0]["kind"] == "number" and content["parts"][0]["mean"] == 3.0
    assert content["parts"][1]["values"] == ["x", "é"]
    content["schema_version"] = 2
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"expected schema version 1. Received: 2"):
        ItemFeatureEncoder.load(tmp_path / "other.json")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "csv.gz"])
def test_files(tmp_path, ending):
    items = table(year=[1, None, 3, 6], tags=["x|y", "x", "", "y"])
    path = tmp_path / f"items.{ending}"
    if ending == "parquet":
        items.to_parquet(path)
    else:
        items.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    options = {"numeric": ["year"], "categories": {"tags": "|"}}
    _, expected = item_features(items, VOCABULARY, **options)
    _, features = item_features(path, VOCABULARY, **options)
    np.testing.assert_array_equal(features, expected)


def test_text_ids_keep_their_zeros_and_integers_stay_integers(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item,year\n007,1\n7,3\n")
    _, features = item_features(path, Vocabulary(["7", "007"]), numeric=["year"])
    np.testing.assert_array_equal(features, [[1], [-1]])
    path.write_text("item,year\n8,1\n7,3\n")
    _, features = item_features(path, Vocabulary([7, 8]), numeric=["year"])
    np.testing.assert_array_equal(features, [[1], [-1]])


def test_items_that_the_vocabulary_does_not_hold_are_not_used():
    _, features = item_features(
        table(year=[1, 2, 3, 1000]), Vocabulary(["a", "c"]), numeric=["year"]
    )
    np.testing.assert_array_equal(features, [[-1], [1]])


def test_an_item_without_a_row():
    vocabulary = Vocabulary(["a", "x", "b", "y"])
    items = table(year=[1, 3, None, 0], genre=["r", "r", "r", "j"])
    options = {"numeric": ["year"], "categories": ["genre"]}
    with pytest.raises(ValueError, match=r"2 of the vocabulary's 4 items have no row, first: 'x'"):
        item_features(items, vocabulary, **options)
    encoder, features = item_features(items, vocabulary, **options, missing_items="fill")
    assert encoder.num_filled == 2
    assert encoder.columns == ["year", "genre=r"]
    np.testing.assert_array_equal(features, [[-1, 1], [0, 0], [1, 1], [0, 0]])
    with pytest.raises(ValueError, match="none of the vocabulary's 1 items has a row"):
        item_features(items, Vocabulary(["x"]), **options, missing_items="fill")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"numeric": ["year"]}, "column 'year' is missing. Received columns: .'item'"),
        ({}, {"categories": ["genre"]}, "column 'genre' is missing"),
        ({}, {"item": "track", "numeric": ["x"]}, "column 'track' is missing"),
        ({"year": [1, "two", 3, 4]}, {"numeric": ["year"]}, "'year', row 1: expected a number"),
        ({"year": [1, True, 3, 4]}, {"numeric": ["year"]}, "'year', row 1: expected a number"),
        ({"year": [1.0, np.inf, 3, 4]}, {"numeric": ["year"]}, "row 1: expected a finite number"),
        ({"year": [None] * 4}, {"numeric": ["year"]}, "'year': every item's number is missing"),
        ({"genre": [None] * 4}, {"categories": ["genre"]}, "'genre': no item has a category"),
        ({}, {}, "`numeric` or `categories` must name a column"),
        ({"x": 1}, {"numeric": ["x"], "categories": ["x"]}, "A column is the item, a number or a"),
        ({"x": 1}, {"numeric": ["x"], "min_items": 0}, "`min_items` must be a positive integer"),
        ({"x": 1}, {"numeric": ["x"], "missing_items": "skip"}, "`missing_items` must be one of"),
    ],
)
def test_bad_tables_and_arguments(columns, options, message):
    with pytest.raises(ValueError, match=message):
        item_features(table(**columns), VOCABULARY, **options)


def test_bad_items():
    with pytest.raises(ValueError, match=r"'item', row 2: expected one row for each item.*: 'a'"):
        item_features(
            pd.DataFrame({"item": ["a", "b", "a"], "x": 1}), Vocabulary(["a"]), numeric=["x"]
        )
    with pytest.raises(ValueError, match=r"row 0: the vocabulary's items are strings. Received: 1"):
        item_features(pd.DataFrame({"item": [1], "x": 1}), VOCABULARY, numeric=["x"])
    with pytest.raises(TypeError, match="take several names"):
        item_features(table(x=1), VOCABULARY, numeric="x")
