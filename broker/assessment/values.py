"""What placement decides over and what it decides: plain values that a page can show and a row can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from broker.request.values import Item


@dataclass(frozen=True, slots=True)
class Wish:
    """One item as it would be delivered (the assessor may have changed its size), with its row's id and place."""

    item_id: UUID
    ordinal: int
    item: Item


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says of one sub-cloud. ``code`` names the sentence; no ``article``: the rule is ours."""

    filter: str
    passed: bool
    code: str
    article: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """All filters' verdicts on one sub-cloud, and its weight among those that pass (0..1000)."""

    sub_cloud_id: UUID
    code: str
    name: str
    verdicts: tuple[Verdict, ...]
    weight: int

    @property
    def passed(self) -> bool:
        """Every filter passed."""
        return all(v.passed for v in self.verdicts)


def judgement_json(judgement: Judgement, *, chosen: bool) -> dict[str, Any]:
    """A judgement as a placement row keeps it."""
    return {
        "sub_cloud": judgement.code,
        "name": judgement.name,
        "chosen": chosen,
        "passed": judgement.passed,
        "weight": judgement.weight,
        "verdicts": [
            {"filter": v.filter, "passed": v.passed, "code": v.code, "article": v.article, "params": dict(v.params)}
            for v in judgement.verdicts
        ],
    }
