import json
import os

import keras
import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import ComparisonRun, evaluate_sampled, rank_targets

NUM_ITEMS = 12


class Table:
    """Scores that depend on settings and seed, and nothing else."""

    num_items = NUM_ITEMS

    def __init__(self, settings, seed):
        self.rng = np.random.default_rng([settings["strength"], seed])
        self.strength = settings["strength"]

    def score(self, histories):
        scores = self.rng.normal(size=(len(histories), NUM_ITEMS))
        scores[:, 0] += self.strength  # the target is item 1
        return scores


class Train:
    def __init__(self, fail_at=None):
        self.calls = []
        self.fail_at = fail_at

    def __call__(self, settings, seed):
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append((settings["strength"], seed))
        return Table(settings, seed)


@pytest.fixture
def examples():
    sessions = Sessions.from_lists([[2, 3]] * 30, [[1, -1]] * 30)
    skips = np.where(np.arange(30) < 20, 4, 0)
    return Examples(sessions, np.ones(30, "int32"), skips)


WEAK_AND_STRONG = {"weak": {"strength": 0}, "strong": {"strength": 2}}


def test_runs_seed_by_seed_and_never_again(examples, tmp_path, capsys):
    train = Train()
    first = keras_negrec.compare(
        train, WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(3, 1), k=(1, 5)
    )
    assert train.calls == [(0, 3), (2, 3), (0, 1), (2, 1)]
    assert "[1/4] weak, seed 3: trained in 0 s" in capsys.readouterr().out

    again = Train()
    second = keras_negrec.compare(
        again, WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(3, 1), k=(1, 5)
    )
    assert again.calls == []
    assert "[4/4] strong, seed 1: stored" in capsys.readouterr().out
    assert first.table().equals(second.table())

    more = Train()
    keras_negrec.compare(
        more, WEAK_AND_STRONG | {"new": {"strength": 1}}, examples, folder=tmp_path, seeds=(3, 2)
    )
    assert more.calls == [(1, 3), (0, 2), (2, 2), (1, 2)]


def test_goes_on_after_an_interruption(examples, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        keras_negrec.compare(Train(fail_at=3), WEAK_AND_STRONG, examples, folder=tmp_path)
    train = Train()
    resumed = keras_negrec.compare(train, WEAK_AND_STRONG, examples, folder=tmp_path)
    assert train.calls == [(2, 1), (0, 2), (2, 2)]
    whole = keras_negrec.compare(Train(), WEAK_AND_STRONG, examples, folder=tmp_path / "other")
    assert resumed.table().equals(whole.table())


def test_a_run_that_dies_while_it_is_written_is_not_there(examples, tmp_path, monkeypatch):
    def dies(*_):
        assert list(tmp_path.rglob("seed-*.npz")) == []  # nor while it is written
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dies)
        with pytest.raises(OSError, match="no space left"):
            keras_negrec.compare(Train(), WEAK_AND_STRONG, examples, folder=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    [folder] = tmp_path.iterdir()
    (folder / ".seed-0.npz.1.tmp").write_bytes(b"half a f")  # what a lost machine leaves
    train = Train()
    keras_negrec.compare(train, WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(0,))
    assert train.calls == [(0, 0), (2, 0)]


def test_other_settings_labels_examples_and_exclude_seen_are_other_runs(examples, tmp_path):
    def calls(configurations, examples=examples, **arguments):
        train = Train()
        keras_negrec.compare(
            train, configurations, examples, folder=tmp_path, seeds=(0,), **arguments
        )
        return len(train.calls)

    assert calls({"a": {"strength": 0, "x": [1, 2]}}) == 1
    assert calls({"a": {"x": (1, 2), "strength": 0}}) == 0  # the same in JSON
    assert calls({"a": {"strength": 0, "x": [2, 1]}}) == 1
    assert calls({"A": {"strength": 0, "x": [1, 2]}}) == 1  # the same slug
    assert calls({"a": {"strength": 0, "x": [1, 2]}}, exclude_seen=False) == 1
    assert calls({"a": {"strength": 0, "x": [1, 2]}}, examples.take(np.arange(29))) == 1
    assert calls({"a": {"strength": 0, "x": [1, 2]}}, batch_size=7, k=(3,)) == 0


def test_what_is_stored(examples, tmp_path):
    keras_negrec.compare(
        Train(), {"Weak & more!": {"strength": 0}}, examples, folder=tmp_path, seeds=(5,)
    )
    [path] = tmp_path.rglob("*.npz")
    assert path.name == "seed-5.npz" and path.parent.name.startswith("weak-more-")
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        expected = rank_targets(Table({"strength": 0}, 5), examples)
        for name, ranks in expected.items():
            np.testing.assert_array_equal(file[name], ranks)
    assert header["label"] == "Weak & more!" and header["settings"] == {"strength": 0}
    assert header["seed"] == 5 and header["exclude_seen"] is True
    assert header["examples"] == examples.fingerprint()
    assert header["versions"] == {
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "keras_negrec": keras_negrec.__version__,
    }


def test_training_curves_of_a_keras_model(tmp_path, examples):
    sessions = Sessions.from_lists([[1, 2, 3, 4]] * 8)

    def train(settings, seed):
        model = keras_negrec.build_model("sasrec", num_items=NUM_ITEMS, **settings)
        model.fit(model.training_dataset(sessions), epochs=2, shuffle=False, verbose=0)
        return model

    small = {"small": {"embedding_dim": 4, "num_layers": 1, "max_length": 4}}
    for _ in range(2):  # trained, then read
        comparison = keras_negrec.compare(train, small, examples, folder=tmp_path, seeds=(0,))
        [run] = comparison.runs["small"]
        assert len(run.curves["loss"]) == 2 and all(np.isfinite(run.curves["loss"]))


def test_keras_is_seeded_and_settings_are_a_copy(examples, tmp_path):
    drawn = []

    def train(settings, seed):
        drawn.append(float(keras.random.normal(())))
        return Table({"strength": settings.pop("strength")}, seed)

    comparison = keras_negrec.compare(
        train, WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(0, 1)
    )
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    assert comparison.runs["strong"][1].settings == {"strength": 2}


def test_ready_scorers(examples, tmp_path):
    scorer = Table({"strength": 1}, 0)
    comparison = keras_negrec.compare(
        Train(), WEAK_AND_STRONG, examples, folder=tmp_path, scorers={"ready": scorer}
    )
    assert comparison.labels == ["weak", "strong", "ready"]
    assert [run.seed for run in comparison.runs["ready"]] == [None]
    assert not list(tmp_path.glob("ready*"))


def test_a_damaged_file_and_one_in_the_wrong_place(examples, tmp_path):
    def again():
        keras_negrec.compare(Train(), WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(0,))

    again()
    first, second = tmp_path.rglob("*.npz")
    whole = first.read_bytes()
    first.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=f"{first.name} is not a stored run, or damaged"):
        again()
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match="holds another run than its place says"):
        again()


