"""The words of the room: what is counted, what is asked for, what is left.

Called by: ``quotas`` itself and whoever asks it. Must not: import SQL, requests or clouds.

**Architecture.** Capacity is kept per CPU architecture, a unit's quota is not: a line names ``vcpu_x86_64``, which a
pool must offer, and it also counts in ``vcpu``, where a limit usually stands. A limit may stand on either. Memory is
the same (a cloud's memory sits in machines of one architecture). All other classes count in themselves alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class ResourceClass(StrEnum):
    """What can be scarce; whole units only (pieces, GiB, /64s). The database knows the same list."""

    VCPU = "vcpu"
    VCPU_X86_64 = "vcpu_x86_64"
    VCPU_AARCH64 = "vcpu_aarch64"
    MEMORY_GIB = "memory_gib"
    MEMORY_GIB_X86_64 = "memory_gib_x86_64"
    MEMORY_GIB_AARCH64 = "memory_gib_aarch64"
    BLOCK_GIB_SSD = "block_gib_ssd"
    BLOCK_GIB_HDD = "block_gib_hdd"
    OBJECT_GIB = "object_gib"
    IPV6_64 = "ipv6_64"
    PUBLIC_IP = "public_ip"
    GPU = "gpu"

    @property
    def counts_in(self) -> ResourceClass | None:
        """The wider class that a line of this class also counts in."""
        return COUNTS_IN.get(self)

    @property
    def counted_as(self) -> tuple[ResourceClass, ...]:
        """Every class whose limits a line of this class meets, itself first."""
        wider = self.counts_in
        return (self,) if wider is None else (self, wider)

    @classmethod
    def vcpu_of(cls, cpu_arch: str) -> ResourceClass:
        """The vCPU class of an architecture (``x86_64``, ``aarch64``). ValueError: unknown."""
        return cls(f"vcpu_{cpu_arch}")

    @classmethod
    def memory_of(cls, cpu_arch: str) -> ResourceClass:
        """The memory class of an architecture. ValueError: unknown."""
        return cls(f"memory_gib_{cpu_arch}")

    @classmethod
    def block_of(cls, block_class: str) -> ResourceClass:
        """The class of a kind of block storage (``ssd``, ``hdd``). ValueError: unknown."""
        return cls(f"block_gib_{block_class}")


COUNTS_IN: Mapping[ResourceClass, ResourceClass] = {
    ResourceClass.VCPU_X86_64: ResourceClass.VCPU,
    ResourceClass.VCPU_AARCH64: ResourceClass.VCPU,
    ResourceClass.MEMORY_GIB_X86_64: ResourceClass.MEMORY_GIB,
    ResourceClass.MEMORY_GIB_AARCH64: ResourceClass.MEMORY_GIB,
}

MAX_AMOUNT = 10**15
"""More than any cloud has, and far enough from where a 64-bit sum ends."""

ENDLESS = 2**63 - 1
"""The database's ceiling of a limit that may borrow whatever there is."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """So much of a class from a pool (a sub-cloud). ``amount`` is whole and above zero; a whole Decimal will do."""

    resource_class: ResourceClass
    amount: Decimal | int
    pool: UUID


@dataclass(frozen=True, slots=True)
class Limit:
    """A finite limit of one node, and what is counted against it. ``pool`` None: over all pools together.

    ``limit`` is the nominal share. ``borrowing``: how far the node may go beyond it while the limit above has room
    (None: as far as there is room). ``lending``: how much of it others may use while the node does not (None: all).
    ``used`` counts the node and all below it; ``booked``: what is guaranteed to limits below and not yet used there.
    A plain limit borrows nothing and lends all.
    """

    node: UUID
    resource_class: ResourceClass
    pool: UUID | None
    limit: int
    used: int
    borrowing: int | None = 0
    lending: int | None = None
    booked: int = 0

    @property
    def ceiling(self) -> int:
        """The most that may be used and booked here, as far as this limit goes."""
        return ENDLESS if self.borrowing is None else self.limit + self.borrowing

    @property
    def guaranteed(self) -> int:
        """What of the nominal share nobody else may use."""
        return 0 if self.lending is None else max(self.limit - self.lending, 0)

    @property
    def load(self) -> int:
        """What counts against the ceiling."""
        return self.used + self.booked

    @property
    def counted_above(self) -> int:
        """What the limit above has to count for this one: its load, or its guarantee if that is more."""
        return max(self.load, self.guaranteed)


