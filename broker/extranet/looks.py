"""What the last audit heard from each router: kept by drift, read by the map, which asks no router.

Called by: ``extranet.drift``, ``delivery.segments``. Must not: call a router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.extranet.models import RouterLook
from broker.tenancy.work import Work
from providers.networking import RouterFacts


def keep(work: Work, heard: Sequence[RouterFacts]) -> None:
    """Write down who answered and which sessions were down, in place of what was heard before."""
    rows = [{"router": f.router, "looked_at": work.now, "silent": f.error is not None, "down": _down(f)} for f in heard]
    if rows:
        new = insert(RouterLook)
        written = {name: new.excluded[name] for name in ("looked_at", "silent", "down")}
        work.session.execute(new.on_conflict_do_update(index_elements=["router"], set_=written), rows)


def last(session: Session) -> Mapping[str, RouterLook]:
    """The last look at each router that was ever looked at, by name."""
    return {look.router: look for look in session.scalars(select(RouterLook))}


def _down(facts: RouterFacts) -> list[list[str]]:
    return [
        [vrf, session["name"], session["state"]]
        for vrf, about in facts.facts.get("vrfs", {}).items()
        for session in about["sessions"].values()
        if session["state"] != "Established"
    ]
