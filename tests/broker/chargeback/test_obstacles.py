"""What stops a close: nothing is dropped, paid back twice or past a limit in silence, and there is a way to go on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from api.documents import obstacles as document
from broker.chargeback import adjustments, bill, closing, obstacles, overviews, service, statements
from broker.chargeback.export import export
from broker.chargeback.line_now import line_now
from broker.chargeback.models import Adjustment, Charge, MonthClose, Statement
from broker.chargeback.verify import verify
from broker.errors import Conflict, Invalid, Problem
from broker.pricing.models import Payer
from broker.tenancy.values import SYSTEM
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, INDUSTRY, LONG_AGO, MAIN, Period, store
from tests.broker.chargeback.small_region import (
    END,
    HOUR,
    NOW,
    OCTOBER,
    PAYERS,
    START,
    begin_books,
    running,
    thing,
    work,
    world,
)
from tests.broker.chargeback.test_closing import LATER, NOVEMBER, people, settlement_price
from tests.broker.chargeback.test_line_now import close, decide, reopen, use_until


def refused(act: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(Invalid) as error:
        act()
    return error.value.problems


def test_a_mistake_put_right_twice_stops_the_close_until_two_people_decide(session: Session, tmp_path: Path) -> None:
    """A line is remitted, then its usage corrected: less than nothing; preview and close name the line to adjust."""
    mine = thing(CITY, MAIN, running(START, START + 500 * HOUR))
    store(session, world(mine))
    one, two = people(session)
    close(session, OCTOBER)
    line = session.scalars(select(Charge)).one()
    decide(session, line.id, -line.amount_fen, one)
    use_until(session, mine.id, 400 * 3600)
    [shown] = service.totals(session, NOVEMBER, until=NOVEMBER.end).problems
    assert (shown.reason, shown.id, shown.line, shown.amount_fen) == ("below", mine.id, line.id, -3600)
    assert (shown.month, shown.payer, shown.number) == (OCTOBER.first_day, "unit 2", "R-0")
    written = document.write(tmp_path / "x.csv", [shown]).read_text(encoding="utf-8-sig")
    [_, cells] = csv.reader(written.splitlines())
    assert cells[:8] == [
        "charge.below_zero", "R-0", "R-0", "处理器（x86-64，核）", "unit 2", "2026-10", "-36.00", str(line.id),
    ]  # fmt: skip
    [problem] = refused(lambda: closing.close(work(session, now=LATER), NOVEMBER))
    assert (problem.code, problem.params["amount"], problem.params["line"]) == ("charge.below_zero", "-36.00", line.id)
    assert session.scalar(select(func.count()).select_from(MonthClose)) == 1
    made = adjustments.propose(work(session, one, LATER), line.id, 3600, "与更正重复")
    adjustments.confirm(work(session, two, LATER), made)
    closing.close(work(session, now=LATER), NOVEMBER)
    assert (line_now(session, line.id).owed_fen, sum(session.scalars(select(Charge.amount_fen)))) == (0, 0)
    assert verify(session, OCTOBER) == verify(session, NOVEMBER) == ()


def test_a_line_that_an_older_close_let_fall_below_zero_is_found_by_the_recount(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Books closed before there was this rule are not silent either."""
    mine = thing(CITY, MAIN, running(START, START + 500 * HOUR))
    store(session, world(mine))
    one, _ = people(session)
    close(session, OCTOBER)
    line = session.scalars(select(Charge)).one()
    decide(session, line.id, -line.amount_fen, one)
    use_until(session, mine.id, 400 * 3600)
    with monkeypatch.context() as patched:
        patched.setattr(obstacles, "find", lambda _: ((), 0))
        close(session, NOVEMBER)
    assert [(d.code, d.subject) for d in verify(session, OCTOBER)] == [("line.below_zero", f"{mine.id} vcpu_x86_64")]


