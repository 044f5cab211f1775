import os

import keras
import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import ComparisonRun, evaluate_sampled, rank_targets

NUM_ITEMS = 12
WEAK_AND_STRONG = {"weak": {"strength": 0}, "strong": {"strength": 2}}
SESSIONS = Sessions.from_lists([[2, 3]] * 30, [[1, -1]] * 30)
EXAMPLES = Examples(SESSIONS, np.ones(30, "int32"), np.where(np.arange(30) < 20, 4, 0))


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


@pytest.fixture
def compare(tmp_path):
    def compare(configurations=WEAK_AND_STRONG, examples=EXAMPLES, fail_at=None, **options):
        """The comparison, and the strength and seed of each training."""
        calls = []

        def train(settings, seed):
            if len(calls) == fail_at:
                raise KeyboardInterrupt
            calls.append((settings["strength"], seed))
            return Table(settings, seed)

        options = {"folder": tmp_path / "runs", "seeds": (0,)} | options
        return keras_negrec.compare(train, configurations, examples, **options), calls

    return compare


def test_runs_seed_by_seed_and_never_again(compare, capsys, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compare(seeds=(3, 1), fail_at=3)
    resumed, calls = compare(seeds=(3, 1))
    assert calls == [(2, 1)]
    assert "[1/4] weak, seed 3: stored" in capsys.readouterr().out
    whole, calls = compare(seeds=(3, 1), folder=tmp_path / "other")
    assert calls == [(0, 3), (2, 3), (0, 1), (2, 1)]
    assert "[4/4] strong, seed 1: trained in 0 s" in capsys.readouterr().out
    assert resumed.table().equals(whole.table())

    _, calls = compare(WEAK_AND_STRONG | {"new": {"strength": 1}}, seeds=(3, 2))
    assert calls == [(1, 3), (0, 2), (2, 2), (1, 2)]


def test_a_run_that_dies_while_it_is_written_is_not_there(compare, tmp_path, monkeypatch):
    def dies(*_):
        assert list(tmp_path.rglob("seed-*.npz")) == []  # nor while it is written
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(os, "fsync", dies)
        compare()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    [folder] = (tmp_path / "runs").iterdir()
    (folder / ".seed-0.npz.1.tmp").write_bytes(b"half a f")  # what a lost machine leaves
    assert compare()[1] == [(0, 0), (2, 0)]


def test_other_settings_labels_examples_and_exclude_seen_are_other_runs(compare):
    def calls(configurations, **arguments):
        return len(compare(configurations, **arguments)[1])

    first = {"a": {"strength": 0, "x": [1, 2]}}
    assert calls(first) == 1
    assert calls({"a": {"x": (1, 2), "strength": 0}}) == 0  # the same in JSON
    assert calls({"a": {"strength": 0, "x": [2, 1]}}) == 1
    assert calls({"A": {"strength": 0, "x": [1, 2]}}) == 1  # the same slug
    assert calls(first, exclude_seen=False) == 1
    assert calls(first, examples=EXAMPLES.take(np.arange(29))) == 1
    assert calls(first, batch_size=7, k=(3,)) == 0


def test_what_is_stored(compare, tmp_path):
    compare({"Weak & more!": {"strength": 0}}, seeds=(5,))
    [path] = tmp_path.rglob("*.npz")
    assert path.name == "seed-5.npz" and path.parent.name.startswith("weak-more-")
    run = ComparisonRun.load(path)
    for name, ranks in rank_targets(Table({"strength": 0}, 5), EXAMPLES).items():
        np.testing.assert_array_equal(run.ranks[name], ranks)
    assert (run.label, run.settings, run.seed) == ("Weak & more!", {"strength": 0}, 5)
    assert (run.examples, run.exclude_seen) == (EXAMPLES.fingerprint(), True)
    versions = {"keras": keras.__version__, "backend": keras.config.backend()}
    assert run.versions == versions | {"keras_negrec": keras_negrec.__version__}


def test_training_curves_of_a_keras_model(tmp_path):
    sessions = Sessions.from_lists([[1, 2, 3, 4]] * 8)

    def train(settings, seed):
        model = keras_negrec.build_model("sasrec", num_items=NUM_ITEMS, **settings)
        model.fit(model.training_dataset(sessions), epochs=2, shuffle=False, verbose=0)
        return model

    small = {"small": {"embedding_dim": 4, "num_layers": 1, "max_length": 4}}
    for _ in range(2):  # trained, then read
        comparison = keras_negrec.compare(train, small, EXAMPLES, folder=tmp_path, seeds=(0,))
        [run] = comparison.runs["small"]
        assert len(run.curves["loss"]) == 2 and all(np.isfinite(run.curves["loss"]))


def test_keras_is_seeded_and_settings_are_a_copy(tmp_path):
    drawn = []

    def train(settings, seed):
        drawn.append(float(keras.random.normal(())))
        return Table({"strength": settings.pop("strength")}, seed)

    comparison = keras_negrec.compare(
        train, WEAK_AND_STRONG, EXAMPLES, folder=tmp_path, seeds=(0, 1)
    )
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    assert comparison.runs["strong"][1].settings == {"strength": 2}


def test_a_damaged_file_and_one_in_the_wrong_place(compare, tmp_path):
    compare()
    first, second = tmp_path.rglob("*.npz")
    first.write_bytes(first.read_bytes()[:-200])
    with pytest.raises(ValueError, match=f"{first.name} is not a stored run, or damaged"):
        compare()
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match="holds another run than its place says"):
        compare()


