"""Calls of ``guiyun ipv6`` as data: one object a call, one object an answer; alone, or as JSON lines.

Called by: ``api.cli.ipv6`` and tests. Must not: print, know Typer.

Lines: what is waiting on standard input (up to 64) goes into one transaction, so that many calls share one flush of the
disk. An answer is written only after the commit: what was answered is durable.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import IO, Any
from uuid import UUID

from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from api import texts
from api.texts import names
from broker.bootstrap import App
from broker.region import addresses
from broker.tenancy.work import Work
from quotas.errors import (
    BadPrefix,
    CannotGrow,
    HasAnother,
    InTheWay,
    PoolFull,
    PrefixGone,
    PrefixOverlap,
    QuotaError,
)
from quotas.ipv6.values import Allocation, Wish

Given = Mapping[str, Any]
TOGETHER = 64
USAGE = "usage.wrong"
_Beside = PrefixOverlap | CannotGrow  # what tells who is in the way


class Usage(ValueError):
    """An object that is no call: an unknown verb, a missing or wrong argument."""


def of_allocation(found: Allocation) -> dict[str, Any]:
    """A prefix as JSON."""
    return {
        "prefix": str(found.prefix),
        "owner": str(found.owner),
        "pool": str(found.pool),
        "id": str(found.id),
        "state": found.state.value,
        "until": found.until.isoformat() if found.until else None,
        "label": found.label,
        "zone": found.zone.value,
        "routing_domain": found.routing_domain,
    }


def refusal(session: Session, now: datetime, error: QuotaError, given: Given) -> dict[str, Any]:
    """A refusal of a call as JSON, with what the owners are called that it tells of."""
    return of_error(error, _called(session, now, error, given))


def of_error(error: QuotaError, called: Mapping[UUID, str]) -> dict[str, Any]:
    """A refusal as JSON: code and sentence, and what would help."""
    said = "prefix.fits" if isinstance(error, PoolFull) else error.code
    body: dict[str, Any] = {"code": error.code, "detail": texts.sentence(said, _blanks(error, called)), "errors": []}
    if isinstance(error, PoolFull | CannotGrow):
        body["fits"] = error.fits
    if isinstance(error, _Beside):
        body["by"] = [{"prefix": b.prefix, "state": b.state, "owner": b.owner, "label": b.label} for b in error.by]
    if isinstance(error, PrefixGone):
        body["state"] = error.state
    return body


def _called(session: Session, now: datetime, error: QuotaError, given: Given) -> dict[UUID, str]:
    """What the owners that a refusal tells of are called; of whom nothing is known, as he was typed."""
    if isinstance(error, PrefixGone | HasAnother):
        typed = {error.owner: str(given.get("owner") or error.owner)}
        return typed | addresses.owners(session, typed, now)
    if isinstance(error, _Beside):
        return addresses.owners(session, (UUID(b.owner) for b in error.by), now)
    return {}


def _blanks(error: QuotaError, called: Mapping[UUID, str]) -> dict[str, object]:
    fits = f"/{error.fits}" if isinstance(error, PoolFull | CannotGrow) and error.fits else "无"
    length = f"/{error.length}" if isinstance(error, PoolFull | CannotGrow) else ""
    detail = error.detail if isinstance(error, BadPrefix | PrefixOverlap) else str(error)
    blanks: dict[str, object] = {"fits": fits, "length": length, "detail": detail}
    if isinstance(error, PrefixGone | HasAnother):
        blanks["owner"] = called[error.owner]
    if isinstance(error, PrefixGone):
        blanks["state"] = names.PREFIX_GONE.get(error.state, error.state)
    if isinstance(error, HasAnother):
        blanks["prefix"] = error.prefix
    if isinstance(error, _Beside):
        blanks["by"] = "、".join(_neighbour(b, called) for b in error.by) or "地址块"
    return blanks


def _neighbour(there: InTheWay, called: Mapping[UUID, str]) -> str:
    state = names.PREFIX_STATES[there.state]
    return f"{there.prefix}（{'，'.join(filter(None, (there.label or called.get(UUID(there.owner)), state)))}）"


def wish_of(work: Work, given: Given) -> Wish:
    """``allocate``: pool (id or prefix), owner, and optionally length, domain, label, hold_days (else it is active)."""
    days = _number(given, "hold_days", 0)
    return Wish(
        pool_id=addresses.pool_of(work, _word(given, "pool"), _word(given, "domain", "")),
        owner=addresses.owner_of(_word(given, "owner")),
        length=_number(given, "length", 64),
        expires_at=work.now + timedelta(days=days) if days else None,
        active=not days,
        label=_word(given, "label", "") or _name(_word(given, "owner")),
    )


def _name(owner: str) -> str:
    """An owner that is called by a name is shown by it."""
    try:
        UUID(owner)
    except ValueError:
        return owner
    return ""


def _allocate(work: Work, given: Given, _: int) -> Allocation:
    (answer,) = addresses.allocate(work, [wish_of(work, given)])
    if isinstance(answer, QuotaError):
        raise answer
    return answer


def _release(work: Work, given: Given, quarantine_days: int) -> Allocation:
    days = _number(given, "quarantine_days", quarantine_days)
    prefix = _word(given, "prefix", "") or None
    return addresses.release(work, addresses.owner_of(_word(given, "owner")), prefix=prefix, quarantine_days=days)


def _grow(work: Work, given: Given, _: int) -> Allocation:
    return addresses.grow(work, addresses.owner_of(_word(given, "owner")), _number(given, "length"))


def _reserve(work: Work, given: Given, _: int) -> Allocation:
    return addresses.reserve(work, _word(given, "domain", ""), _word(given, "prefix"), _word(given, "reason"))


def _lift(work: Work, given: Given, _: int) -> Allocation:
    try:
        return addresses.lift(work, UUID(_word(given, "id")))
    except ValueError as error:
        raise Usage("id 应为编号（UUID）") from error


DOES: Mapping[str, Callable[[Work, Given, int], Allocation]] = {
    "allocate": _allocate,
    "release": _release,
    "grow": _grow,
    "reserve": _reserve,
    "lift": _lift,
}


def do(work: Work, given: Given, quarantine_days: int) -> dict[str, Any]:
    """One call. Raises QuotaError, Usage."""
    return of_allocation(_verb(given)(work, given, quarantine_days))


def _verb(given: Given) -> Callable[[Work, Given, int], Allocation]:
    verb = DOES.get(str(given.get("do", "")))
    if verb is None:
        raise Usage(f"do 应为 {'、'.join(DOES)} 之一")
    return verb


def _word(given: Given, name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or (not value and default is None) or len(value) > 200:
        raise Usage(f"{name} 应为文本，不超过 200 字" if name in given else f"缺少 {name}")
    if "\x00" in value or any(
        "\ud800" <= sign <= "\udfff" for sign in value
    ):  # no database keeps it, no output shows it
        raise Usage(f"{name} 中有不能保存的字符")
    return value


def _number(given: Given, name: str, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 36500:
        raise Usage(f"{name} 应为 0 至 36500 的整数" if name in given else f"缺少 {name}")
    return value


def answers(core: App, lines: IO[str]) -> Iterator[list[dict[str, Any]]]:
    """The answers to JSON lines, batch by batch, each after its commit."""
    for batch in _waiting(lines):
        given = [_parsed(line) for line in batch]
        try:
            with core.works.begin() as work:
                found = _together(work, given, core.settings.quarantine_days)
        except DBAPIError:  # one of them upsets the database: each alone then, so that it hurts itself only
            found = [_alone(core, one) for one in given]
        yield found


def _alone(core: App, given: Given | str) -> dict[str, Any]:
    try:
        with core.works.begin() as work:
            return _together(work, [given], core.settings.quarantine_days)[0]
    except DataError:
        return {"code": "value.unstorable", "detail": texts.sentence("value.unstorable")}
    except DBAPIError:  # broken off: what became of the line is not known
        return {"code": "database.failed", "detail": texts.sentence("database.failed")}


def _together(work: Work, given: Sequence[Given | str], quarantine_days: int) -> list[dict[str, Any]]:
    """All in one transaction and in order; allocations that follow each other share a round trip."""
    found: list[dict[str, Any]] = []
    for allocating, some in groupby(given, lambda one: not isinstance(one, str) and one.get("do") == "allocate"):
        calls = list(some)
        found += _allocations(work, calls) if allocating else [_answer(work, c, quarantine_days) for c in calls]
    return found


def _answer(work: Work, given: Given | str, quarantine_days: int) -> dict[str, Any]:
    if isinstance(given, str):
        return {"code": USAGE, "detail": given}
    try:
        return do(work, given, quarantine_days)
    except QuotaError as error:
        return refusal(work.session, work.now, error, given)
    except Usage as error:
        return {"code": USAGE, "detail": str(error)}


def _allocations(work: Work, given: Sequence[Any]) -> list[dict[str, Any]]:
    wishes: list[Wish] = []
    found: list[dict[str, Any] | None] = []
    for one in given:
        try:
            wishes.append(wish_of(work, one))
            found.append(None)
        except QuotaError as error:
            found.append(refusal(work.session, work.now, error, one))
        except Usage as error:
            found.append({"code": USAGE, "detail": str(error)})
    handed_out = iter(addresses.allocate(work, wishes) if wishes else ())
    return [told or _either(work, next(handed_out), one) for told, one in zip(found, given, strict=True)]


def _either(work: Work, answer: Allocation | QuotaError, given: Given) -> dict[str, Any]:
    return refusal(work.session, work.now, answer, given) if isinstance(answer, QuotaError) else of_allocation(answer)


def _parsed(line: str) -> Given | str:
    """The object, or what is wrong with the line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "不是 JSON"
    return found if isinstance(found, dict) else "不是 JSON 对象"


def _waiting(lines: Iterable[str]) -> Iterator[list[str]]:
    """What has come so far, never empty: whoever writes one line and waits gets his answer at once."""
    come: queue.Queue[str | None] = queue.Queue(maxsize=TOGETHER * 4)

    def read() -> None:
        for line in lines:
            if line.strip():
                come.put(line)
        come.put(None)

    threading.Thread(target=read, name="reader", daemon=True).start()
    while (first := come.get()) is not None:
        batch = [first]
        while len(batch) < TOGETHER and not come.empty():
            if (more := come.get()) is None:
                yield batch
                return
            batch.append(more)
        yield batch
