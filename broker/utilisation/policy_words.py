"""Writes a policy as the plain data that a policy file would hold: what is kept beside a decision made by it.

Called by: detection, whose findings keep the digest of what they were found by; reclamation, whose cases keep the
policy they were opened by. Must not: decide, or read a file. ``written`` is the inverse of
``policy_file.parse_policies``; exemptions are left out, since they say whom a policy is not about.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from broker.utilisation.policy_file import parse_policies
from broker.utilisation.values import AnyOf, Condition, Policy, PolicySet, When


def digest(policy: Policy, whole: PolicySet) -> str:
    """SHA-256 of what a policy says, the file's exemptions included: one word changed is another content."""
    said = {"policy": content(policy), "exemptions": {n: asdict(e) for n, e in whole.exemptions.items()}}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()


def digests(whole: PolicySet) -> dict[str, str]:
    """Policy -> its digest."""
    return {policy.name: digest(policy, whole) for policy in whole.policies}


def content(policy: Policy) -> dict[str, Any]:
    """What a policy says, as plain data; its condition in words that tell ``all`` from ``any``."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(policy), default=_plain))
    return said | {"when": repr(policy.when)}


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def written(policy: Policy) -> dict[str, Any]:
    """The policy as plain data, fit for JSON."""
    common = {
        "name": policy.name,
        "title": policy.title,
        "kind": policy.kind,
        "days": policy.days,
        "basis": policy.basis,
        "grace_working_days": {str(level): days for level, days in policy.grace_working_days.items()},
    }
    if policy.seen:
        return common | {"seen": policy.seen}
    return common | {
        "when": _when(policy.when),
        "min_samples_per_day": policy.min_samples_per_day,
        "missing_day": policy.missing_day.value,
    }


def read_back(kept: dict[str, Any]) -> Policy:
    """The policy that ``written`` wrote. Raises Invalid for what no release of ours has written."""
    grace = {int(level): days for level, days in kept["grace_working_days"].items()}
    return parse_policies({"policies": [kept | {"grace_working_days": grace}]}).policies[0]


def _when(when: When) -> dict[str, Any]:
    if isinstance(when, Condition):
        limits = {"below": when.below, "above": when.above}
        said = {key: _number(value) for key, value in limits.items() if value is not None}
        return {"metric": when.metric, "daily": when.daily.value} | said
    return {"any" if isinstance(when, AnyOf) else "all": [_when(part) for part in when.parts]}


def _number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)
