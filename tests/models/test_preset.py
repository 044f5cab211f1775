"""A model as a folder: what is in it comes back, and nothing else gets in."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from small_models import VOCABULARY, build, fit, random_sessions, with_random_weights

import keras_negrec
from keras_negrec import data, from_preset
from keras_negrec.backend.keras_private import SafeModeScope
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.models import Ensemble, MatrixFactorization, encoders

SESSIONS = random_sessions()
FEATURES = np.random.default_rng(0).normal(size=(len(VOCABULARY), 3)).astype("float32")


@keras.saving.register_keras_serializable("preset_tests")
class OwnEncoder(encoders.SASRec):
    """A class of a user's own, with a column of its own."""

    columns = ("mood",)


def a_model(kind):
    if kind == "ensemble":
        return Ensemble([a_model("keep"), a_model("matrix")])
    if kind == "matrix":
        model = MatrixFactorization(vocabulary=VOCABULARY, embedding_dim=4, max_length=5)
    elif kind == "keep":
        model = build("sasrec", vocabulary=VOCABULARY, feedback_inputs=True, negative_loss="keep")
        model.set_ranking_weights(keep=2)
    else:
        model = build("bert4rec", vocabulary=VOCABULARY, item_features=FEATURES)
    return with_random_weights(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A preset to be damaged: copy it."""
    return a_model("keep").save_to_preset(tmp_path_factory.mktemp("presets") / "keep")


def edit(path, change):
    """Changes a JSON file of a preset, with hashes that say that it was always so."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    metadata = path.parent / "metadata.json"
    if path != metadata:
        digest = keras_negrec.models.preset._sha256(path)
        edit(metadata, lambda content: content["files"].update({path.name: digest}))


@pytest.mark.parametrize("kind", ["keep", "features", "matrix", "ensemble"])
def test_a_loaded_model_is_the_saved_one(kind, tmp_path):
    model = a_model(kind)
    path = model.save_to_preset(tmp_path / "deep" / "preset")
    assert path == tmp_path / "deep" / "preset"
    loaded = from_preset(path)
    assert type(loaded) is type(model)
    assert loaded.get_config() == model.get_config()
    assert loaded.vocabulary == VOCABULARY
    assert loaded.ranking_weights == model.ranking_weights
    assert loaded.preparation is None and loaded.feature_encoder is None
    np.testing.assert_array_equal(loaded.score(SESSIONS), model.score(SESSIONS))


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    model = a_model("keep")
    fit(model, SESSIONS)
    model.save_to_preset(tmp_path / "whole")
    model.save_to_preset(tmp_path / "smaller", optimizer_state=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        whole, smaller = from_preset(tmp_path / "whole"), from_preset(tmp_path / "smaller")
    sizes = [(tmp_path / name / "model.weights.h5").stat().st_size for name in ("whole", "smaller")]
    assert sizes[1] < 0.8 * sizes[0]
    steps = [int(each.optimizer.iterations) for each in (model, whole, smaller)]
    assert steps[0] == steps[1] > 0 == steps[2]
    np.testing.assert_array_equal(smaller.score(SESSIONS), model.score(SESSIONS))
    whole_goes_on, goes_on = fit(whole, SESSIONS), fit(model, SESSIONS)
    for name, losses in goes_on.items():
        assert whole_goes_on[name] == pytest.approx(losses, rel=1e-5)
    fit(smaller, SESSIONS)
    # The first step of a new Adam is far longer than the next one of the old.
    assert np.abs(smaller.score(SESSIONS) - model.score(SESSIONS)).max() > 1e-3
    assert not from_preset(tmp_path / "whole", compile=False).compiled


def test_what_another_backend_compiled_is_compiled_anew():
    model, other = a_model("keep"), a_model("keep")
    config = model.get_compile_config()
    assert config["backend"] == keras.config.backend()
    here = {**config, "jit_compile": not model.jit_compile}
    other.compile_from_config({**here, "backend": "another"})
    assert other.jit_compile == model.jit_compile


_LOAD = """
import json, sys
import numpy as np, keras, keras_negrec
model = keras_negrec.from_preset(sys.argv[1])
rows = keras_negrec.data.Sessions.from_lists(*json.loads(sys.argv[2]))
dataset = model.training_dataset(rows, batch_size=16)
scores = model.score(rows).tolist()
loss = model.fit(dataset, shuffle=False, verbose=0).history["loss"][0]
print(json.dumps([keras.config.backend(), scores, loss, int(model.optimizer.iterations)]))
"""


def test_on_another_backend_it_says_the_same_and_trains_on(tmp_path):
    others = {"tensorflow": "jax", "jax": "torch", "torch": "tensorflow"}
    rows = [[1, 2, 3, 4, 5, 6, 7, 8], [3, 2, 1, 6, 5, 4, 7, 8]], [[1, -1, 1, 1, -1, 1, 1, 1]] * 2
    sessions = data.Sessions.from_lists(*rows)
    model = build("sasrec", vocabulary=VOCABULARY, feedback_inputs=True, num_sampled_negatives=4)
    fit(model, sessions)
    model.save_to_preset(tmp_path / "preset")
    backend = others[keras.config.backend()]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, tmp_path / "preset", json.dumps(rows)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, scores, loss, steps = json.loads(done.stdout.splitlines()[-1])
    assert found == backend and steps == 2 and np.isfinite(loss)
    np.testing.assert_allclose(scores, model.score(sessions), atol=1e-5)


def test_the_rules_of_a_preparation_prepare_another_log(tmp_path):
    simulation = data.simulate_sessions(num_sessions=40, num_items=20, seed=1)
    options = {name: name for name in ("session", "item", "feedback", "position")}
    rules = {"format_options": options, "min_session_length": 3, "max_length": 8, "num_shards": 1}
    data.prepare(simulation.events, tmp_path / "first", verbose=False, **rules)
    prepared = data.load_prepared(tmp_path / "first")
    items = pd.DataFrame({"item": prepared.vocabulary.items, "tempo": np.arange(20.0)})
    encoder, features = data.item_features(
        items, prepared.vocabulary, numeric=["tempo"], folder=prepared.folder
    )
    model = build("gru4rec", vocabulary=prepared.vocabulary, item_features=features)
    model.save_to_preset(tmp_path / "preset", prepared=prepared)

    loaded = from_preset(tmp_path / "preset")
    assert loaded.feature_encoder == encoder
    np.testing.assert_array_equal(loaded.item_embedding.features, features)
    assert str(tmp_path) not in (tmp_path / "preset" / "assets" / "preparation.json").read_text()
    parameters = loaded.preparation["parameters"]
    data.prepare(simulation.events, tmp_path / "second", verbose=False, **parameters)
    again = data.load_prepared(tmp_path / "second")
    assert again.manifest == prepared.manifest
    # What was loaded is saved again with it, and in a `.keras` file too.
    loaded.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").preparation == loaded.preparation
    grown = keras_negrec.grow_vocabulary(loaded, ["new"], item_features=[[0.0]])
    assert grown.preparation == loaded.preparation and grown.feature_encoder == encoder

    others = data.Vocabulary([f"other {i}" for i in range(20)])
    with pytest.raises(ValueError, match="same vocabulary"):
        build("gru4rec", vocabulary=others).save_to_preset(tmp_path / "other", prepared=prepared)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (
            TypeError,
            "`rules` must hold what JSON can.*Received.*object",
            {"rules": {"a": object()}},
        ),
        (TypeError, "`rules` must hold what JSON can.*nan", {"rules": {"a": float("nan")}}),
        (TypeError, r"`prepared` is what `keras_negrec.data.load_prepared", {"prepared": "folder"}),
        (ValueError, "`prepared` or `rules`", {"prepared": 1, "rules": {}}),
        (
            ValueError,
            "`feature_encoder` must make the model's 3 item features. Received one that makes 2",
            {
                "feature_encoder": data.ItemFeatureEncoder(
                    "item", [{"kind": "number", "name": "a", "has_missing": True}]
                )
            },
        ),
    ],
)
def test_arguments_that_make_no_sense(error, message, options, tmp_path):
    with pytest.raises(error, match=message):
        a_model("features").save_to_preset(tmp_path / "preset", **options)
    assert not list(tmp_path.iterdir())


