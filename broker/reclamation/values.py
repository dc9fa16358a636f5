"""What a case is opened with, how its machine acts are ordered, and what a re-measurement says. Frozen values.

Called by: every module of this room, ``workflows``. Must not: read the database, or carry a secret (the engine keeps
what it is given).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from broker.utilisation.values import Exemption


class Cause(StrEnum):
    """Why resources are taken back."""

    IDLE = "idle"
    """A policy found them idle (Art. 14, 28)."""
    ZOMBIE = "zombie"
    """A person decided that their information system is one of the dead (Art. 2(5), 28)."""
    TERM = "term"
    """Their term has come to its end (Art. 13)."""
    PERSON = "person"
    """A person of the Center's says so, with a reason."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a case begins with. Disks that hang on a server come along by themselves.

    ``grace``: working days to object, by MLPS level; what is not in it has ``GRACE``. ``policy_content``: the policy as
    plain data, kept with the case. ``protected``: what nothing of the case, its disks included, may be named by.
    """

    cause: Cause
    resource_ids: tuple[UUID, ...]
    reason: str
    policy: str = ""
    policy_version: str = ""
    policy_content: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    grace: Mapping[int, int] = field(default_factory=dict)
    system_id: UUID | None = None
    finding_id: UUID | None = None
    protected: tuple[Exemption, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseJob:
    """One run of a case's machine act: the row's id, how often the machine was ordered, and where it acts."""

    id: UUID
    run: int
    sub_cloud: str


class Verdict(StrEnum):
    """What looking again says before anything is stopped."""

    IDLE = "idle"
    IN_USE = "in_use"
    TODAY = "today"
    """Every whole day was idle; the day that is not over is not, as far as it has come."""
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Again:
    """The whole days since the notice: how many had enough samples, how many of these were still idle."""

    verdict: Verdict
    measured: int = 0
    matching: int = 0


class Decision(StrEnum):
    """What the authority says to an objection."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    EXTEND = "extend"


@dataclass(frozen=True, slots=True)
class Answer:
    """The authority's answer. ``until``: exempt until then (accept). ``workdays``: more time (extend)."""

    decision: Decision
    reason: str
    until: datetime | None = None
    workdays: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """An objection on the clock: when it was raised and answered (None: not yet), and how many working days it gave."""

    raised_at: datetime
    answered_at: datetime | None
    workdays: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What is live and what is held by cases in one scope; ``scope`` is ``unit`` or ``cloud``, ``scope_id`` which."""

    scope: str
    scope_id: UUID
    live: int
    held: int
    percent: int

    @property
    def key(self) -> tuple[str, UUID]:
        """Which share it is."""
        return self.scope, self.scope_id

    @property
    def allowed(self) -> int:
        """How many resources may be in suspended cases at once."""
        return self.live * self.percent // 100

    def fits(self, count: int, things: int = 1) -> bool:
        """Whether a case over ``count`` resources may go on: ``things`` of them, and the disks that hang on these.

        One thing always may as the first one, or a unit with one server could lose none.
        """
        return self.held + count <= self.allowed or (self.held == 0 and things == 1)
