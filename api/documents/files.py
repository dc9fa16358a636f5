"""Makes a document in a folder of its own and sends it: a statement in any form, a month as FOCUS.

Called by: the API's and the console's routes, the command line. Must not: decide who may see it (the services do).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from uuid import UUID

from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from api.documents import obstacles, statement, statement_csv, statement_excel, statement_pdf
from api.uow import UnitOfWork
from broker.chargeback import closing, focus_file, statements
from broker.chargeback.focus_file import Written
from broker.errors import Invalid, Problem
from broker.pricing.months import Month
from broker.tenancy.work import Work

FORMS: Mapping[str, tuple[str, Callable[..., None]]] = {
    "csv": ("text/csv; charset=utf-8", statement_csv.write),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", statement_excel.write),
    "pdf": ("application/pdf", statement_pdf.write),
}
"""A statement's forms: media type and writer."""

FOCUS_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def statement_file(work: Work, statement_id: UUID, form: str, folder: Path) -> Path:
    """Write a statement into ``folder``. Raises NotFound ``statement.unknown`` and Invalid ``statement.form``."""
    if form not in FORMS:
        raise Invalid([Problem("statement.form", "form")])
    summary = statements.summary(work.session, statement_id, actor=work.actor, now=work.now)
    lines = statements.every_line(work.session, statement_id, actor=work.actor, now=work.now)
    path = folder.joinpath(statement.file_name(summary, form))
    FORMS[form][1](path, summary, lines)
    return path


def month_of(text: str) -> Month:
    """Raises Invalid ``month.invalid``."""
    try:
        return Month.parse(text)
    except ValueError as error:
        raise Invalid([Problem("month.invalid", "month")]) from error


def focus_month(work: Work, month: Month, path: Path, form: str, *, ascii_only: bool) -> Written:
    """Write every statement of a month that the actor may see as FOCUS 1.2.

    Raises Invalid ``focus.form``, and what ``focus_file.write`` finds wrong.
    """
    if form not in focus_file.FORMATS:
        raise Invalid([Problem("focus.form", "form")])
    found = statements.of_month(work.session, month, actor=work.actor, now=work.now)
    return focus_file.write(path, found, form=form, ascii_only=ascii_only)


def send(uow: UnitOfWork, make: Callable[[Work, Path], Path], media_type: str, *, computed: bool = False) -> Response:
    """Make a document in a read-only transaction (``computed``: in a trial) and send it; then its folder goes."""
    folder = Path(mkdtemp(prefix="guiyun-"))
    try:
        path = (uow.trial if computed else uow.look)(lambda work: make(work, folder))
    except BaseException:
        shutil.rmtree(folder)
        raise
    gone = BackgroundTask(shutil.rmtree, folder)
    return FileResponse(path, media_type=media_type, filename=path.name, background=gone)


def send_statement(uow: UnitOfWork, statement_id: UUID, form: str) -> Response:
    """A statement as a file."""
    media_type = FORMS[form][0] if form in FORMS else ""
    return send(uow, lambda work, folder: statement_file(work, statement_id, form, folder), media_type)


def send_obstacles(uow: UnitOfWork, which: str) -> Response:
    """What stops a month from being closed, as CSV; only the heading where nothing does."""

    def make(work: Work, folder: Path) -> Path:
        month = month_of(which)
        return obstacles.write(folder.joinpath(f"obstacles-{month}.csv"), closing.preview(work, month).problems)

    return send(uow, make, FOCUS_TYPES["csv"], computed=True)


def send_focus(uow: UnitOfWork, which: str, form: str, *, ascii_only: bool) -> Response:
    """A month as FOCUS 1.2."""

    def make(work: Work, folder: Path) -> Path:
        month = month_of(which)
        path = folder.joinpath(f"focus-{month}.{form}")
        focus_month(work, month, path, form, ascii_only=ascii_only)
        return path

    return send(uow, make, FOCUS_TYPES.get(form, ""))
