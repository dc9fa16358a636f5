"""Sends what the outbox holds, one message at a time, through the channels that are configured.

Called by: the worker, every few seconds. Must not: keep a transaction open while it talks to a server, or log an
address or a URL. Texts are the composition root's (``words``): a room of the broker has no sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select

from broker.notify import channels as ways
from broker.notify import outbox
from broker.notify.channels import AboutTo, LeaseLostError, NotTakenError, UnclearError
from broker.notify.models import Notice, NoticeSending
from broker.notify.settings import Channels
from broker.tenancy.models import Account, Person
from broker.tenancy.rules import mailable
from broker.tenancy.work import Work, WorkFactory

log = structlog.get_logger(__name__)

Words = Callable[[str, Mapping[str, Any]], str]
"""A notice's sentence from its code and params."""
SUBJECT = "桂云通知"
_FIRST_CLAUSE = re.compile(r"[^，。；]+")
_SUBJECT_CHARS = 70
_A_ROUND = 50


@dataclass(frozen=True, slots=True)
class Sender:
    """One loop a process; several may run, each message is claimed by one of them."""

    works: WorkFactory
    channels: Channels
    words: Words

    def round(self) -> int:
        """Expand new notices, put what was lost on the desk, send what is due. Returns how many were tried."""
        hooks = [(h.name, h.unit, h.roles) for h in self.channels.webhooks]
        with self.works.begin() as work:
            outbox.expand(work, email=self.channels.smtp is not None, webhooks=hooks)
            lost, spent = outbox.lost(work), outbox.spent(work)
        if lost or spent:
            log.warning("notices on the desk", unknown=lost, spent=spent)
        tried = 0
        while tried < _A_ROUND and self._one():
            tried += 1
        return tried

    def _one(self) -> bool:
        with self.works.begin() as work:
            sending_id = outbox.claim(work, self.channels.names)
        if sending_id is None:
            return False
        try:
            self._send(sending_id)
        except Exception:
            # Of one message nobody foresaw: the others go on.
            log.exception("notice not sent", sending=str(sending_id))
            self._write(outbox.broken, sending_id)
        return True

    def _send(self, sending_id: UUID) -> None:
        try:
            with self.works.begin() as work:
                send = self._prepared(work, sending_id)
            send(partial(self._hand_over, sending_id))
        except LeaseLostError:
            pass
        except NotTakenError as error:
            self._write(outbox.refused, sending_id, error.code, for_good=error.for_good)
        except UnclearError as error:
            log.warning("notice with an unknown outcome", sending=str(sending_id), code=error.code)
            self._write(outbox.unknown, sending_id, error.code)
        else:
            self._write(outbox.sent, sending_id)

    def _prepared(self, work: Work, sending_id: UUID) -> Callable[[AboutTo], None]:
        """What to do for a message. Raises NotTakenError, for good, when its address is none.

        ``sending.no_address``: a person was blanked, a webhook removed; ``sending.bad_address``: mail cannot go there.
        """
        sending = work.session.get_one(NoticeSending, sending_id)
        notice = work.session.get_one(Notice, sending.notice_id)
        sentence = self.words(notice.code, notice.params)
        if sending.channel == "webhook":
            hook = next((h for h in self.channels.webhooks if h.name == sending.webhook), None)
            if hook is None:
                raise NotTakenError("sending.no_address", for_good=True)
            return partial(ways.webhook, hook, f"【{SUBJECT}】{sentence}")
        address = work.session.scalar(
            select(Person.email)
            .join(Account, Account.person_id == Person.id)
            .where(Account.id == sending.account_id, Person.blanked_at.is_(None), Account.disabled_at.is_(None))
        )
        smtp = self.channels.smtp
        if not address or smtp is None:
            raise NotTakenError("sending.no_address", for_good=True)
        if not mailable(address):
            raise NotTakenError("sending.bad_address", for_good=True)
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = _subject(sentence), smtp.sender, address
        message["Message-ID"] = f"<{sending.id}@{smtp.sender.rpartition('@')[2] or 'guiyun'}>"
        message["Date"], message["Auto-Submitted"] = format_datetime(notice.created_at), "auto-generated"
        message.set_content(f"{sentence}\n\n请登录桂云办理。本邮件由系统自动发送，请勿回复。\n")
        return partial(ways.email, smtp, address, message)

    def _hand_over(self, sending_id: UUID) -> bool:
        with self.works.begin() as work:
            return outbox.hand_over(work, sending_id)

    def _write(self, what: Callable[..., None], sending_id: UUID, *args: Any, **named: Any) -> None:
        with self.works.begin() as work:
            what(work, sending_id, *args, **named)


def _subject(sentence: str) -> str:
    """What it is about, as a mailbox lists it: the sentence's first clause, on one line."""
    found = _FIRST_CLAUSE.match(" ".join(sentence.split()))
    if found is None:
        return SUBJECT
    clause = found[0] if len(found[0]) <= _SUBJECT_CHARS else f"{found[0][: _SUBJECT_CHARS - 1]}…"
    return f"{SUBJECT}：{clause}"
