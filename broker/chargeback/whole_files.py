"""Files that belong together appear together: made in a folder beside, brought to the disk, then moved.

Called by: ``chargeback.export``. Must not: know what is in a file.

A folder that is not there or empty gets all of them in one step: whoever kills it finds all or none. In a folder with
other things in it the first one named vanishes first and comes last: a new one never stands beside an old other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def together(out: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write ``names`` into; left without an error, they are in ``out``, and else nothing has changed."""
    out = out.resolve()
    fresh = not out.exists() or (out.is_dir() and not out.is_mount() and not any(out.iterdir()))
    # Beside, and so on the same disk: a move is one step there.
    with TemporaryDirectory(dir=_existing(out.parent) if fresh else out, prefix=".guiyun-") as beside:
        made = Path(beside, "whole")
        made.mkdir()
        yield made
        for path in (*(made.joinpath(name) for name in names), made):
            _to_disk(path)
        if fresh:
            out.parent.mkdir(parents=True, exist_ok=True)
            made.rename(out)
            _to_disk(out.parent)
        else:
            out.joinpath(names[0]).unlink(missing_ok=True)
            for name in reversed(names):
                made.joinpath(name).replace(out.joinpath(name))
            _to_disk(out)


def _existing(folder: Path) -> Path:
    """The nearest folder that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
