"""Closes by processes of their own. One that is killed leaves the month open, whole and ready to be closed."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from broker.chargeback import closing
from broker.chargeback.models import Charge, LedgerPosting, MonthClose, Statement
from broker.chargeback.verify import verify
from tests.broker.chargeback.money_worlds import CITY, DEPARTMENT, MAIN, store
from tests.broker.chargeback.small_region import OCTOBER, START, running, thing, work, world
from tests.conftest import Database

_CLOSER = """
import sys
from contextlib import ExitStack
from sqlalchemy.orm import Session
from broker.chargeback import closing, drawing
from broker.db.session import make_engine
from tests.broker.chargeback.small_region import OCTOBER, work

run = drawing.run
def step(session, statement, **values):
    found = run(session, statement, **values)
    if statement.strip().startswith(sys.argv[2]):
        print("here", flush=True)
        sys.stdin.read()
    return found
drawing.run = step
with Session(make_engine(sys.argv[1])) as session, session.begin():
    closing.close(work(session), OCTOBER)
    print("not here", flush=True)
"""


@pytest.mark.parametrize(
    "at", ["INSERT INTO pg_temp.bill", "INSERT INTO broker.month_close", "INSERT INTO broker.charge", "WITH due AS"]
)
def test_a_close_killed_half_way_leaves_the_month_open(engine: Engine, database: Database, at: str) -> None:
    """Kill -9 after the rating, after the first row, after the lines, after the entries: nothing of it is there."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None))))
    command = [sys.executable, "-c", _CLOSER, database.app_url, at]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Session(engine) as session:
        for table in (MonthClose, Statement, Charge, LedgerPosting):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    with Session(engine) as session, session.begin():
        assert closing.close(work(session), OCTOBER).statements == 2
        assert verify(session, OCTOBER) == ()


_RACER = """
import sys
from contextlib import ExitStack
from sqlalchemy.orm import Session
from broker.chargeback import closing, drawing
from broker.db.session import make_engine
from broker.errors import Conflict
from tests.broker.chargeback.small_region import OCTOBER, work

with Session(make_engine(sys.argv[1])) as session, session.begin():
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print(closing.close(work(session), OCTOBER).version)
    except Conflict as refused:
        print(refused.code)
"""


def test_two_processes_close_a_month_once(engine: Engine, database: Database) -> None:
    """One of them closes it, the other is told so; the books hold one close."""
    with Session(engine) as session, session.begin():
        store(session, world(thing(CITY, MAIN, running(START, None)), thing(DEPARTMENT, MAIN, running(START, None))))
    command = [sys.executable, "-c", _RACER, database.app_url]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 2
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert sorted(racer.communicate()[0] for racer in racers) == ["1\n", "month.closed\n"]
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(MonthClose)) == 1
        assert verify(session, OCTOBER) == ()
