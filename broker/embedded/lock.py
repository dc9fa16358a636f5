"""One owner per home: a lock that the kernel frees when its holder dies, however it dies.

Called by: ``postgres``, ``temporal``, ``processes``. Must not: be used between machines (shared disks may ignore it).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from broker.embedded.spawn import AlreadyRunningError


class HomeLock:
    """An exclusive ``flock`` on a file that also holds the owner's process id, for people to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises ``AlreadyRunningError`` naming the process that has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Python's descriptors are not inherited by children, so a child that outlives us does not keep the lock.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise AlreadyRunningError(self._path.parent, holder or "?") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
