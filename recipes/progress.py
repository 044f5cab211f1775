"""Lines that say what is being done, so that no recipe is silent for longer than ten seconds."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable

STARTED = time.monotonic()
SILENCE = 8.0  # seconds after which a line is due

_doing: list[tuple[Callable[[], str], float]] = []
_last_line = STARTED


def say(text: str) -> None:
    """Prints the text, its long lines in lines of 80 columns, so that no terminal cuts a word."""
    global _last_line
    _last_line = time.monotonic()
    words_whole = {"break_long_words": False, "break_on_hyphens": False}
    for line in text.split("\n"):
        is_long = len(line) > 80
        print(textwrap.fill(line, 80, subsequent_indent="  ", **words_whole) if is_long else line)
    sys.stdout.flush()


def since_last_line() -> float:
    return time.monotonic() - _last_line


@contextlib.contextmanager
def doing(what: str | Callable[[], str]):
    """Says `what`, or what that function returns, whenever the block is silent for too long.

    Blocks may be nested; the innermost is the one that is named.
    """
    outermost = not _doing
    _doing.append((what if callable(what) else lambda: what, time.monotonic()))
    over = threading.Event()
    if outermost:
        threading.Thread(target=_watch, args=(over,), daemon=True).start()
    try:
        yield
    finally:
        _doing.pop()
        over.set()


def _watch(over: threading.Event) -> None:
    while not over.wait(1.0):
        if since_last_line() >= SILENCE and _doing:
            what, started = _doing[-1]
            say(f"{what()} ({duration(time.monotonic() - started)} so far)")


def duration(seconds: float) -> str:
    """In the unit that reads best: 45 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def no_standard_error():
    """Keeps from the terminal what libraries write there while they load, as TensorFlow does."""
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(nowhere)
        os.close(terminal)
