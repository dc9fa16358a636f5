"""A month before it is closed, as it goes out: what a close would freeze, and what stops it. Whole fen.

Called by: the routes of months. Must not: compute an amount.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from uuid import UUID

from api import texts
from api.schemas.base import View
from broker.chargeback import obstacles
from broker.chargeback.values import Totals


class MonthObstacle(View):
    """What stops a close: about what, and why (``code``); ``line`` is the closed line that two people can adjust."""

    id: UUID | None
    code: str
    message: str
    number: str
    name: str
    meter: str
    payer: str
    month: date | None
    amount_fen: int | None
    line: int | None
    operator: str


class MonthPreview(View):
    """A month as a close would freeze it now; with ``problems`` it cannot be closed."""

    covers_until: datetime
    lines: int
    adjustments: int
    total_fen: int
    settled_fen: int
    payers: dict[UUID, int]
    unsettled: list[str]
    problems: list[MonthObstacle]
    problems_total: int

    @classmethod
    def of(cls, found: Totals) -> MonthPreview:
        """From what was drawn."""
        told = [(one, obstacles.problem(one)) for one in found.problems]
        fields = ("covers_until", "lines", "adjustments", "total_fen", "settled_fen", "problems_total")
        return cls(
            **{name: getattr(found, name) for name in fields},
            payers=dict(found.payers),
            unsettled=list(found.unsettled),
            problems=[
                MonthObstacle(**asdict(one) | {"code": p.code, "message": texts.sentence(p.code, p.params)})
                for one, p in told
            ],
        )


class BooksProposal(View):
    """Somebody asked that the books begin with a month; ``decision`` is empty while it waits for another person."""

    id: UUID
    month: date
    reason: str
    asked_by: UUID
    asked_at: datetime
    decision: str | None
    decided_by: UUID | None
    decided_at: datetime | None


class BooksBeginning(View):
    """Where the books begin: ``stated`` by people for good, else the month of the first usage (empty: none yet)."""

    month: date | None
    stated: bool
    asked: list[BooksProposal]
