"""A file that somebody brings onto a list: kept as it came, a verdict on every line first, then all or nothing, once.

Called by: ``register_import``, ``dedicated.bringing``, ``metering.usage_import``. Must not: know what a line means; who
calls says that. Nothing is written that nobody saw the verdict of: applying names its digest, and is refused when what
the lines are held against has moved since.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, Id, Moment, new_id
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.tenancy.models import Account
from broker.tenancy.work import Work

NEW, CHANGE, SAME, WRONG = "new", "change", "same", "wrong"
"""What a line would do: bring something new, change what is there, say nothing new, or it cannot be taken."""


class BroughtFile(Base):
    """What every table of brought files has."""

    __abstract__ = True

    id: Mapped[Id]
    file_name: Mapped[str]
    content: Mapped[bytes]
    digest: Mapped[str]
    created_by: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    created_at: Mapped[Moment]
    applied_at: Mapped[Moment | None]


F = TypeVar("F", bound=BroughtFile)


class Judged(Protocol):
    """What a line would do, whatever the list. ``line``: its number in the file."""

    @property
    def line(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def problems(self) -> Iterable[Problem]: ...


def counted(verdicts: Iterable[Judged], kinds: Iterable[str]) -> dict[str, int]:
    """How many lines would do what."""
    found = Counter(verdict.kind for verdict in verdicts)
    return {kind: found[kind] for kind in kinds}


def mistakes(verdicts: Iterable[Judged]) -> list[Problem]:
    """Everything that is wrong, each with its line."""
    return [replace(problem, field=f"{v.line}.{problem.field}") for v in verdicts for problem in v.problems]


def digest_of(content: bytes, said: object) -> str:
    """What a file and what was said of its lines are called together (SM3)."""
    return hashlib.new("sm3", content + repr(said).encode()).hexdigest()


def keep(work: Work, table: type[F], content: bytes, file_name: str, digest: str, **facts: Any) -> F:
    """Keep a file as it came, for its bringer alone. ``facts``: what its table has besides."""
    assert work.actor.account_id is not None
    kept = table(
        id=new_id(),
        file_name=(PurePath(file_name.replace("\\", "/")).name or "—")[:200],
        content=content,
        digest=digest,
        created_by=work.actor.account_id,
        created_at=work.now,
        **facts,
    )
    work.session.add(kept)
    return kept


def mine(work: Work, table: type[F], import_id: UUID, *, lock: bool = False) -> F:
    """The actor's own kept file. Raises NotFound ``import.not_found``, also for somebody else's."""
    statement = select(table).where(table.id == import_id, table.created_by == work.actor.account_id)
    found = work.session.scalar(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound("import.not_found")
    return found


def to_apply(work: Work, table: type[F], import_id: UUID) -> F:
    """The actor's own kept file, held. Raises NotFound ``import.not_found``, Conflict ``import.applied``."""
    kept = mine(work, table, import_id, lock=True)
    if kept.applied_at is not None:
        raise Conflict("import.applied")
    return kept


def require_agreed(seen: str, now: str, problems: list[Problem]) -> None:
    """What was ``seen`` is what it would do ``now``, and nothing of it is wrong.

    Raises Conflict ``import.changed`` (look again); Invalid with every problem of every line.
    """
    if seen != now:
        raise Conflict("import.changed")
    if problems:
        raise Invalid(problems)


def applied(work: Work, kept: BroughtFile, what: str, article: str, said: Mapping[str, object]) -> None:
    """Everything is written: say so, once. ``what``: the list, as in ``system`` (an event ``system.imported``)."""
    kept.applied_at = work.now
    work.record(f"{what}.imported", f"{what}_import", kept.id, article=article, data=said)
