"""A run as one line of JSON, quickly: a region on real traces has tens of thousands of them.

Called by: ``guiyun idle scan --json``. Must not: write anything else than ``json.dumps`` would.

What is the same in all runs of a policy is written once; ``json`` itself takes five times as long as all the rest.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from broker.utilisation.files import Found
from broker.utilisation.values import Condition, Daily, Figures

_text = json.JSONEncoder(ensure_ascii=False).encode


def line(found: Found) -> str:
    """The run, its evidence, what is known of its resource, and what exempts it."""
    run = found.run
    first, last = run.first_day.isoformat(), run.last_day.isoformat()
    evidence = ", ".join([_figures(each) for each in run.evidence])
    return (
        f'{{"resource_id": {_text(run.resource_id)}, "policy": {_text(run.policy)}, "first_day": "{first}",'
        f' "last_day": "{last}", "days": {run.days}, "evidence": [{evidence}]{_known(found)}}}\n'
    )


def _known(found: Found) -> str:
    if found.facts is None and found.exemption is None:
        return ""
    known: dict[str, Any] = {}
    if found.facts is not None:
        facts = found.facts
        known |= {"number": facts.number, "name": facts.name, "unit": facts.unit, "system": facts.system}
        known |= {"sub_cloud": facts.sub_cloud, "mlps_level": facts.mlps_level}
    if found.exemption is not None:
        known["exemption"] = found.exemption.name
    return f", {_text(known)[1:-1]}"


def _figures(figures: Figures) -> str:
    # A finite float is the same in Python and in JSON.
    return _shape(figures.condition) % (round(figures.least, 4), round(figures.greatest, 4), round(figures.mean, 4))


@lru_cache(1024)
def _shape(leaf: Condition) -> str:
    """A condition with its figures left open. For a p95 they are the share of the day's samples on its side of it."""
    limits = {name: float(x) for name, x in (("below", leaf.below), ("above", leaf.above)) if x is not None}
    of = "share_" if leaf.daily is Daily.P95 else ""
    fixed = _text({"metric": leaf.metric, "daily": leaf.daily.value, **limits})[1:-1].replace("%", "%%")
    return f'{{{fixed}, "{of}least": %r, "{of}greatest": %r, "{of}mean": %r}}'