def test_there_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    path = shutil.copytree(folder, tmp_path / "preset")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    model = a_model("keep")
    with pytest.raises(FileExistsError, match=r"overwrite=True.*preset"):
        model.save_to_preset(path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError):
        model.save_to_preset(tmp_path / "mine", overwrite=True)  # no preset
    with monkeypatch.context() as patch:
        patch.setattr("keras_negrec.models.preset._sha256", lambda path: 1 / 0)
        for where in (path, tmp_path / "new"):
            with pytest.raises(ZeroDivisionError):
                model.save_to_preset(where, overwrite=True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mine", "preset"]
    model.save_to_preset(path, rules={"new": 1}, overwrite=True)
    assert from_preset(path).preparation == {"new": 1}


FILES = ["config.json", "model.weights.h5", "assets/vocabulary.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_damaged_is_named(name, folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "preset")
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not the file that was written.*Received"):
        from_preset(path)
    (path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"missing: .*{name}"):
        from_preset(path)


def test_a_file_that_was_added_is_named(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "preset")
    (path / "README.md").write_text("A model.")
    (path / ".gitattributes").write_text("*.h5 filter=lfs")
    from_preset(path)
    (path / "assets" / "item_features.json").write_text("{}")
    with pytest.raises(ValueError, match=r"item_features\.json is no file of this preset"):
        from_preset(path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, r"metadata.json is not there"),
        ("{", r"metadata.json cannot be read as JSON"),
        ("[]", r"must have preset_version 1.*Received: None"),
        ('{"preset_version": 2}', r"must have preset_version 1.*Received: 2"),
        ('{"preset_version": 1}', r"`files` must be a dict. Received: None"),
        (
            '{"preset_version": 1, "files": {}, "optimizer_state": true, "event_columns": [{}]}',
            r"metadata.json: `event_columns` must list event columns",
        ),
        (
            '{"preset_version": 1, "files": {}, "optimizer_state": true, "event_columns": []}',
            r"This file is missing: .*config.json",
        ),
    ],
)
def test_a_folder_that_is_no_preset(content, error, tmp_path):
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        from_preset(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        from_preset(tmp_path / "nowhere")


def test_classes_and_columns_of_ones_own_must_be_known(tmp_path):
    data.register_event_column("mood")
    try:
        model = with_random_weights(build(OwnEncoder(num_layers=1), vocabulary=VOCABULARY))
        path = model.save_to_preset(tmp_path / "preset")
        moods = {"mood": np.arange(len(SESSIONS.item_ids)) % 3}
        rows = data.Sessions({**SESSIONS.columns, **moods}, SESSIONS.row_splits, SESSIONS.keys)
        np.testing.assert_array_equal(from_preset(path).score(rows), model.score(rows))
        registered = keras.saving.get_custom_objects()
        del registered["preset_tests>OwnEncoder"]
        try:
            with pytest.raises(
                ValueError, match="'preset_tests>OwnEncoder' of the module 'test_pr"
            ):
                from_preset(path)
        finally:
            registered["preset_tests>OwnEncoder"] = OwnEncoder
    finally:
        del EVENT_COLUMNS["mood"]
    with pytest.raises(ValueError, match=r"register_event_column\('mood', log_column='mood'"):
        from_preset(path)


def test_nothing_in_the_folder_is_run(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "preset")
    target = str(tmp_path / "written")
    run_me = keras.layers.Lambda(lambda x: os.mkdir(target))
    layer = keras.saving.serialize_keras_object(run_me)
    assert layer["config"]["function"]["class_name"] == "__lambda__"

    def put(config):
        config["config"]["encoder"] = layer

    edit(path / "config.json", put)
    for safe_mode in (None, False):  # also where it was switched off for the process
        with SafeModeScope(safe_mode), pytest.raises(ValueError, match=r"[Ll]ambda"):
            from_preset(path)
    assert not os.path.exists(target)


def test_modules_that_a_config_names_are_not_imported(folder, tmp_path, monkeypatch):
    path = shutil.copytree(folder, tmp_path / "preset")
    (tmp_path / "trap.py").write_text("raise SystemExit('the module was run')")
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(config):
        config["config"]["objective"] |= {"module": "trap", "registered_name": "trap>Trap"}

    edit(path / "config.json", put)
    with pytest.raises(ValueError, match="'trap>Trap' of the module 'trap'"):
        from_preset(path)
    assert "trap" not in sys.modules
