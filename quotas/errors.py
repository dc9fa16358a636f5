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


class OutOfOrder(QuotaError):
    """The caller's mistake, not the user's: locks were to be taken in an order that can deadlock (``quotas.order``)."""

    code = "quota.out_of_order"


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


class NodeInside(QuotaError):
    """A node was to move below itself."""

    code = "quota.node_inside"


class TooDeep(QuotaError):
    """The tree has at most 64 levels."""

    code = "quota.too_deep"


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
    """The hold is void, expired, overdue or released, or (to be replaced) done (``state``): assess anew."""

    code = "hold.gone"

    def __init__(self, hold: UUID, state: str) -> None:
        super().__init__(f"{hold} is {state}")
        self.hold = hold
        self.state = state


class HoldBusy(QuotaError):
    """Somebody is working on a hold that was to move to another node; try again."""

    code = "hold.busy"


class HoldConflict(QuotaError):
    """A hold with this id exists with another owner, node or lines."""

    code = "hold.conflict"


class NotYours(QuotaError):
    """The hold has another owner."""

    code = "hold.not_yours"


class KeyReused(QuotaError):
    """The key was used for another hold or other lines."""

    code = "hold.key_reused"


class DoneBefore(QuotaError):
    """A part was named without a key, and just this was done before, with ``key``: meant once more, or only said."""

    code = "hold.done_before"

    def __init__(self, key: UUID) -> None:
        super().__init__(str(key))
        self.key = key


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


class UnknownDomain(QuotaError):
    """No such routing domain."""

    code = "prefix.unknown_domain"


class BadPrefix(QuotaError, ValueError):
    """A prefix or length that does not belong there. ``code`` is ``prefix.`` and the reason, each stable.

    not_ipv6; host_bits (unaligned); too_long (beyond /64, or for growth no growth); too_short (larger than its pool, or
    than /8); outside_parent; outside (of every pool); wrong_zone; no_routing_domain; unique_local (outside a
    private zone); no_reason; different (a pool of
    this id is another); hands_out_nothing (the pool holds pools).
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.code = f"prefix.{reason}"
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class InTheWay:
    """A live prefix where something else was to be."""

    prefix: str
    state: str
    owner: str
    label: str


class PrefixOverlap(QuotaError):
    """The pool, reservation or prefix would overlap what is there (``by``: the first few prefixes)."""

    code = "prefix.overlap"

    def __init__(self, detail: str, by: Sequence[InTheWay] = ()) -> None:
        super().__init__(f"{detail}: {', '.join(f'{b.prefix} ({b.state})' for b in by)}" if by else detail)
        self.detail = detail
        self.by = tuple(by)


class CannotGrow(QuotaError):
    """The space beside the prefix is taken (``by``). ``fits``: the shortest length it could have (None: none)."""

    code = "prefix.cannot_grow"

    def __init__(self, length: int, fits: int | None, by: Sequence[InTheWay]) -> None:
        super().__init__(f"no room for /{length}; what fits: {f'/{fits}' if fits else 'nothing'}")
        self.length = length
        self.fits = fits
        self.by = tuple(by)


class PrefixBusy(QuotaError):
    """Somebody is working on this very place at this moment: try again."""

    code = "prefix.busy"


class PrefixGone(QuotaError):
    """The owner holds no prefix any more (``state`` says what became of it), or never did."""

    code = "prefix.gone"

    def __init__(self, owner: UUID, state: str) -> None:
        super().__init__(f"{owner}: {state}")
        self.owner = owner
        self.state = state


class NotYourPrefix(QuotaError):
    """The prefix is another owner's."""

    code = "prefix.not_yours"


class HasAnother(QuotaError):
    """The owner has a prefix of another pool or length (``prefix``)."""

    code = "prefix.has_another"

    def __init__(self, owner: UUID, prefix: str) -> None:
        super().__init__(f"{owner} has {prefix}")
        self.owner = owner
        self.prefix = prefix
