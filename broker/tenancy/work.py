"""One use-case's surroundings: the transaction, who acts, what time it is, which calendar holds.

Called by: the API's unit of work and the workflow's steps (they make one); every service takes it as first argument.
Must not: commit (its maker does), or decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from broker.audit import events
from broker.tenancy.values import SYSTEM, Actor, Mandate
from broker.workdays import WorkCalendar


@dataclass(frozen=True, slots=True)
class Work:
    """``now`` is taken once, so that everything a use-case writes carries the same instant."""

    session: Session
    actor: Actor
    now: datetime
    calendar: WorkCalendar
    trace_id: str = ""

    def record(
        self,
        action: str,
        subject_type: str,
        subject_id: UUID,
        *,
        request_id: UUID | None = None,
        mandate: Mandate | None = None,
        article: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one audit event for what the actor just did (``subject_type.action`` in the log's words)."""
        events.record(
            self.session,
            at=self.now,
            actor_id=mandate.account_id if mandate else self.actor.account_id,
            on_behalf_of=mandate.on_behalf_of if mandate else None,
            action=action,
            subject_type=subject_type,
            subject_id=subject_id,
            request_id=request_id,
            article=article,
            trace_id=self.trace_id,
            data=data,
        )


@dataclass(frozen=True, slots=True)
class WorkFactory:
    """Opens use-cases for the worker, which has no web request: one transaction each, committed on leaving."""

    sessions: sessionmaker[Session]
    clock: Callable[[], datetime]
    calendar: WorkCalendar

    @contextmanager
    def begin(self, actor: Actor = SYSTEM, trace_id: str = "") -> Iterator[Work]:
        """A use-case in a transaction of its own; an exception rolls it back."""
        with self.sessions.begin() as session:
            yield Work(session=session, actor=actor, now=self.clock(), calendar=self.calendar, trace_id=trace_id)
