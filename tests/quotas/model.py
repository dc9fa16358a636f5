"""A plain model of holds and limits in a tree, by brute force: what passes, what is used, what is guaranteed.

Called by: the tests beside it. Must not: import what it is the model of, but for the names of classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from uuid import UUID

from quotas.values import ResourceClass

KINDS = (ResourceClass.VCPU_X86_64, ResourceClass.VCPU_AARCH64)
LIMITED = (*KINDS, ResourceClass.VCPU)
Asked = dict[ResourceClass, int]


@dataclass
class Held:
    """The model of a hold: amounts per class, and a state by name."""

    node: int
    due: datetime
    amounts: dict[ResourceClass, int]
    state: str = "held"
    posted: dict[ResourceClass, int] = field(default_factory=dict)
    released: dict[ResourceClass, int] = field(default_factory=dict)

    def still_held(self, kind: ResourceClass) -> int:
        return self.amounts.get(kind, 0) - self.posted.get(kind, 0) if self.state in {"held", "pinned"} else 0

    def counted(self, kind: ResourceClass) -> int:
        return self.still_held(kind) + self.posted.get(kind, 0) - self.released.get(kind, 0)

    def close(self, state: str) -> None:
        self.state = state


@dataclass(frozen=True)
class Share:
    """The model of a limit."""

    limit: int
    borrowing: int | None
    lending: int | None

    @property
    def ceiling(self) -> float:
        return inf if self.borrowing is None else self.limit + self.borrowing

    @property
    def guaranteed(self) -> int:
        return 0 if self.lending is None else max(0, self.limit - self.lending)


class Model:
    """Five nodes by number, each with the number of its parent; holds, limits, and one pool's stock."""

    parents: list[int | None]
    held: dict[UUID, Held]
    limits: dict[tuple[int, ResourceClass, bool], Share]
    capacity: dict[ResourceClass, int]

    def way(self, node: int) -> set[int]:
        """The node and everything above it."""
        parent = self.parents[node]
        return {node} if parent is None else {node} | self.way(parent)

    def below(self, node: int) -> set[int]:
        return {n for n in range(5) if n != node and node in self.way(n)}

    def used(self, node: int, limited: ResourceClass) -> int:
        return sum(
            held.counted(kind)
            for held in self.held.values()
            for kind in KINDS
            if limited in kind.counted_as and node in self.way(held.node)
        )

    def load(self, node: int, key: tuple[ResourceClass, bool], more: dict[ResourceClass, int], where: int) -> int:
        """Brute force over the whole tree: what is used at a node and below, or guaranteed there if that is more."""
        limited = key[0]
        direct = sum(
            h.counted(k) for h in self.held.values() if h.node == node for k in KINDS if limited in k.counted_as
        )
        direct += sum(a for k, a in more.items() if where == node and limited in k.counted_as)
        for child in (n for n in range(5) if self.parents[n] == node):
            share = self.limits.get((child, *key))
            direct += max(self.load(child, key, more, where), share.guaranteed if share else 0)
        return direct

    def passes(self, node: int, more: dict[ResourceClass, int]) -> bool:
        """Brute force: every limit on the way and the stock would still hold, or would at least not grow."""
        for (at, limited, of_pool), share in self.limits.items():
            before, after = (self.load(at, (limited, of_pool), change, node) for change in ({}, more))
            if after > before and after > share.ceiling:
                return False
        return all(more.get(kind, 0) <= 0 or self.used(0, kind) + more[kind] <= self.capacity[kind] for kind in KINDS)

    def covered(self, node: int, key: tuple[ResourceClass, bool], share: Share | None) -> bool:
        """Brute force: what is guaranteed fits above; and the limit itself covers what is guaranteed below it."""
        was = self.limits.pop((node, *key), None)
        if share is not None:
            self.limits[node, *key] = share
        checked = {node} if any(self.guaranteed(n, key) for n in self.below(node)) else set()
        if share is not None and share.guaranteed > (was.guaranteed if was else 0):
            checked |= self.way(node) - {node}
        fits = all(
            self.load(at, key, {}, 0) <= self.limits[at, *key].ceiling for at in checked if (at, *key) in self.limits
        )
        self.limits.pop((node, *key), None)
        if was is not None:
            self.limits[node, *key] = was
        return fits

    def guaranteed(self, node: int, key: tuple[ResourceClass, bool]) -> int:
        share = self.limits.get((node, *key))
        return share.guaranteed if share else 0
