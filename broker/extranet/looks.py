"""What the last audit heard from each router: kept by drift, read by the map, which asks no router.

Called by: ``extranet.drift``, ``delivery.segments``. Must not: call a router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from broker.extranet.differences import Gap, RouterDrift
from broker.extranet.models import RouterLook
from broker.tenancy.work import Work
from providers.networking import RouterFacts

_SHOWN = {Gap.SILENT, Gap.SESSION}
"""What a look says otherwise."""
_MOST = 500
"""Of a router's open gaps: more is one thing to see to, and not told apart on a map."""


def keep(work: Work, heard: Sequence[RouterFacts], found: Sequence[RouterDrift] = ()) -> None:
    """Write down who answered, which sessions were down and what lies open, in place of what was heard before."""
    left = [d for d in found if not d.repaired and d.gap not in _SHOWN]
    rows = [
        {
            "router": f.router,
            "looked_at": work.now,
            "silent": f.error is not None,
            "down": _down(f),
            "gaps": [_open(d) for d in left if d.router == f.router][:_MOST],
        }
        for f in heard
    ]
    if rows:
        new = insert(RouterLook)
        written = {name: new.excluded[name] for name in ("looked_at", "silent", "down", "gaps")}
        work.session.execute(new.on_conflict_do_update(index_elements=["router"], set_=written), rows)


def last(session: Session) -> Mapping[str, RouterLook]:
    """The last look at each router that was ever looked at, by name."""
    return {look.router: look for look in session.scalars(select(RouterLook))}


def _open(drift: RouterDrift) -> list[str]:
    return [drift.gap.value, drift.vrf, drift.subject, str(drift.spec.id) if drift.spec is not None else ""]


def _down(facts: RouterFacts) -> list[list[str]]:
    return [
        [vrf, session["name"], session["state"]]
        for vrf, about in facts.facts.get("vrfs", {}).items()
        for session in about["sessions"].values()
        if session["state"] != "Established"
    ]
