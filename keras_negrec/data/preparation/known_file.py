"""Files whose content is known from a manifest."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPAIR = (
    "Run `prepare` again with the same arguments and overwrite=True (in a shell: --overwrite) to "
    "repair the folder, and then append again what was appended."
)
_ONE_AT_A_TIME = threading.Lock()  # Threads that read one file need not all hash it.


@dataclass(frozen=True)
class KnownFile:
    """A file of a prepared folder, with the size and the SHA-256 that its manifest says."""

    path: Path
    bytes: int
    sha256: str
    _found_whole: list[tuple[int, int]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def check_size(self) -> os.stat_result:
        """An error unless the file is there in its size, which tells much and costs nothing."""
        try:
            found = self.path.stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The manifest names a file that is not there: {self.path}. {REPAIR}"
            ) from error
        if found.st_size != self.bytes:
            raise ValueError(
                f"{self.path} must have {self.bytes} bytes by the manifest. {REPAIR} Received: "
                f"{found.st_size}"
            )
        return found

    def checked(self) -> Path:
        """The path, to be opened now, or an error that names it.

        The file is hashed the first time, and again where it has changed since.
        """
        found = self.check_size()
        state = (found.st_ino, found.st_mtime_ns)
        with _ONE_AT_A_TIME:
            if self._found_whole != [state]:
                digest = _sha256(self.path)
                if digest != self.sha256:
                    raise ValueError(
                        f"{self.path} is damaged, or of another folder: its SHA-256 must be "
                        f"{self.sha256} by the manifest. {REPAIR} Received: {digest}"
                    )
                self._found_whole[:] = [state]
        return self.path


def describe_file(path: Path, folder: Path) -> dict[str, Any]:
    """What a manifest says of a file of its folder."""
    size, name = path.stat().st_size, path.relative_to(folder).as_posix()
    return {"file": name, "bytes": size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # of a bad disk, which does not name the file
        raise ValueError(f"{path} cannot be read. {REPAIR} Received: {error}") from error
