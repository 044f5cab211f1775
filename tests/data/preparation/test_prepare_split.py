import numpy as np
import pandas as pd
import pytest
from prepare_log import (
    examples_of,
    items_of,
    log,
    prepare_log,
    random_log,
    rows_of,
    shards_of,
    train_of,
)


def cuts_of(folder):
    names = ("train_end", "validation_at", "test_at")
    return {row["key"]: tuple(row[name] for name in names) for row in rows_of(folder)}


def timed(*sessions):
    """Events from rows `(session, "item+@time ...")`."""
    frames = []
    for session, text in sessions:
        tokens = [token.split("@") for token in text.split()]
        frame = log((session, " ".join(item for item, _ in tokens)))
        frames.append(frame.assign(timestamp=[int(time) for _, time in tokens]))
    return pd.concat(frames, ignore_index=True).drop(columns="position")


ROWS = [
    ("a+@1 b-@50 c+@99", (3, -1, -1)),  # over before the cuts
    ("a+@1 b-@50 c+@100", (2, 2, -1)),  # under way at the validation cut
    ("a+@1 b-@100 c-@101", (1, -1, -1)),  # nothing kept after it
    ("a+@1 b+@100 c+@200 d-@201", (1, 1, 2)),  # under way at both
    ("a+@1 b-@150 c+@200", (1, -1, 2)),  # nothing kept in the validation period
    ("a+@1 c+@200", (1, -1, 1)),  # nothing at all in the validation period
    ("a+@100 b-@101 c+@102 d+@103", (0, 3, -1)),  # begins in the validation period
    ("a+@100 b-@101", (0, -1, -1)),  # begins there, and kept too little
    ("a+@100 b+@110 c-@205 d+@210", (0, 1, 2)),  # begins there and goes on
    ("a+@200 b+@200 c-@201 d+@300", (0, -1, 2)),  # begins in the test period
    ("a+@200 b-@201", (0, -1, -1)),  # begins there, and kept too little
]


def test_time_cuts(tmp_path):
    rows = [(f"row {number:02d}", events) for number, (events, _) in enumerate(ROWS)]
    periods = {"validation_from": 100, "test_from": 200}
    prepare_log(timed(*rows), tmp_path / "out", split="time", **periods)
    assert list(cuts_of(tmp_path / "out").values()) == [cuts for _, cuts in ROWS]


def test_times_may_be_dates(tmp_path):
    frame = timed(("s", "a+@1 b+@2 c+@3 d+@4"))
    frame["timestamp"] = pd.Timestamp("2020-01-01", tz="UTC").timestamp() + 86400 * frame.index
    settings = {"split": "time", "validation_from": "2020-01-03", "test_from": "2020-01-04"}
    manifest = prepare_log(frame, tmp_path / "out", **settings)
    assert cuts_of(tmp_path / "out") == {"s": (2, 2, 3)}
    assert manifest["split"]["test_from"] == 1577836800 + 3 * 86400


@pytest.mark.parametrize("group_by", ["session", "user"])
def test_time_split_leaks_nothing(tmp_path, group_by):
    frame = random_log(3, users=True, times=True, num_sessions=200)
    frame["item"] = np.arange(len(frame))  # each event is known by its item
    settings = {"split": "time", "validation_share": 0.2, "test_share": 0.3}
    manifest = prepare_log(frame, tmp_path / "out", group_by=group_by, **settings)
    time, feedback = (frame.set_index("item")[name] for name in ("timestamp", "feedback"))
    begin, test_begin = (manifest["split"][f"{part}_from"] for part in ("validation", "test"))
    assert (time < begin).mean() == pytest.approx(0.5, abs=0.01)
    assert (time >= test_begin).mean() == pytest.approx(0.3, abs=0.01)

    # All that happened before is in training, and nothing else.
    trained = [item for items in train_of(tmp_path / "out").values() for item in items]
    assert trained and sorted(trained) == sorted(time.index[time < begin])
    for part, start, end in (("validation", begin, test_begin), ("test", test_begin, np.inf)):
        examples = examples_of(tmp_path / "out", part)
        assert len(examples) == manifest["split"][part]["examples"] > 5
        for history, target, skip in examples.values():
            assert start <= time[target] < end and feedback[target] > 0
            assert max(time[history]) < time[target]
            if skip is not None:
                assert max(time[history]) < time[skip] and feedback[skip] < 0


def test_session_split_by_hand(tmp_path):
    frame = log(*((f"s{i}", "a+ b- c+ d-") for i in range(300)))
    settings = {"split": "session", "validation_share": 0.2, "test_share": 0.3}
    manifest = prepare_log(frame, tmp_path / "out", **settings)
    cuts = list(cuts_of(tmp_path / "out").values())
    # The last positive event, c, is the target; the row trains, validates or tests.
    validates, tests = cuts.count((0, 1, -1)), cuts.count((0, -1, 1))
    assert cuts.count((4, -1, -1)) == 300 - validates - tests
    assert validates == pytest.approx(60, abs=25) == manifest["split"]["validation"]["examples"]
    assert tests == pytest.approx(90, abs=30) == manifest["split"]["test"]["examples"]


def test_session_split_keeps_rows_apart_and_holds_out_rows_of_all_shards(tmp_path):
    frame, out = random_log(5, num_sessions=400), tmp_path / "out"
    settings = {"split": "session", "validation_share": 0.3, "test_share": 0.3}
    prepare_log(frame, out, num_shards=4, **settings)
    parts = [train_of(out), examples_of(out, "validation"), examples_of(out, "test")]
    assert all(parts)
    assert set().union(*parts) == set(frame["session"]) and sum(map(len, parts)) == 400
    for shard in shards_of(out):
        assert (shard["test_at"].to_numpy() >= 0).mean() > 0.05
        assert (shard["train_end"].to_numpy() > 0).mean() > 0.2


def test_rows_that_cannot_be_ranked_train(tmp_path):
    rows = [(f"s{i}", "a+ b-") for i in range(50)] + [(f"u{i}", "a+ b+") for i in range(50)]
    settings = {"split": "session", "validation_share": 0.3, "test_share": 0.6}
    prepare_log(log(*rows), tmp_path / "out", **settings)
    assert {f"s{i}" for i in range(50)} <= set(train_of(tmp_path / "out"))


def test_without_a_split_all_events_train(tmp_path):
    frame = random_log(6)
    manifest = prepare_log(frame, tmp_path / "out", split=None)
    assert manifest["split"]["train"]["events"] == len(frame)
    assert all(cut[1:] == (-1, -1) for cut in cuts_of(tmp_path / "out").values())
    assert items_of(tmp_path / "out").keys() == train_of(tmp_path / "out").keys()


@pytest.mark.parametrize("split", ["leave_one_out", "session"])
def test_no_row_can_be_held_out(tmp_path, split):
    with pytest.raises(ValueError, match=f"No row can be held out .* split='{split}', 1 rows"):
        prepare_log(log(("s", "a+ b- c-")), tmp_path / "out", split=split)
    assert not (tmp_path / "out").exists()
