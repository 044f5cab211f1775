"""The code of README and guides runs, block after block, and what they name exists."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_negrec as kn

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md"]
PAGES += sorted((ROOT / "recipes/guides").glob("*.md"))
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}


def blocks(name):
    return re.findall(r"```python\n(.*?)```", TEXTS[name], flags=re.S)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="takes long to compile on other backends"
)
@pytest.mark.parametrize("name", [name for name in TEXTS if name != "README.md" and blocks(name)])
def test_blocks_run_one_after_the_other(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    scope: dict = {"__name__": name}
    for number, code in enumerate(blocks(name), 1):
        exec(compile(code, f"{name}, block {number}", "exec"), scope)


def test_the_ten_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks("README.md") if "kn.export" in block]
    code = block.replace("num_sessions=2000", "num_sessions=200")
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    assert code != block
    exec(code, {})
    printed = capsys.readouterr().out
    assert "feedback_auc" in printed and "Recommendation(item=" in printed
    assert list((tmp_path / "saved_models").glob("*/1/saved_model.pb"))


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_named_exists(name):
    for path in re.findall(r"(?<![\w/])((?:recipes|tests|keras_negrec)/[\w/.*-]+\w)", TEXTS[name]):
        assert list(ROOT.glob(path)), path
    for link in re.findall(r"\[[^\]\n]+\]\((?!http|#)([^)#\s]+)\)", TEXTS[name]):
        page = next(page for page in PAGES if page.name == name)
        assert (page.parent / link).exists(), link
    for dotted in re.findall(r"`kn\.([\w.]+)", TEXTS[name]):
        value = kn
        for part in dotted.split("."):
            value = getattr(value, part)


def test_the_contrastive_loss_trains_a_model_of_ones_own():
    scope = {"keras": keras, "kn": kn}
    [block] = [block for block in blocks("models-and-losses.md") if "FeedbackSimilarity" in block]
    exec(block, scope)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(2, 4, 8)), rng.normal(size=(2, 5, 8))]
    labels = np.full((2, 4, 5), -1)
    labels[:, :, 0], labels[:, :, 1] = 1, 0
    y = {"next_item": np.zeros((2, 4), int), "contrastive": labels}
    history = scope["own"].fit(x, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["contrastive_loss"][0] > 0
