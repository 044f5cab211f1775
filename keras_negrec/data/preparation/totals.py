"""What is counted while rows are cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keras_negrec.data.preparation.cut_rows import CutRows

_SPLITS = ("validation", "test")


@dataclass
class Totals:
    """What the written rows hold, `num_items` being the largest item id or provisional code."""

    num_items: int
    rows: int = 0
    events: int = 0
    num_truncated: int = 0
    max_row_length: int = 0
    train: dict[str, int] = field(default_factory=lambda: {"rows": 0, "events": 0})
    columns: list[str] = field(default_factory=list)
    feedback: np.ndarray = field(default_factory=lambda: np.zeros(5, "int64"))  # from -2 to 2

    def __post_init__(self):
        self.count, self.train_count, self.train_positive_count = np.zeros(
            (3, self.num_items + 1), "int64"
        )
        self.targets = {name: np.zeros(self.num_items + 1, "int64") for name in _SPLITS}
        self.examples = {name: {"examples": 0, "with_skip": 0} for name in _SPLITS}

    def add(self, rows: CutRows) -> None:
        sessions, cuts = rows.sessions, rows.cuts
        self.columns = sessions.column_names
        self.num_truncated += rows.num_truncated
        size = self.num_items + 1
        self.rows += len(sessions)
        self.events += sessions.num_events
        self.max_row_length = max(self.max_row_length, int(sessions.lengths.max(initial=0)))
        self.feedback += np.bincount(sessions.feedback + 2, minlength=5)
        self.count += np.bincount(sessions.item_ids, minlength=size)
        train = sessions.positions() < np.repeat(cuts.train_end, sessions.lengths)
        self.train["rows"] += int((cuts.train_end > 0).sum())
        self.train["events"] += int(train.sum())
        self.train_count += np.bincount(sessions.item_ids[train], minlength=size)
        positive = train & (sessions.feedback > 0)
        self.train_positive_count += np.bincount(sessions.item_ids[positive], minlength=size)
        for name in _SPLITS:
            examples = cuts.examples(name, sessions)
            self.examples[name]["examples"] += len(examples)
            self.examples[name]["with_skip"] += int((examples.skip_targets > 0).sum())
            self.targets[name] += np.bincount(examples.targets, minlength=size)

    def split(self) -> dict[str, dict[str, int]]:
        """How much trains, and how many examples there are to rank."""
        split: dict[str, dict[str, int]] = {"train": self.train}
        for name in _SPLITS:
            unseen = int(self.targets[name][self.train_count == 0].sum())
            split[name] = self.examples[name] | {"targets_not_in_training": unseen}
        return split
