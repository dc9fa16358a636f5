"""``guiyun quota hold | post | void | release``: single, or many from a file of JSON lines.

Called by: the command line, through ``api.cli.quota``. Must not: hold a rule; for operators and programs, requests take
the road.

Each is an event with who and why (``broker.scarcity.by_hand``). ``hold`` uses the fast way (``quotas.together``): it is
durable before it is answered, and callers of any number of processes share a flush. Starting a process costs more than
a hundred holds: programs keep one open with ``--file -``, write a line, read a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from api import texts
from api.cli.display import moment
from api.cli.refusal import Refusal
from api.cli.verb import DatabaseCall, of_broker
from broker.catalog import repository as catalog
from broker.errors import BrokerError
from broker.inventory import rules as scarce
from broker.inventory.repository import node_names
from broker.scarcity import by_hand, claims
from broker.scarcity.by_hand import Hand
from quotas.errors import BadAmount, DoneBefore, NotThatMuch, QuotaError, QuotaExceeded, UnknownClass, UnknownNode
from quotas.values import Line, ResourceClass

DEFAULT_DAYS = 30
REASON_LENGTH = 500
CLAIM_AGAIN_S = 60.0

Fields = Mapping[str, Any]
"""What one hold, post, void or release is given: by options, or as one line of a file."""

Amounts = Annotated[list[str] | None, typer.Argument(metavar="种类=数量…", help="如 vcpu_x86_64=4；可写多个")]
Cloud = Annotated[str, typer.Option(help="云平台（代码或编号）")]
Owner = Annotated[str, typer.Option(metavar="UUID", help="归属（申请等的编号）；与预留的归属不同则拒绝")]
Key = Annotated[
    str, typer.Option(metavar="UUID", help="幂等键：同一键只计一次；不写键而写明部分的，相同的命令只计一次，再次则拒绝")
]
By = Annotated[str, typer.Option("--by", metavar="账号", help="以谁的名义记入审计；不写则记本机用户编号")]
Reason = Annotated[str, typer.Option("--reason", help="理由，记入审计；不要写个人信息")]
File = Annotated[str, typer.Option("--file", metavar="FILE", help="JSON 行文件，- 为标准输入；每行一个，逐行应答")]


def told(call: DatabaseCall, error: QuotaError) -> Refusal:
    """For a person: whose limit it is, and which cloud's."""
    called: dict[UUID, str] = {}
    with call.core.sessions() as session:
        if isinstance(error, QuotaExceeded):
            called = node_names(session, (r.node for r in error.refusals), call.core.clock())
            called |= catalog.names(session, (r.pool for r in error.refusals))
        if isinstance(error, NotThatMuch):
            called = catalog.names(session, (s.pool for s in error.short))
    return refusal_of(error, called)


def refusal_of(error: QuotaError, called: Mapping[UUID, str] | None = None) -> Refusal:
    """What ``quotas`` refuses, in words; with every limit that refuses. Who is not ``called`` anything is his id."""
    params: dict[str, Any] = dict(vars(error))
    if isinstance(error, UnknownNode):
        params["node"] = str(error)
    if isinstance(error, UnknownClass):
        params |= {"class": str(error), "classes": "、".join(ResourceClass)}
    sentence = texts.sentence(error.code, params)
    body: dict[str, Any] = {"code": error.code, "detail": sentence}
    if isinstance(error, QuotaExceeded):
        body["refusals"] = [
            {
                "cause": r.cause.value,
                "node_id": str(r.node) if r.node else None,
                "sub_cloud_id": str(r.pool) if r.pool else None,
                "resource_class": r.resource_class.value,
                "limit": r.limit,
                "used": r.used,
                "asked": r.asked,
                "fits": r.fits,
            }
            for r in error.refusals
        ]
        ids = {r.node: f"节点 {r.node} " for r in error.refusals if r.node}
        ids |= {r.pool: f"云平台 {r.pool} " for r in error.refusals if r.pool}
        problems = (scarce.refused(r, ids | dict(called or {})) for r in error.refusals)
        sentence = " ".join((sentence, *(texts.sentence(p.code, p.params) for p in problems)))
    if isinstance(error, DoneBefore):
        body["key"] = str(error.key)
    if isinstance(error, NotThatMuch):
        sentence = " ".join((sentence, *_short(error, called or {})))
        body["short"] = [
            {"resource_class": s.resource_class.value, "sub_cloud_id": str(s.pool), "asked": s.asked, "there": s.there}
            for s in error.short
        ]
    return Refusal(error.code, sentence, body=body)


def _short(error: NotThatMuch, called: Mapping[UUID, str]) -> Iterable[str]:
    """Of what there is less, and how much there is; of a hold as a whole, that nothing of it is left."""
    if not error.short:
        yield texts.sentence("hold.nothing_left")
    for s in error.short:
        cloud = called.get(s.pool, f"云平台 {s.pool} ")
        params = {"class": s.resource_class.value, "cloud": cloud, "asked": s.asked, "there": s.there}
        yield texts.sentence("hold.short", params)


