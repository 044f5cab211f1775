"""The notebook's cells run from top to bottom, on a small log."""

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "recipes" / "tour.ipynb"


def test_the_notebook_runs_and_keeps_its_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "NUM_SESSIONS = 8000" in code[0] and "EPOCHS = 8" in code[0]
    code[0] = code[0].replace("NUM_SESSIONS = 8000", "NUM_SESSIONS = 300")
    code[0] = code[0].replace("EPOCHS = 8", "EPOCHS = 1")
    namespace: dict = {}
    for number, source in enumerate(code):
        exec(compile(source, f"cell {number}", "exec"), namespace)
    assert "at equal hits" in capsys.readouterr().out
    assert (tmp_path / "saved_models/tour/1/saved_model.pb").exists()
    assert (tmp_path / "saved_models/tour/listeners.json").exists()
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert (NOTEBOOK.parent / "guides/page.png").exists()