def test_a_run_round_trips(tmp_path):
    ranks = {name: np.array([1.5, np.nan, np.inf]) for name in ("target", "skip_target")}
    ranks["preference"] = np.array([0.5, np.nan, 1])
    run = ComparisonRun(
        "ü", {"a": None}, 3, "f", False, ranks, 1.5, {"loss": [0.1, float("nan")]}, {"keras": "3"}
    )
    run.save(tmp_path / "new" / "run.npz")
    back = ComparisonRun.load(tmp_path / "new" / "run.npz")
    for name, values in vars(run).items():
        np.testing.assert_equal(getattr(back, name), values)
    assert os.listdir(tmp_path / "new") == ["run.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"configurations": {}}, "`configurations` must hold at least one"),
        ({"configurations": {"a": {"x": object()}}}, "must be JSON-able. Received: 'a'"),
        ({"configurations": {"a": {"x": float("nan")}}}, "must be JSON-able. Received: 'a'"),
        ({"configurations": {"a": [1]}}, "must be a dict. Received: 'a'"),
        ({"configurations": {" ": {}}}, "Labels must be strings that are not empty"),
        ({"seeds": (1, 1)}, r"`seeds` .* Received: seeds=\[1, 1\]"),
        ({"seeds": ()}, r"`seeds` .* Received: seeds=\[\]"),
        ({"seeds": (0.5,)}, r"`seeds` must be integers from 0. Received: seeds=\[0.5\]"),
        ({"k": ()}, r"`k` must hold at least one cut-off. Received: k=\(\)"),
        ({"k": (0,)}, "`k` .* Received: k=0"),
        ({"scorers": {"weak": None}}, "Received both under: 'weak'"),
    ],
)
def test_refuses_before_it_trains(examples, tmp_path, arguments, message):
    train = Train()
    given = {"configurations": WEAK_AND_STRONG, "folder": tmp_path} | arguments
    with pytest.raises(ValueError, match=message):
        keras_negrec.compare(train, given.pop("configurations"), examples, **given)
    assert train.calls == []


def test_no_examples(examples, tmp_path):
    with pytest.raises(ValueError, match="`examples` must hold at least one"):
        keras_negrec.compare(Train(), WEAK_AND_STRONG, examples.take([]), folder=tmp_path)


def test_the_sampled_protocol_on_demand(examples, tmp_path):
    first = keras_negrec.compare(Train(), WEAK_AND_STRONG, examples, folder=tmp_path, seeds=(0, 1))
    assert len(first.sampled_table()) == 0
    train = Train()
    options = {"folder": tmp_path, "seeds": (0, 1), "k": (1, 5), "sampled": True}
    scorers = {"ready": Table({"strength": 1}, 0)}
    found = keras_negrec.compare(train, WEAK_AND_STRONG, examples, scorers=scorers, **options)
    assert len(train.calls) == 4  # the stored runs have no such metrics
    table = found.sampled_table()
    expected = [
        # `compare` ranks once before.
        (rank_targets(model, examples), evaluate_sampled(model, examples, k=(1, 5)))[1]
        for model in (Table({"strength": 2}, seed) for seed in (0, 1))
    ]
    for metric in ("sampled_hr@1", "sampled_mrr", "sampled_skip_hr@5"):
        values = [metrics[metric] for metrics in expected]
        assert table.loc[("strong", metric), "mean"] == pytest.approx(np.mean(values))
        assert table.loc[("strong", metric), "spread"] == pytest.approx(np.std(values, ddof=1))
    assert np.isnan(table.loc[("ready", "sampled_hr@1"), "spread"])
    again = Train()
    stored = keras_negrec.compare(again, WEAK_AND_STRONG, examples, **options)
    assert again.calls == []
    assert stored.sampled_table().equals(table.drop(index="ready", level=0))
    text = found.report(tmp_path / "report").with_suffix(".md").read_text("utf-8")
    assert "Means in the sampled protocol" in text
    assert "Means in the sampled protocol" not in (
        first.report(tmp_path / "first").with_suffix(".md").read_text("utf-8")
    )
