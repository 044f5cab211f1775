import numpy as np
import pandas as pd
import pytest
from log_files import KUAIRAND_HEADER, kuairand_line
from log_files import write as write_text

from keras_negrec.data.logs.read_kuairand import read_kuairand


def labelled_log(**columns):
    """Seven events of three users with the dtypes of the published file."""
    log = pd.DataFrame(
        {
            "user_id": np.array([4, 4, 4, 9, 9, 2, 2], "int32"),
            "position": np.array([0, 1, 2, 0, 1, 0, 1], "int16"),
            "item_id": np.array([50, 50, 60, 70, 50, 80, 70], "int32"),
            "long_view": np.array([0, 1, 1, 0, 0, 1, 1], "int8"),
            "time_ms": pd.array([None, None, 1650800000000, None, 1651400000000, 3, 4], "Int64"),
            "play_time_ms": pd.array([None, None, 5000, None, 0, 1, 2], "Int32"),
            "duration_ms": pd.array([None, None, 9000, None, 8000, 1, 2], "Int32"),
            "is_like": pd.array([None, None, 0, None, 1, 1, 1], "Int8"),
            "is_hate": pd.array([None, None, 0, None, 0, 1, 0], "Int8"),
            "split": pd.Categorical(
                ["history", "history", "validation", "history", "test", "test", "test"]
            ),
        }
    )
    return log.assign(**columns)


@pytest.fixture
def write(tmp_path):
    def write_log(log):
        path = tmp_path / "log.parquet"
        log.to_parquet(path)
        return path

    return write_log


def test_events_of_the_default_rule(write):
    events = read_kuairand(write(labelled_log()))
    expected = pd.DataFrame(
        {
            "session": [4, 4, 4, 9, 9, 2, 2],
            "item": [50, 50, 60, 70, 50, 80, 70],
            # Unwatched; watched; watched, neither liked nor hated; unwatched; liked though not
            # watched; hated though liked; liked.
            "feedback": [-1, 1, 1, -1, 2, -2, 2],
            "position": [0, 1, 2, 0, 1, 0, 1],
            "split": ["history", "history", "validation", "history", "test", "test", "test"],
        }
    )
    pd.testing.assert_frame_equal(events, expected, check_dtype=False)
    assert all(isinstance(value, str) for value in events["split"])


def test_a_rule_of_ones_own_sees_the_whole_log(write):
    seen = []

    def quarter_watched(log):
        seen.extend(log.columns)
        share = log["play_time_ms"] / log["duration_ms"]
        return np.select([share.isna(), share > 0.25], [0.0, 1.0], default=-1.0)

    events = read_kuairand(write(labelled_log()), feedback=quarter_watched)
    assert events["feedback"].tolist() == [0, 0, 1, 0, -1, 1, 1]
    assert seen == list(labelled_log().columns)


def test_a_rule_of_ones_own_needs_no_labels(write):
    log = labelled_log().drop(columns=["long_view", "is_like", "is_hate"])
    events = read_kuairand(write(log), feedback=lambda log: [1] * len(log))
    assert events["feedback"].tolist() == [1] * 7


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1, 1], "one feedback value for each of the 7 rows. Received: 2 values"),
        ([1, 1, 0.5, 1, 1, 1, 1], "row 2: feedback must be .* Received: 0.5"),
        ([1, 1, 1, 1, 3, 1, 1], "row 4: feedback must be .* Received: 3"),
        ([1, np.nan, 1, 1, 1, 1, 1], "row 1: expected feedback. Received: nan"),
        (["+1"] * 7, "row 0: expected feedback as a number. Received: '\\+1'"),
        ([True] * 7, "row 0: expected feedback as a number. Received: True"),
    ],
)
def test_what_a_rule_may_not_return(write, returned, message):
    with pytest.raises(ValueError, match=f"log.parquet.*{message}"):
        read_kuairand(write(labelled_log()), feedback=lambda log: returned)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.parquet"):
        read_kuairand(tmp_path / "absent.parquet")


@pytest.mark.parametrize("column", ["user_id", "item_id", "position", "split", "long_view"])
def test_missing_column(write, column):
    with pytest.raises(ValueError, match=f"log.parquet: column '{column}' is missing.*Received"):
        read_kuairand(write(labelled_log().drop(columns=column)))


@pytest.mark.parametrize("column", ["is_like", "is_hate"])
def test_missing_column_of_optional_labels(write, column):
    with pytest.raises(ValueError, match=f"column '{column}' is missing"):
        read_kuairand(write(labelled_log().drop(columns=column)))


