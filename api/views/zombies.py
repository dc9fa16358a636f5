"""Puts what a scan said of a system into the shape that the API and the console show.

Called by: ``api.routes.zombies``, ``api.console.zombies``. Must not: score.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from api.schemas import zombies as schemas
from api.texts import zombies as words
from broker.db.base import AnyRow
from broker.tenancy.work import Work
from broker.zombies import board
from broker.zombies.board import Listed
from broker.zombies.models import ZombieDecision, ZombieFinding

_MASS = 10_000


def listing(work: Work, *, decided: bool) -> schemas.Zombies:
    """The last scan and its systems."""
    scan = board.last_scan(work)
    rows = board.listing(work, decided=decided)
    return schemas.Zombies(
        scan=None if scan is None else schemas.ZombieScan.model_validate(scan),
        data=[schemas.ZombieHead(**_head(row)) for row in rows],
    )


def one(work: Work, system: str) -> schemas.Zombie:
    """One system. Raises NotFound (see ``board.one``)."""
    row, finding, scan = board.one(work, system)
    made = board.decisions(work, row[0].id)
    head = _head(Listed(finding, row[0], row.unit_name or "", board.decision_on(work, row[0].id)))
    return schemas.Zombie(
        **head,
        scan=schemas.ZombieScan.model_validate(scan),
        five=[_sign(each) for each in finding.signs],
        cautions=[words.CAUTIONS.get(code, code) for code in finding.cautions],
        facts=finding.facts,
        decisions=decisions(work, made),
    )


def decisions(work: Work, made: Sequence[ZombieDecision]) -> list[schemas.ZombieDecision]:
    """Decisions with their cases: where each stands, and its page for whoever may open it."""
    found = board.cases_of(work, made)
    return [
        schemas.ZombieDecision(
            id=each.id,
            decision=each.decision,
            reason=each.reason,
            look_again_on=each.look_again_on,
            decided_by=each.decided_by,
            decided_at=each.decided_at,
            cases=[case.number for case, _ in found.get(each.id, ())],
            reclaim=[
                schemas.ZombieCase(id=case.id if sees else None, number=case.number, state=case.state)
                for case, sees in found.get(each.id, ())
            ],
        )
        for each in made
    ]


def _head(row: Listed | AnyRow) -> dict[str, Any]:
    finding: ZombieFinding = row.finding
    return {
        "system_id": row.system.id,
        "code": row.system.code,
        "name": row.system.name,
        "unit_name": row.unit_name,
        "ended": row.system.retired_at is not None,
        "finding_id": finding.id,
        "score": Decimal(finding.score_hundredths).scaleb(-2),
        "level": finding.level,
        "known": finding.known,
        "signs": {each["sign"]: _score(each) if each["known"] else None for each in finding.signs},
        "decision": row.decision.decision if row.decision else None,
        "look_again_on": row.decision.look_again_on if row.decision else None,
    }


def _score(sign: dict[str, Any]) -> Decimal:
    """What a sign adds to the score, of its weight, to two decimals."""
    return (Decimal(sign["weight"] * sign["mass"]) / _MASS).quantize(Decimal("0.01"))


def _sign(given: dict[str, Any]) -> schemas.ZombieSign:
    return schemas.ZombieSign(
        sign=given["sign"],
        name=words.SIGNS[given["sign"]],
        weight=given["weight"],
        score=_score(given),
        known=given["known"],
        evidence=[
            schemas.ZombieEvidence(text=words.evidence(each), **each)
            for each in sorted(given["evidence"], key=lambda e: -e["points"] * e["confidence"])
        ],
    )
