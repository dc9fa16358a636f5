"""What the room refuses, each with a stable ``code``. After any of them nothing has changed.

Called by: ``quotas`` (raises), the broker (maps codes to its own errors). Must not: hold interface texts.
A refusal leaves the caller's transaction usable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:  # values stand below errors; only the annotations need them
    from quotas.values import Refusal, ResourceClass


class QuotaError(Exception):
    """Base of all. ``code`` never changes its meaning."""

    code = "quota.error"


class QuotaExceeded(QuotaError):
    """Limits or stock do not suffice; ``refusals`` lists every counter that refuses."""

    code = "quota.exceeded"

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(
            "; ".join(
                f"{r.cause} of {r.resource_class} at {r.node or r.pool}: asked {r.asked}, used {r.used} of {r.limit}"
                for r in refusals
            )
        )
        self.refusals = tuple(refusals)


class BadAmount(QuotaError, ValueError):
    """An amount, limit, ratio or step that is negative, fractional, absurd or missing."""

    code = "quota.bad_amount"


class UnknownClass(QuotaError, ValueError):
    """No such resource class."""

    code = "quota.unknown_class"


class UnknownNode(QuotaError):
    """No such node of the tree (for ``add_node``: no such parent)."""

    code = "quota.unknown_node"


class NodeElsewhere(QuotaError):
    """The node exists below another parent."""

    code = "quota.node_elsewhere"


class NoLender(QuotaError):
    """A root was to borrow: nobody stands above it."""

    code = "quota.no_lender"


class NotCovered(QuotaError):
    """What is guaranteed would not be covered: ``node`` allows ``limit``, ``needed`` is used or guaranteed below."""

    code = "quota.not_covered"

    def __init__(self, node: UUID, limit: int, needed: int) -> None:
        super().__init__(f"{node} allows {limit}, {needed} are used or guaranteed below it")
        self.node = node
        self.limit = limit
        self.needed = needed


class UnknownHold(QuotaError):
    """There never was such a hold."""

    code = "hold.unknown"

    def __init__(self, hold: UUID) -> None:
        super().__init__(str(hold))
        self.hold = hold


class HoldGone(QuotaError):
    """The hold is void, expired or overdue (``state``): assess anew."""

    code = "hold.gone"

    def __init__(self, hold: UUID, state: str) -> None:
        super().__init__(f"{hold} is {state}")
        self.hold = hold
        self.state = state


class HoldConflict(QuotaError):
    """A hold with this id exists with another owner, node or lines."""

    code = "hold.conflict"


class NotYours(QuotaError):
    """The hold has another owner."""

    code = "hold.not_yours"


class KeyReused(QuotaError):
    """The key was used for another hold or other lines."""

    code = "hold.key_reused"


@dataclass(frozen=True, slots=True)
class Short:
    """A line of which less is there than was asked."""

    resource_class: ResourceClass
    pool: UUID
    asked: int
    there: int


class NotThatMuch(QuotaError):
    """More was to be posted than is held, or released than is posted (``short`` lists every line)."""

    code = "hold.not_that_much"

    def __init__(self, short: Sequence[Short]) -> None:
        super().__init__("; ".join(f"{s.resource_class} of {s.pool}: asked {s.asked}, there {s.there}" for s in short))
        self.short = tuple(short)


class PoolFull(QuotaError):
    """No place of that length. ``fits`` is the length of the largest block that is free (None: nothing at all)."""

    code = "prefix.pool_full"

    def __init__(self, pool: UUID, length: int, fits: int | None) -> None:
        super().__init__(f"no /{length} free in {pool}; what fits: {f'/{fits}' if fits else 'nothing'}")
        self.pool = pool
        self.length = length
        self.fits = fits


class UnknownPool(QuotaError):
    """No such pool of prefixes."""

    code = "prefix.unknown_pool"


class BadPrefix(QuotaError, ValueError):
    """A prefix or length that does not belong there: IPv4, outside its parent, too long or short, of another zone."""

    code = "prefix.bad"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PrefixOverlap(QuotaError):
    """The pool would overlap another of its routing domain."""

    code = "prefix.overlap"


class PrefixGone(QuotaError):
    """The owner holds no prefix any more (``state`` says what became of it), or never did."""

    code = "prefix.gone"

    def __init__(self, owner: UUID, state: str) -> None:
        super().__init__(f"{owner}: {state}")
        self.owner = owner
        self.state = state


class HasAnother(QuotaError):
    """The owner has a prefix of another pool or length (``prefix``)."""

    code = "prefix.has_another"

    def __init__(self, owner: UUID, prefix: str) -> None:
        super().__init__(f"{owner} has {prefix}")
        self.owner = owner
        self.prefix = prefix
