import json

import numpy as np
import pandas as pd
import pytest

from keras_negrec.data import ItemFeatureEncoder, Vocabulary, item_features

VOCABULARY = Vocabulary(["c", "a", "b", "d"])


def table(**columns):
    return pd.DataFrame({"item": ["a", "b", "c", "d"]} | columns)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3, 6], np.array([[0], [-2], [-1], [3]]) / np.sqrt((4 + 1 + 0 + 9) / 4)),
        ([1, None, 3, 5], [[0, 0], [-np.sqrt(3 / 2), 0], [0, 1], [np.sqrt(3 / 2), 0]]),
        ([7, 7, 7, 7], np.zeros((4, 1))),
    ],
)
def test_numbers_have_mean_0_and_deviation_1_in_the_order_of_the_vocabulary(numbers, expected):
    encoder, features = item_features(table(year=numbers), VOCABULARY, numeric=["year"])
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert features.dtype == np.float32
    assert encoder.columns == ["year", "year missing"][: features.shape[1]]


@pytest.mark.parametrize(
    ("genres", "options", "columns", "expected"),
    [
        (["rock", "jazz", "rock", "folk"], {}, ["rock", "other"], [[1, 0], [1, 0], [0, 1], [0, 1]]),
        (
            ["x", "y", "y", "z"],
            {"min_items": 1, "max_categories": 2},
            ["y", "x", "other"],
            [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]],
        ),
        ([7, 7, 8, 8], {}, ["7", "8"], [[0, 1], [1, 0], [1, 0], [0, 1]]),
        ([7, 7, None, 8], {}, ["7", "other"], [[0, 0], [1, 0], [1, 0], [0, 1]]),
    ],
)
def test_the_most_frequent_categories_have_a_feature(genres, options, columns, expected):
    items = table(genre=genres)
    encoder, features = item_features(items, VOCABULARY, categories=["genre"], **options)
    names = [f"genre={name}".replace("=other", " other") for name in columns]
    assert encoder.columns == names
    np.testing.assert_array_equal(features, expected)


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


def test_later_items_get_the_same_features(tmp_path):
    items = table(year=[1, 2, 3, 6], genre=["rock", "jazz", "rock", "folk"], n=[1, None, 2, 3])
    options = {"numeric": ["year", "n"], "categories": ["genre"]}
    encoder, features = item_features(items, VOCABULARY, **options, folder=tmp_path)
    loaded = ItemFeatureEncoder.load(tmp_path / "item_features.json")
    assert loaded == encoder and loaded.columns == encoder.columns
    assert encoder.columns == ["year", "n", "n missing", "genre=rock", "genre other"]
    genres = ["new", "rock", None]
    later = {"item": ["e", "a", "f"], "year": [None, 1, 3], "genre": genres, "n": [None, 1, 2]}
    again = loaded.transform(pd.DataFrame(later), Vocabulary(["a", "e", "f"]))
    np.testing.assert_allclose(again, [features[1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0]], atol=1e-6)
    # A new category has no feature where there was no rare one.
    items["genre"] = ["x", "x", "y", "y"]
    encoder, _ = item_features(items, VOCABULARY, categories=["genre"])
    again = encoder.transform(pd.DataFrame(later), Vocabulary(["e"]))
    np.testing.assert_array_equal(again, [[0, 0]])


def test_what_is_stored_is_plain_json(tmp_path):
    items = table(year=[1, 2, 3, 6], tags=["é|x", "é", "x", None])
    options = {"numeric": ["year"], "categories": {"tags": "|"}}
    item_features(items, VOCABULARY, **options, folder=tmp_path)
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


@pytest.mark.parametrize(("first", "items"), [("007", ["7", "007"]), ("8", [7, 8])])
def test_text_ids_keep_their_zeros_and_integers_stay_integers(tmp_path, first, items):
    path = tmp_path / "items.csv"
    path.write_text(f"item,year\n{first},1\n7,3\n")
    _, features = item_features(path, Vocabulary(items), numeric=["year"])
    np.testing.assert_array_equal(features, [[1], [-1]])


def test_texts_are_word_pieces_that_later_items_share(tmp_path):
    items = table(title=["Toy Story", "Toy Soldiers", "Été Story", None], year=[1, 2, 3, 4])
    encoder, features = item_features(items, VOCABULARY, numeric=["year"], text=["title"])
    names = encoder.columns
    assert names[0] == "year" and all(name.startswith("title: ") for name in names[1:])
    of_item = {
        item: {name[7:] for name, value in zip(names[1:], row[1:], strict=True) if value}
        for item, row in zip(VOCABULARY.items, features, strict=True)
    }
    assert of_item["a"] & of_item["b"] >= {"toy"} or "t" in of_item["a"] & of_item["b"]
    assert of_item["a"] & of_item["c"] and not of_item["d"]
    assert {"e"} <= of_item["c"]  # without accents
    assert set(np.unique(features[:, 1:])) == {0, 1}
    encoder.save(tmp_path / "encoder.json")
    again = ItemFeatureEncoder.load(tmp_path / "encoder.json")
    later = pd.DataFrame({"item": ["new", "a"], "title": ["TOY story", "Toy Story"], "year": 1})
    first, second = again.transform(later, Vocabulary(["new", "a"]))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, features[1])


def test_an_item_without_a_row():
    vocabulary = Vocabulary(["a", "x", "b", "y"])
    items = table(year=[1, 3, None, 1000], genre=["r", "r", "r", "j"])  # c and d are not used
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
        ({}, {"item": "track", "numeric": ["x"]}, "column 'track' is missing"),
        ({"year": [1, "two", 3, 4]}, {"numeric": ["year"]}, "'year', row 1: expected a number"),
        ({"year": [1, True, 3, 4]}, {"numeric": ["year"]}, "'year', row 1: expected a number"),
        ({"year": [1.0, np.inf, 3, 4]}, {"numeric": ["year"]}, "row 1: expected a finite number"),
        ({"year": [None] * 4}, {"numeric": ["year"]}, "'year': every item's number is missing"),
        ({"genre": [None] * 4}, {"categories": ["genre"]}, "'genre': no item has a category"),
        ({"title": [None] * 4}, {"text": ["title"]}, "'title': no item has a text"),
        ({"title": ["a", 7, "b", "c"]}, {"text": ["title"]}, "row 1: expected a text. Rec.*7"),
        ({}, {}, "`numeric`, `categories` or `text` must name a column"),
        ({"x": 1}, {"numeric": ["x"], "categories": ["x"]}, "A column is the item, a number, a"),
        ({"x": 1}, {"numeric": ["x"], "min_items": 0}, "`min_items` must be a positive integer"),
        ({"x": 1}, {"numeric": ["x"], "missing_items": "skip"}, "`missing_items` must be one of"),
        (
            {"item": list("abac"), "x": 1},
            {"numeric": ["x"]},
            "row 2: .* one row for each.*'a'",
        ),
        ({"item": [1, 2, 3, 4]}, {"numeric": ["x"]}, "row 0: .*items are strings. Received: 1"),
    ],
)
def test_bad_tables_and_arguments(columns, options, message):
    with pytest.raises(ValueError, match=message):
        item_features(table(**columns), VOCABULARY, **options)


def test_names_of_columns_are_a_list():
    with pytest.raises(TypeError, match="takes several names"):
        item_features(table(x=1), VOCABULARY, numeric="x")
