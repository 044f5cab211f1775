"""How a folder comes to be there: whole or not at all, by one run at a time.

A run works in the hidden folder `.NAME.partial` beside the folder NAME: `lock` tells that it is
alive, `new` is what it writes, and `old` is the folder before while the new one takes its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from keras_negrec.atomic_write import sync


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write in, for `publish`; what is left of it at the end is removed.

    What a run that was killed left behind is put right. While another run writes the same folder,
    there is a BlockingIOError.
    """
    with _locked(folder) as room:
        if room is None:
            raise BlockingIOError(
                f"Another run is writing {folder}. Wait until it has ended, or write to "
                f"another folder. Received: a lock on {_room(folder) / 'lock'}"
            )
        (room / "new").mkdir()
        yield room / "new"


def publish(partial: Path, folder: Path) -> None:
    """Puts a finished folder in its place, in which a former one is replaced."""
    folder, room = folder.resolve(), partial.parent
    for entry in (*partial.rglob("*"), partial, room):
        sync(entry)
    if folder.exists():
        os.rename(folder, room / "old")  # From here to the next line, `put_right` takes it back.
    os.rename(partial, folder)
    sync(folder.parent)


def put_right(folder: Path) -> None:
    """Puts back a folder that a run was about to replace when it was killed."""
    while _is_lost(folder.resolve(), _room(folder)):
        with _locked(folder) as room:
            if room is None:  # The run is alive, and between two lines of `publish`.
                time.sleep(0.01)


def _room(folder: Path) -> Path:
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.partial")


def _is_lost(folder: Path, room: Path) -> bool:
    """Whether a run was killed after it moved the folder aside, and before the new one came."""
    is_there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    return not is_there and (room / "old").exists() and (room / "new").exists()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path | None]:
    """The hidden folder of `folder`, clean and locked, or None if another run has the lock."""
    folder, room = folder.resolve(), _room(folder)
    with contextlib.ExitStack() as stack:
        if not _lock(room, stack):
            yield None
            return
        _clean(folder, room)
        try:
            yield room
        finally:
            _clean(folder, room)
            (room / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # The next run has come in.
                room.rmdir()


def _lock(room: Path, stack: contextlib.ExitStack) -> bool:
    """Takes the lock until the stack or the process ends, unless another run has it."""
    import fcntl  # Not on Windows, where the rest of the package works.

    is_ours = False
    while not is_ours:
        room.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as closing:
            lock = os.open(room / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            closing.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # A run that has just ended removes it, maybe after it was opened here.
            is_ours = os.path.samestat(os.fstat(lock), os.stat(room / "lock"))
            if is_ours:
                stack.enter_context(closing.pop_all())
    return True


def _clean(folder: Path, room: Path) -> None:
    """Takes back what was moved aside and not replaced, and removes all else but the lock."""
    if _is_lost(folder, room):
        os.rename(room / "old", folder)
    for name in ("old", "new"):
        shutil.rmtree(room / name, ignore_errors=True)
