"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block succeeds."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder beside `folder` to work in; what is left of it at the end is removed.

    Folders of runs that were interrupted are removed too. A lock that dies with its process
    tells them from those of runs that are still under way.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f"{glob.escape(_prefix(folder))}*"):
        with _locked(stale) as is_ours:
            if is_ours:
                shutil.rmtree(stale, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        is_ours = False
        while not is_ours:  # Another run may take a folder without a lock for a dead one's.
            partial = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
            is_ours = stack.enter_context(_locked(partial))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path) -> None:
    """Puts a finished folder in its place, in which a former one is replaced."""
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
        os.rename(folder, old)
    partial.chmod(0o755)  # Temporary folders are for their owner alone.
    os.rename(partial, folder)
    sync(folder.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.partial-"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the lock on a folder that is still there could be had, which is then held."""
    import fcntl  # Not on Windows, where the rest of the package works.

    with contextlib.ExitStack() as stack:
        is_ours = False
        # Its process has just finished, or is under way.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(descriptor), os.stat(folder))
        yield is_ours