@pytest.mark.parametrize("share", [0.002, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_flipped_bit_of_a_stored_run_is_an_error_or_changes_nothing(compare, tmp_path, share):
    compare({"a": {"strength": 0}})
    [path] = tmp_path.rglob("*.npz")
    stored, whole = vars(ComparisonRun.load(path)), path.read_bytes()
    bits = np.random.default_rng(0).permutation(8 * len(whole))[: int(share * 8 * len(whole))]
    num_found = 0
    for bit in bits.tolist():
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            run = ComparisonRun.load(path)
        except ValueError as error:
            assert f"{path} is not a stored run, or damaged" in str(error)
            num_found += 1
        else:  # dates, and others that say nothing of the data
            np.testing.assert_equal(vars(run), stored)
    assert num_found > len(bits) / 3


def test_a_stored_run_of_another_shape(compare, tmp_path):
    compare({"a": {"strength": 0}})
    [path] = tmp_path.rglob("*.npz")
    run = ComparisonRun.load(path)
    fewer = {name: ranks[:29] for name, ranks in run.ranks.items()}
    for ranks, message in (
        (fewer, rf"{path} holds another run .* 29, False\) in place of .* 30, False\)"),
        (run.ranks | {"target": fewer["target"]}, rf"{path} is not .* must have one shape"),
        ({"target": fewer["target"]}, f"{path} is not a stored run"),
    ):
        ComparisonRun(**vars(run) | {"ranks": ranks}).save(path)
        with pytest.raises(ValueError, match=message):
            compare({"a": {"strength": 0}})
    with pytest.raises(FileNotFoundError):
        ComparisonRun.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"configurations": {}}, "`configurations` must hold at least one"),
        ({"configurations": {"a": {"x": object()}}}, "must be a JSON-able dict. Received: 'a'"),
        ({"configurations": {"a": {"x": float("nan")}}}, "must be a JSON-able dict"),
        ({"configurations": {"a": [1]}}, "must be a JSON-able dict. Received: 'a'"),
        ({"configurations": {" ": {}}}, "Labels must be strings that are not empty"),
        ({"seeds": (1, 1)}, r"`seeds` .* Received: seeds=\[1, 1\]"),
        ({"seeds": ()}, r"`seeds` .* Received: seeds=\[\]"),
        ({"seeds": (0.5,)}, r"`seeds` must be integers from 0.* Received: seeds=\[0.5\]"),
        ({"k": ()}, r"`k` must hold at least one cut-off. Received: k=\(\)"),
        ({"k": (0,)}, "`k` .* Received: k=0"),
        ({"scorers": {"weak": None}}, r"Received twice: \['weak'\]"),
        ({"examples": EXAMPLES.take([])}, "`examples` must hold at least one"),
    ],
)
def test_refuses_before_it_trains(compare, arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(fail_at=0, **arguments)


def test_the_sampled_protocol_on_demand(compare, tmp_path):
    first, _ = compare(seeds=(0, 1))
    assert len(first.sampled_table()) == 0
    options = {"seeds": (0, 1), "k": (1, 5), "sampled": True}
    found, calls = compare(scorers={"ready": Table({"strength": 1}, 0)}, **options)
    assert len(calls) == 4  # the stored runs have no such metrics
    assert found.labels == ["weak", "strong", "ready"] and not list(tmp_path.rglob("ready*"))
    assert [run.seed for run in found.runs["ready"]] == [None]
    table = found.sampled_table()
    expected = [
        # `compare` ranks once before.
        (rank_targets(model, EXAMPLES), evaluate_sampled(model, EXAMPLES, k=(1, 5)))[1]
        for model in (Table({"strength": 2}, seed) for seed in (0, 1))
    ]
    for metric in ("sampled_hr@1", "sampled_mrr", "sampled_skip_hr@5"):
        values = [metrics[metric] for metrics in expected]
        assert table.loc[("strong", metric), "mean"] == pytest.approx(np.mean(values))
        assert table.loc[("strong", metric), "spread"] == pytest.approx(np.std(values, ddof=1))
    assert np.isnan(table.loc[("ready", "sampled_hr@1"), "spread"])
    stored, calls = compare(**options)
    assert calls == []
    assert stored.sampled_table().equals(table.drop(index="ready", level=0))
    text = found.report(tmp_path / "report").with_suffix(".md").read_text("utf-8")
    assert "## Means in the sampled protocol" in text
