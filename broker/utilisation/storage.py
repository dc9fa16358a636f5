"""Where the store's files stand: a folder, or a bucket of an S3-compatible store that several machines share.

Called by: ``utilisation.store`` (days of samples), ``utilisation.counters`` (looks). Must not: know what a file holds.

Whoever reads gets paths on this machine: DuckDB brings no S3 of its own that could be had without a network (0009). An
object is fetched whole, once for each version, so that a reader never sees half of two versions. Nobody locks a bucket:
a file is replaced only over the version that was read (``Moved`` otherwise, and the writer reads again).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from broker.errors import Conflict

_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the store: its name below the store's root, and which version of it."""

    name: str
    version: str


class Moved(Exception):
    """Somebody else has replaced the file since it was read."""


class Storage(Protocol):
    """What the store needs of wherever its files stand. Raises ``StoreDown`` where that does not answer."""

    def listed(self, folder: str) -> list[Kept]:
        """The files below ``folder``, by name; drafts are none."""

    def local(self, files: Sequence[Kept]) -> list[Path]:
        """Paths on this machine with just these contents, in the same order. What is gone by now is left out."""

    def draft(self, name: str) -> Path:
        """Where to write what will be ``name``."""

    def replace(self, name: str, draft: Path, over: Kept | None) -> None:
        """Make the draft the file, whole or not at all. Raises Moved unless ``over`` (None: nothing) is there."""

    def put(self, name: str, draft: Path) -> None:
        """Make the draft the file, whatever is there."""

    def remove(self, name: str) -> None:
        """Nothing there is fine."""

    def writing(self, wait_s: float) -> AbstractContextManager[None]:
        """Held while something is replaced. Raises Conflict ``store.busy`` after ``wait_s`` seconds."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or one that several mount; one writer at a time (a lock in the folder)."""

    root: Path

    def listed(self, folder: str) -> list[Kept]:
        found = []
        for path in sorted((self.root / folder).rglob("[!.]*")):
            try:
                if path.is_file():
                    seen = path.stat()
                    found.append(Kept(str(path.relative_to(self.root)), f"{seen.st_mtime_ns}-{seen.st_size}"))
            except FileNotFoundError:
                continue
        return found

    def local(self, files: Sequence[Kept]) -> list[Path]:
        return [path for path in (self.root / each.name for each in files) if path.exists()]

    def draft(self, name: str) -> Path:
        at = self.root / name
        at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return at.with_name(f".{at.name}.draft")

    def replace(self, name: str, draft: Path, over: Kept | None) -> None:  # noqa: ARG002 - the lock keeps others away
        self.put(name, draft)

    def put(self, name: str, draft: Path) -> None:
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(self.root / name)

    def remove(self, name: str) -> None:
        path = self.root / name
        path.unlink(missing_ok=True)
        try:
            path.parent.rmdir()
        except OSError:
            return  # others stand there

    @contextmanager
    def writing(self, wait_s: float) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        ends = time.monotonic() + wait_s
        with (self.root / ".lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= ends:
                        raise Conflict("store.busy") from error
                    time.sleep(_LOOK_S)
            yield
