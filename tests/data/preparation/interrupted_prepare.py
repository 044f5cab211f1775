"""Prepares one folder after the other until it is killed; argument: where."""

import itertools
import sys
from pathlib import Path

from prepare_log import prepare_log, random_log

root = Path(sys.argv[1])
frame = random_log(1, num_sessions=2000)
for seed in itertools.count():
    print(seed, flush=True)
    prepare_log(frame, root / "out", seed=seed, overwrite=True)