def test_a_month_closed_anew_keeps_decisions_that_were_taken_together(session: Session) -> None:
    """The second was taken with the first in view: closed anew with the same usage, both hold, else neither."""
    mine = thing(CITY, MAIN, running(START, START + 500 * HOUR))
    store(session, world(mine))
    one, two = people(session)
    close(session, OCTOBER)
    line = session.scalars(select(Charge.id)).one()
    decide(session, line, -18000, one)
    use_until(session, mine.id, 400 * 3600)
    decide(session, line, 3600, two)
    reopen(session, OCTOBER, one, two)
    close(session, OCTOBER)
    standing = select(Charge.amount_fen).join(Statement, Statement.id == Charge.statement_id)
    standing = standing.join(MonthClose, MonthClose.id == Statement.close_id).where(MonthClose.reopened_at.is_(None))
    assert sorted(session.scalars(standing)) == [-18000, 3600, 14400]
    assert session.scalar(select(func.count()).select_from(Adjustment)) == 2


def test_an_open_month_is_not_exported_without_what_nobody_pays(session: Session, tmp_path: Path) -> None:
    """It is named and nothing is written; what costs nothing (a stopped server's vCPU) needs no payer."""
    mine, other = thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None, memory=2))
    store(session, world(mine, other, payers=PAYERS[2:3]))
    session.query(Payer).filter_by(unit_id=CITY, tier="main").one().during = Range(
        LONG_AGO, START + timedelta(seconds=4001)
    )
    session.flush()
    found = refused(lambda: export(session, OCTOBER, NOW, tmp_path))
    assert {(p.code, p.field, p.params["meter"]) for p in found} == {
        ("charge.payer_missing", str(mine.id), "vcpu_x86_64"),
        ("charge.payer_missing", str(other.id), "vcpu_x86_64"),
        ("charge.payer_missing", str(other.id), "memory_gib"),
    }
    assert list(tmp_path.iterdir()) == []


def test_what_is_free_of_charge_needs_no_payer_in_an_export(session: Session, tmp_path: Path) -> None:
    """A stopped server's vCPU where one price charges it and the other does not: the close is content, so is this."""
    stopped = thing(DEPARTMENT, MAIN, Period("stopped", 4, 0, 0, (START, None)))
    store(session, world(thing(CITY, MAIN, running(START, None)), stopped, payers=PAYERS[2:]))
    price = settlement_price("vcpu_x86_64", "1")
    price.side, price.operator, price.charged_when_stopped = "charge", "elsewhere", True
    session.add(price)
    session.flush()
    assert service.totals(session, OCTOBER, until=END).problems == ()
    assert export(session, OCTOBER, NOW, tmp_path) == 1


@pytest.mark.parametrize("act", ["issue", "preview", "verify", "export", "focus"])
def test_before_the_books_there_is_no_bill(session: Session, tmp_path: Path, act: str) -> None:
    """Whatever is asked of such a month, the answer names the one they begin with."""
    september = OCTOBER.previous
    store(session, world(thing(CITY, MAIN, running(september.start, None))))
    begin_books(session)
    acts: dict[str, Callable[[], object]] = {
        "issue": lambda: closing.issue(work(session), september),
        "preview": lambda: service.totals(session, september, until=NOW),
        "verify": lambda: verify(session, september),
        "export": lambda: export(session, september, NOW, tmp_path),
        "focus": lambda: list(statements.of_month(session, september, actor=SYSTEM, now=NOW)),
    }
    with pytest.raises(Conflict) as error:
        acts[act]()
    assert (error.value.code, error.value.problems[0].params["begin"]) == ("month.before_books", "2026-10")
    assert session.scalar(select(func.count()).select_from(Statement)) == 0


