"""The README's Python code runs."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_negrec as kn

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), flags=re.S)

once = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="takes long to compile elsewhere; the ten lines are run on every backend",
)


def test_the_ten_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = (
        BLOCKS[0].replace("num_sessions=2000", "num_sessions=200").replace("epochs=5", "epochs=1")
    )
    assert code != BLOCKS[0]
    exec(code, {})
    printed = capsys.readouterr().out
    assert "hr@10" in printed and "Recommendation(item=" in printed
    assert (tmp_path / "saved_models/first/1/saved_model.pb").exists()


def test_the_term_attaches_to_a_model_of_ones_own():
    inputs = {
        "history": keras.Input((4, 3), name="history"),
        "session": keras.Input((5, 3), name="session"),
    }
    contexts = keras.layers.Dense(3)(inputs["history"])
    scope = {
        "keras": keras,
        "kn": kn,
        "inputs": inputs,
        "contexts": contexts,
        "candidates": inputs["session"],
        "logits": keras.layers.Dense(7, name="next_item")(contexts),
        "my_loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    [block] = [block for block in BLOCKS if "my_loss" in block]
    exec(block, scope)
    rng = np.random.default_rng(0)
    x = {"history": rng.normal(size=(2, 4, 3)), "session": rng.normal(size=(2, 5, 3))}
    labels = np.full((2, 4, 5), -1)
    labels[:, :, 0], labels[:, :, 1] = 1, 0
    y = {"next_item": np.zeros((2, 4), int), "contrastive": labels}
    history = scope["model"].fit(x, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["contrastive_loss"][0] > 0


def test_all_terms_at_once():
    [block] = [block for block in BLOCKS if "skips_as_negatives" in block]
    vocabulary = kn.data.Vocabulary(range(9))
    scope = {"kn": kn, "vocabulary": vocabulary}
    exec(block, scope)
    sessions = kn.data.Sessions.from_lists([[1, 2, 3, 4]] * 8, [[1, -1, 1, 1]] * 8)
    model = scope["model"]
    history = model.fit(model.training_dataset(sessions), verbose=0, shuffle=False).history
    lines = {"loss", "next_item_loss", "contrastive_loss", "not_to_recommend_loss"}
    assert set(history) == lines


@once
def test_the_comparison_runs_and_then_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in BLOCKS if "kn.compare(" in block]
    code = block.replace('"epochs": 5', '"epochs": 1').replace("seeds=(0, 1, 2)", "seeds=(0,)")
    code = code.replace('"model": {', '"model": {"embedding_dim": 8, "num_layers": 1, ')
    assert code.count('"epochs": 1, "model": {"embedding_dim": 8') == 2
    simulation = kn.data.simulate_sessions(num_sessions=100, seed=0)
    vocabulary = kn.data.Vocabulary.from_items(simulation.events["item"])
    split = kn.data.leave_one_out(kn.data.Sessions.from_events(simulation.events, vocabulary))
    for expected in (2, 0):
        exec(code, {"kn": kn, "vocabulary": vocabulary, "split": split})
        assert capsys.readouterr().out.count(": training\n") == expected
    assert (tmp_path / "report/report.html").exists()


def test_every_recipe_that_is_named_exists():
    named = set(re.findall(r"recipes/\w+\.\w+", README.read_text("utf-8")))
    missing = [path for path in named if not (README.parent / path).exists()]
    assert named and not missing


@pytest.mark.parametrize("name", re.findall(r"`kn\.([\w.]+)", README.read_text("utf-8")))
def test_every_name_in_the_text_exists(name):
    value = kn
    for part in name.split("."):
        value = getattr(value, part)


@once
def test_prepared_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in BLOCKS if "load_prepared" in block]
    simulation = kn.data.simulate_sessions(num_sessions=60, num_items=40, seed=0)
    scope = {"kn": kn, "simulation": simulation}
    exec(block, scope)
    assert "hr@10" in capsys.readouterr().out
    assert len(scope["prepared"].vocabulary) == scope["model"].num_items


@once
def test_a_hybrid(capsys):
    [block] = [block for block in BLOCKS if "WeightedHybrid" in block]
    simulation = kn.data.simulate_sessions(num_sessions=60, num_items=40, seed=0)
    vocabulary = kn.data.Vocabulary.from_items(simulation.events["item"])
    split = kn.data.leave_one_out(kn.data.Sessions.from_events(simulation.events, vocabulary))
    exec(block, {"kn": kn, "vocabulary": vocabulary, "split": split})
    assert "hr@10" in capsys.readouterr().out


@once
def test_new_items():
    [block] = [block for block in BLOCKS if "grow_vocabulary" in block]
    simulation = kn.data.simulate_sessions(num_sessions=60, num_items=40, seed=0)
    vocabulary = kn.data.Vocabulary.from_items(simulation.events["item"])
    model = kn.build_model("sasrec", vocabulary=vocabulary, embedding_dim=8, num_layers=1)
    scope = {"kn": kn, "model": model, "simulation": simulation}
    exec(block, scope)
    assert scope["grown"].num_items == len(vocabulary) + 2


@once
def test_an_ensemble():
    [block] = [block for block in BLOCKS if "Ensemble(" in block]
    code = block.replace("epochs=5", "epochs=1").replace(
        '"sasrec", ', '"sasrec", embedding_dim=8, '
    )
    assert "epochs=1" in code and "embedding_dim=8" in code
    simulation = kn.data.simulate_sessions(num_sessions=60, num_items=40, seed=0)
    vocabulary = kn.data.Vocabulary.from_items(simulation.events["item"])
    split = kn.data.leave_one_out(kn.data.Sessions.from_events(simulation.events, vocabulary))
    scope = {"kn": kn, "vocabulary": vocabulary, "split": split}
    exec(code, scope)
    assert "hr@10" in kn.evaluate(scope["ensemble"], split.test)