@pytest.mark.parametrize("column", ["user_id", "item_id", "position", "split", "long_view"])
def test_missing_value(write, column):
    log = labelled_log()
    values = log[column].astype(object)
    values[3] = None
    log[column] = values
    with pytest.raises(ValueError, match=f"log.parquet, column '{column}', row 3.*Received: "):
        read_kuairand(write(log))


@pytest.mark.parametrize("column", ["long_view", "is_like", "is_hate"])
def test_label_other_than_0_and_1(write, column):
    log = labelled_log(**{column: [0, 1, 1, 0, 0, 2, 1]})
    with pytest.raises(ValueError, match=f"column '{column}', row 5: expected 0.*Received: 2"):
        read_kuairand(write(log))


def test_no_rows(write):
    with pytest.raises(ValueError, match=r"log.parquet: there are no events"):
        read_kuairand(write(labelled_log().iloc[:0]))


@pytest.mark.parametrize("kept", [0, 3, 100, -10])
def test_truncated_file(write, kept):
    path = write(labelled_log())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"log.parquet cannot be read as Parquet. Received: "):
        read_kuairand(path)


def test_other_file_under_the_name(tmp_path):
    path = tmp_path / "log.parquet"
    path.write_text("user_id,item_id\n1,2\n")
    with pytest.raises(ValueError, match=r"log.parquet cannot be read as Parquet"):
        read_kuairand(path)


LOG = (
    KUAIRAND_HEADER
    + "\n"
    + kuairand_line(4, 50, 1649390401500, long_view=1)
    + kuairand_line(4, 51, 1649390400000)
    + kuairand_line(4, 52, 1649390402000, like=1)
    + kuairand_line(9, 50, 1649390400000, like=1, hate=1, long_view=1)
)


@pytest.mark.parametrize("name", ["log_standard.csv", "log_standard.csv.gz"])
def test_log_as_it_is_published(tmp_path, name):
    events = read_kuairand(write_text(tmp_path / name, LOG))
    expected = pd.DataFrame(
        {
            "session": [4, 4, 4, 9],
            "item": [50, 51, 52, 50],
            "feedback": np.array([1, -1, 2, -2], "int8"),
            "timestamp": [1649390401.5, 1649390400.0, 1649390402.0, 1649390400.0],
        }
    )
    pd.testing.assert_frame_equal(events, expected)


def test_a_rule_of_ones_own_sees_the_columns_of_a_log(tmp_path):
    path = write_text(tmp_path / "log.csv", LOG)
    events = read_kuairand(path, feedback=lambda log: log["is_click"] * (log["video_id"] - 50))
    assert events["feedback"].tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("9,50", "x,50"), "column 'user_id', line 5: expected an integer. Received: 'x'"),
        (("4,51", "4,"), "column 'video_id', line 3: expected an integer. Received: ''"),
        (("1649390402000", "noon"), "column 'time_ms', line 4: .* Received: 'noon'"),
        (("is_hate", "hated"), "column 'is_hate' is missing"),
        (("long_view", "long"), "column 'long_view' is missing"),
        (("4,51", "4,51,1"), "line 3: expected 19 fields separated by ','. Received 20"),
    ],
)
def test_log_that_cannot_be_understood(tmp_path, change, message):
    path = write_text(tmp_path / "log.csv", LOG.replace(*change))
    with pytest.raises(ValueError, match=f"log.csv(,|:) {message}"):
        read_kuairand(path)


def test_the_published_log(shared_data):
    events = read_kuairand(shared_data / "kuairand_pure_labelled.parquet")
    assert len(events) == 1_039_631
    assert events["session"].nunique() == 27_077
    assert events["item"].nunique() == 7_502
    assert events["feedback"].value_counts().to_dict() == {
        -1: 676_105,
        1: 359_470,
        2: 3_869,
        -2: 187,
    }
    assert (events["feedback"] < 0).mean() == pytest.approx(0.6505, abs=5e-5)
    assert events["split"].value_counts().to_dict() == {
        "history": 817_187,
        "validation": 91_805,
        "test": 130_639,
    }
    assert not events.duplicated(["session", "position"]).any()
    # Reactions are unknown in the history part, so that nothing there is liked or hated.
    assert events["feedback"][events["split"] == "history"].abs().max() == 1
    # What the labels say, counted apart: 677,651 events were not watched.
    log = pd.read_parquet(
        shared_data / "kuairand_pure_labelled.parquet", columns=["long_view", "is_like", "is_hate"]
    )
    unknown_or_no = log[["is_like", "is_hate"]].fillna(0).sum(axis=1) == 0
    assert (log["long_view"] == 0).sum() == 677_651
    assert ((log["long_view"] == 0) & unknown_or_no).sum() == 676_105