def test_whatever_rates_a_whole_month_has_the_patience_of_a_close(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of a region takes longer than a page may."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    seen: list[str] = []
    fill = bill.fill

    def looked_at(session: Session, *what: Any, **how: Any) -> str:
        seen.append(session.scalar(text("SHOW statement_timeout")) or "")
        session.execute(text("SET LOCAL statement_timeout = '1min'"))
        return fill(session, *what, **how)

    monkeypatch.setattr(bill, "fill", looked_at)
    closing.issue(work(session), OCTOBER)
    close(session, OCTOBER)
    verify(session, OCTOBER)
    export(session, OCTOBER, NOW, tmp_path)
    assert seen == ["30min"] * 4


@pytest.mark.parametrize(
    ("limit", "codes"),
    [
        (3 * 36 * 744 - 1, ["month.limit"]),
        (2 * 36 * 744 - 1, ["settlement.limit", "statement.limit"]),
    ],
)
def test_totals_past_the_limit_are_named_and_nothing_is_posted(
    session: Session, monkeypatch: pytest.MonkeyPatch, limit: int, codes: list[str]
) -> None:
    """A payer's, an operator's, everybody's together; the real limit is far below what a column holds."""
    monkeypatch.setattr(obstacles, "TOTAL_LIMIT_FEN", limit)
    city, department = thing(CITY, MAIN, running(START, None, vcpu=2)), thing(DEPARTMENT, MAIN, running(START, None))
    store(session, world(city, department))
    session.execute(text("UPDATE broker.sub_cloud_operator SET operator = 'op' WHERE sub_cloud_id = :id"), {"id": MAIN})
    session.add(settlement_price("vcpu_x86_64", "0.30"))
    session.flush()
    found = refused(lambda: closing.close(work(session), OCTOBER))
    assert sorted(p.code for p in found) == codes
    assert {p.params["amount"] for p in found} <= {"803.52", "535.68", "669.60"}
    assert session.scalar(select(func.count()).select_from(Statement)) == 0


def test_an_operator_without_a_settlement_price_is_owed_nothing_but_not_in_silence(session: Session) -> None:
    """The preview and the close name it, and it has a settlement that says why it is zero; it stops nothing."""
    store(session, world(thing(CITY, MAIN, running(START, None))))
    assert service.totals(session, OCTOBER, until=END).unsettled == ("one",)
    closed = closing.close(work(session), OCTOBER)
    [row] = overviews.settlements(work(session), OCTOBER)
    assert (closed.unsettled, row.operator, row.total_fen, row.priced) == (("one",), "one", 0, False)
    assert verify(session, OCTOBER) == ()
    price = settlement_price("vcpu_x86_64", "0.30", END)
    price.operator = "one"
    session.add(price)
    session.flush()
    closed = closing.close(work(session, now=LATER), NOVEMBER)
    assert (closed.unsettled, closed.settled_fen) == ((), 30 * 720)


BOTH = "UPDATE broker.settlement_line SET amount_fen = amount_fen + 1; UPDATE broker.settlement SET total_fen = "
TAMPERED = {
    BOTH + "total_fen + 1": {"close.figures", "settlement.changed", "posting.amount", "posting.sides"},
    "UPDATE broker.settlement_line SET quantity_seconds = quantity_seconds + 1": {"settlement.changed"},
    "UPDATE broker.ledger_entry SET operator = 'another' WHERE account = 'operator'": {"posting.sides"},
    f"UPDATE broker.ledger_entry SET unit_id = '{DEPARTMENT}' WHERE account = 'payer'": {"posting.sides"},
    "UPDATE broker.ledger_entry SET amount_fen = amount_fen * 2": {"posting.amount", "posting.sides"},
    """INSERT INTO broker.ledger_posting (id, close_id, statement_id, settlement_id, reverses_id, posted_at)
       SELECT gen_random_uuid(), close_id, statement_id, settlement_id, id, posted_at FROM broker.ledger_posting""": {
        "posting.sides", "posting.reversal",
    },
    f"UPDATE broker.charge SET unit_id = '{DEPARTMENT}'": {"line.described", "statement.sums"},
    f"UPDATE broker.charge SET sub_cloud_id = '{INDUSTRY}'": {"line.described", "statement.sums"},
    "UPDATE broker.charge SET payer_rule = 'another'": {"line.described", "statement.sums"},
    "UPDATE broker.charge SET article = 'Art. 16(3)'": {"line.described", "statement.sums"},
    "UPDATE broker.month_close SET settled_fen = settled_fen + 1": {"close.figures"},
    "UPDATE broker.month_close SET adjustments = adjustments + 1": {"close.figures"},
    "UPDATE broker.month_close SET covers_until = covers_until - interval '1 day'": {"close.figures"},
    "UPDATE broker.statement SET covers_until = covers_until - interval '1 day'": {"close.figures"},
}  # fmt: skip
WITH_ALL_SUMS = """;
    UPDATE broker.statement_sum SET amount_fen = amount_fen + {0}, lines = lines + {1} WHERE usage_month = '2026-10-01'
        AND statement_id IN (SELECT id FROM broker.statement WHERE month = '2026-11-01');
    UPDATE broker.statement SET total_fen = total_fen + {0} WHERE month = '2026-11-01';
    UPDATE broker.month_close SET total_fen = total_fen + {0}, lines = lines + {1}, adjustments = adjustments + {1}
        WHERE month = '2026-11-01';
    UPDATE broker.ledger_entry e SET amount_fen = e.amount_fen + CASE account WHEN 'payer' THEN {0} ELSE -({0}) END
        FROM broker.ledger_posting p JOIN broker.statement s ON s.id = p.statement_id
        WHERE p.id = e.posting_id AND s.month = '2026-11-01'"""
DECISIONS_TAMPERED = {
    "UPDATE broker.charge SET amount_fen = amount_fen - 400 WHERE adjustment_id IS NOT NULL"
    + WITH_ALL_SUMS.format(-400, 0): {"adjustment.line"},
    "DELETE FROM broker.charge WHERE adjustment_id IS NOT NULL" + WITH_ALL_SUMS.format(100, -1): {"adjustment.missing"},
    "UPDATE broker.charge SET quantity_seconds = 1 WHERE adjustment_id IS NOT NULL": {"adjustment.line"},
    "UPDATE broker.charge SET adjustment_id = NULL WHERE adjustment_id IS NOT NULL": {
        "adjustment.missing",
    },
}


def test_the_recount_sees_both_sides_of_every_posting_and_every_decision(engine: Engine, owner_engine: Engine) -> None:
    """Whoever writes past the broker, also where each sum is right: who owes, who is owed, and for what."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None))))
        price = settlement_price("vcpu_x86_64", "0.30")
        price.operator = "one"
        session.add(price)
        session.flush()
        closing.close(work(session), OCTOBER)
    with Session(owner_engine) as session:
        assert verify(session, OCTOBER) == ()
        found = {}
        for change in TAMPERED:
            session.execute(text(change))
            found[change] = {d.code for d in verify(session, OCTOBER)}
            session.rollback()
    assert found == TAMPERED
    with Session(engine) as session, session.begin():
        one, two = people(session)
        made = adjustments.propose(work(session, one), session.scalars(select(Charge.id)).one(), -100, "x")
        adjustments.confirm(work(session, two), made)
    with Session(engine) as session, session.begin():
        closing.close(work(session, now=LATER), NOVEMBER)
    with Session(owner_engine) as session:
        assert (verify(session, OCTOBER), verify(session, NOVEMBER)) == ((), ())
        found = {}
        for change in DECISIONS_TAMPERED:
            session.execute(text(change))
            found[change] = {d.code for d in verify(session, NOVEMBER)}
            session.rollback()
    assert found == DECISIONS_TAMPERED
    with Session(engine) as session, session.begin():  # at the very instant of the close, but after it
        octobers = select(Charge.id).where(Charge.adjustment_id.is_(None)).order_by(Charge.id).limit(1)
        made = adjustments.propose(work(session, one, LATER), session.scalars(octobers).one(), -200, "x")
        adjustments.confirm(work(session, two, LATER), made)
        assert (verify(session, OCTOBER), verify(session, NOVEMBER)) == ((), ())