def malformed(detail: str, line: object = "1") -> Refusal:
    return Refusal("hold.malformed", texts.sentence("hold.malformed", {"line": line, "detail": detail}))


def _uuid(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise malformed(f"“{value}”不是 UUID") from None


def class_of(code: str) -> ResourceClass:
    """Raises UnknownClass."""
    try:
        return ResourceClass(code)
    except ValueError:
        raise UnknownClass(code) from None


def whole_number(value: object) -> Decimal | int:
    """A number as it was written. Raises BadAmount for what is none; ``quotas`` judges the rest."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise BadAmount(str(value))
    try:
        return Decimal(value)
    except InvalidOperation:
        raise BadAmount(str(value)) from None


@dataclass
class Desk:
    """Does one thing at a time on one database; remembers which unit and cloud a code means."""

    call: DatabaseCall
    _known: dict[tuple[str, str], UUID] = field(default_factory=dict)
    _claimed: dict[object, float] = field(default_factory=dict)

    @cached_property
    def _now(self) -> Callable[[], datetime]:
        return self.call.core.clock

    def node(self, text: str) -> UUID:
        """A unit's code, that of an information system with a node of its own, or a node's id. Raises UnknownNode."""
        return self._remembered("node", text, self._find_node)

    def pool(self, text: str) -> UUID:
        """A sub-cloud's code, or a pool's own id. Raises Refusal ``cloud.unknown``."""
        return self._remembered("pool", text, self._find_pool)

    def _remembered(self, kind: str, text: str, find: Callable[[Session, str], UUID]) -> UUID:
        if (kind, text) not in self._known:
            if not text.isprintable():  # half a character, or what no code has
                raise malformed(f"“{ascii(text)[1:-1]}”不是编码")
            try:
                self._known[kind, text] = UUID(text)
            except ValueError:
                with self.call.core.sessions() as session:
                    self._known[kind, text] = find(session, text)
        return self._known[kind, text]

    def _find_node(self, session: Session, text: str) -> UUID:
        try:
            return by_hand.node_of(session, text, now=self._now())
        except BrokerError as error:
            if error.code == "quota.no_node_of_its_own":
                raise
            raise UnknownNode(text) from None

    @staticmethod
    def _find_pool(session: Session, text: str) -> UUID:
        found = next((c.id for c in catalog.in_service(session) if c.code == text), None)
        if found is None:
            raise Refusal("cloud.unknown", f"没有云平台“{text}”。")
        return found

    def lines(self, given: Fields) -> list[Line] | None:
        """``amounts`` of ``cloud``; None without amounts. Raises UnknownClass, BadAmount."""
        amounts = given.get("amounts")
        if amounts is None:
            return None
        if not isinstance(amounts, Mapping) or not given.get("cloud"):
            raise malformed("amounts 应为 {种类: 数量}，并给出 cloud")
        pool = self.pool(str(given["cloud"]))
        return [Line(class_of(kind), whole_number(amount), pool) for kind, amount in amounts.items()]

    def until(self, given: Fields) -> datetime:
        """``expires_at``, or ``days`` from now. Raises Refusal ``hold.bad_date``."""
        now = self._now()
        bad = Refusal("hold.bad_date", texts.sentence("hold.bad_date"))
        try:
            if given.get("expires_at"):
                date = datetime.fromisoformat(str(given["expires_at"]))
            else:
                date = now + timedelta(days=int(given.get("days", DEFAULT_DAYS)))
            if date.tzinfo is None or date <= now:
                raise bad
            return date.astimezone(UTC)  # PostgreSQL knows fewer offsets
        except (ValueError, TypeError, OverflowError):
            raise bad from None

    def hand(self, given: Fields) -> Hand:
        """Who decides and why: ``by`` (a login) and ``reason``. Raises NotFound ``account.unknown``."""
        login, reason = str(given.get("by") or ""), str(given.get("reason") or "")
        if len(reason) > REASON_LENGTH:
            raise malformed(f"reason 不超过 {REASON_LENGTH} 个字")
        return Hand(self._remembered("login", login, by_hand.account_of) if login else None, os.getuid(), reason)

    def hold(self, given: Fields) -> dict[str, Any]:
        """Hold; with ``replaces`` only the difference."""
        lines = self.lines(given)
        if lines is None or not given.get("node") or not given.get("owner"):
            raise malformed("需要 node、owner、cloud 与 amounts")
        owner, node, hand = _uuid(given["owner"]), self.node(str(given["node"])), self.hand(given)
        made = _uuid(given["id"]) if given.get("id") else uuid7()
        until = self.until(given)
        asked: dict[str, Any] = {"owner": owner, "node": node, "lines": lines, "expires_at": until, "hold_id": made}
        if given.get("replaces"):
            with self.call.core.works.begin() as work:
                until = by_hand.resize(work, hand, replaces=_uuid(given["replaces"]), **asked)
        else:
            try:
                until = by_hand.hold(self.call.core.engine, self._now, hand, **asked)
            except QuotaExceeded:
                self._claim_back(node, owner, lines)
                raise
        return {"id": str(made), "outcome": "ok", "expires_at": until.astimezone(UTC).isoformat()}

    def _claim_back(self, node: UUID, owner: UUID, lines: Sequence[Line]) -> None:
        """What of the node's own share is lent out is claimed by notice; for refusals in a row once a minute."""
        what = (node, frozenset((line.resource_class, line.pool) for line in lines))
        if monotonic() - self._claimed.get(what, -CLAIM_AGAIN_S) >= CLAIM_AGAIN_S:
            self._claimed[what] = monotonic()
            with self.call.core.works.begin() as work:
                claims.for_refused(work, owner=owner, node=node, lines=lines)

    def post(self, given: Fields) -> dict[str, Any]:
        """Held becomes used: all, or the amounts."""
        return self._move(given, by_hand.post)

    def release(self, given: Fields) -> dict[str, Any]:
        """What was posted goes back: all, or the amounts."""
        return self._move(given, by_hand.release)

    def void(self, given: Fields) -> dict[str, Any]:
        """What is still held goes back; what is posted stays."""
        hold, hand = _uuid(given.get("id")), self.hand(given)
        with self.call.core.works.begin() as work:
            by_hand.void(work, hand, hold, owner=_owner(given))
        return {"id": str(hold), "outcome": "ok"}

    def _move(self, given: Fields, move: Callable[..., UUID]) -> dict[str, Any]:
        hold, key = _uuid(given.get("id")), _uuid(given["key"]) if given.get("key") else None
        lines, hand = self.lines(given), self.hand(given)
        with self.call.core.works.begin() as work:
            used = move(work, hand, hold, lines, key=key, owner=_owner(given))
        return {"id": str(hold), "outcome": "ok", "key": str(used)}


def _owner(given: Fields) -> UUID | None:
    return _uuid(given["owner"]) if given.get("owner") else None


def once(call: DatabaseCall, verb: str, given: Fields) -> None:
    """One hold, post, void or release by options. Raises Refusal."""
    try:
        answer = getattr(Desk(call), verb)(given)
    except QuotaError as error:
        raise told(call, error) from error
    words = {"hold": "已预留", "post": "已转为使用", "void": "已作废", "release": "已释放"}
    more = f"（幂等键 {answer['key']}）" if "key" in answer else ""
    more += f"，至 {moment(answer['expires_at'])}" if "expires_at" in answer else ""
    call.done(answer, f"{words[verb]} {answer['id']}{more}")


def many(call: DatabaseCall, verb: str, file: str, common: Fields) -> None:
    """One JSON object a line in, one a line out, in order; a refused line changes nothing and does not end the run.

    ``common``: what holds for lines that say nothing else (who and why).
    ``database.failed``: the connection was lost, what became of the line is not known; the same ``id`` or ``key`` again
    counts once.
    """
    desk, refused = Desk(call), 0
    act = getattr(desk, verb)
    source: Iterable[str] = sys.stdin if file == "-" else _lines_of(file)
    for number, text in enumerate(source, 1):
        if not text.strip():
            continue
        try:
            answer = act({**common, **_parsed(text, number)})
        except QuotaError as error:
            answer, refused = refusal_of(error).body, refused + 1
        except Refusal as refusal:
            answer, refused = {"code": refusal.code, "detail": refusal.message}, refused + 1
        except BrokerError as error:
            told = of_broker(error)
            answer, refused = {"code": told.code, "detail": told.message}, refused + 1
        except UnicodeEncodeError as error:
            answer, refused = malformed(str(error.reason), number).body, refused + 1
        except DBAPIError:
            answer, refused = {"code": "database.failed", "detail": texts.sentence("database.failed")}, refused + 1
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    if refused:
        raise typer.Exit(1)


def _lines_of(file: str) -> Sequence[str]:
    try:
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - what was typed
            return opened.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("file.unreadable", f"不能读取 {file}：{error}") from error


def _parsed(text: str, number: int) -> Fields:
    if "\\u0000" in text:
        raise malformed("\\u0000", number)
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise malformed(str(error), number) from None
    if not isinstance(found, dict):
        raise malformed("应为 JSON 对象", number)
    return found


def amounts_of(words: Sequence[str] | None) -> dict[str, str] | None:
    """``CLASS=AMOUNT`` words. Raises BadParameter for what is not of that form or named twice."""
    if not words:
        return None
    found: dict[str, str] = {}
    for word in words:
        kind, equals, amount = word.partition("=")
        if not equals or kind in found:
            raise typer.BadParameter(f"“{word}”应为 种类=数量，每种一次")
        found[kind] = amount
    return found