@dataclass(frozen=True, slots=True)
class Cohort:
    """A limit, and the limits right below it that share it: of the same class and pool, with none between."""

    parent: Limit
    members: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Loan:
    """So much of the lender's nominal share is used by the borrower.

    Both are nodes of one cohort; its own node stands for what no member has a share of. ``lender`` None: from above the
    cohort, or an overage that nobody lends.
    """

    borrower: UUID
    lender: UUID | None
    amount: int


@dataclass(frozen=True, slots=True)
class Stock:
    """What a pool has of a class. ``total`` None: not bounded here. ``capacity`` is what may be handed out of it."""

    pool: UUID
    resource_class: ResourceClass
    total: int | None
    reserved: int
    allocation_ratio: Decimal
    step: int
    capacity: int | None
    used: int

    @property
    def left(self) -> int | None:
        """What may still be asked for, in whole steps; None: as much as one likes."""
        if self.capacity is None:
            return None
        return max(self.capacity - self.used, 0) // self.step * self.step


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The finite limits on the way from a node (first) to the root, and the stock of some pools, at one instant."""

    limits: tuple[Limit, ...]
    stock: tuple[Stock, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What a node may still ask for of a class.

    ``used`` counts the node and everything below it; ``limit`` is the node's own (None: it has none). ``left`` is the
    least over the way to the root and, where a pool was named, that pool's stock; None: unlimited. ``bound_by`` is the
    node whose limit leaves least; None with a finite ``left`` means that the pool's stock does.
    """

    resource_class: ResourceClass
    pool: UUID | None
    used: int
    limit: int | None
    left: int | None
    bound_by: UUID | None


class Cause(StrEnum):
    """Why a line was refused."""

    LIMIT = "limit"
    CAPACITY = "capacity"
    NOT_OFFERED = "not_offered"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One counter that refuses. ``node`` None: the pool's stock. ``limit`` is the step for ``Cause.STEP``."""

    cause: Cause
    node: UUID | None
    resource_class: ResourceClass
    pool: UUID | None
    limit: int
    used: int
    asked: int

    @property
    def fits(self) -> int:
        """The most that this counter alone would let pass now."""
        if self.cause is Cause.STEP:
            return self.asked // self.limit * self.limit
        return max(self.limit - self.used, 0)


class HoldState(StrEnum):
    """``held`` may expire, ``pinned`` may not, ``done``: something was posted and nothing is held any more."""

    HELD = "held"
    PINNED = "pinned"
    DONE = "done"
    VOID = "void"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class HeldLine:
    """One line of a hold and what became of it. Still held: ``amount - posted - voided``."""

    resource_class: ResourceClass
    pool: UUID
    amount: int
    posted: int
    voided: int
    released: int

    @property
    def held(self) -> int:
        return self.amount - self.posted - self.voided

    @property
    def used(self) -> int:
        return self.posted - self.released

    @property
    def counted(self) -> int:
        """What it takes from limits and stock: what is held and what is posted and not released."""
        return self.amount - self.voided - self.released


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold with its lines. ``owner`` is the caller's id (a request's item, say)."""

    id: UUID
    owner: UUID
    node: UUID
    state: HoldState
    expires_at: datetime
    lines: tuple[HeldLine, ...]


class Granted(NamedTuple):
    """A hold that counts, and until when: asked for again it keeps the date it has."""

    hold: UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Swept:
    """A hold that expired, and what it gave back."""

    hold: UUID
    owner: UUID
    node: UUID
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not what a recount of its rows gives. ``what`` names the table (and column), ``id`` the row."""

    what: str
    id: str
    kept: str
    recounted: str
