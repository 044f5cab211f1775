"""The nightly recipe, for two small days."""

import re
import runpy
import sys
from pathlib import Path

import pandas as pd

from keras_negrec.data import load_prepared

RECIPES = Path(__file__).parents[2] / "recipes"


def test_two_nights(monkeypatch, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    options = "--days 2 --first 150 --sessions 60 --items 60 --epochs 2 --retrain-every 2"
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.setattr(sys, "argv", ["nightly", *options.split(), "--out", str(tmp_path / "out")])
    runpy.run_path(str(RECIPES / "nightly.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for line in (
        r"^day 1: HR@10 0\.\d{4}, exported$",
        r"^day 2: HR@10 0\.\d{4} updated in .*, 0\.\d{4} served before, (not )?exported$",
        r"^  0\.\d{4} from nothing, in \d+ s$",
        r"^  then \d+ new items, \d+ retired$",
    ):
        assert re.search(line, printed, re.M), line
    assert "on days [2] the updated model finds" in printed
    assert max(map(len, printed.splitlines())) <= 80
    nights = pd.read_csv(tmp_path / "out" / "nights.csv")
    assert nights["day"].tolist() == [1, 2] and nights["exported"].any()
    assert (tmp_path / "out" / "model").is_dir() and (tmp_path / "out" / "notes.txt").exists()
    prepared = load_prepared(tmp_path / "out" / "prepared")
    assert len(prepared.manifest["parts"]) == 2
    assert nights["new"].sum() + 30 < len(prepared.vocabulary) <= 60
