"""How a message goes out: SMTP, and the webhooks of WeCom and DingTalk.

Called by: ``notify.sender``. Must not: open a transaction, log an address, a URL or a secret.

Each channel says one of three things: taken, certainly not taken (``NotTakenError``), or nobody knows
(``UnclearError``). ``about_to`` is called just before the content goes out; when it says no, nothing is sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import smtplib
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote_plus

import httpx

from broker.notify.settings import Smtp, Webhook

TIMEOUT_S = 30.0
AboutTo = Callable[[], bool]


class NotTakenError(Exception):
    """Certainly not taken. ``for_good``: and never will be."""

    def __init__(self, code: str, *, for_good: bool = False) -> None:
        super().__init__(code)
        self.code, self.for_good = code, for_good


class UnclearError(Exception):
    """It was handed over and no answer came."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class LeaseLostError(Exception):
    """Somebody else has it by now; nothing was sent."""


def email(smtp: Smtp, to: str, message: EmailMessage, about_to: AboutTo) -> None:
    """One message to one address. Raises NotTakenError, UnclearError, LeaseLostError."""
    try:
        server = _connected(smtp)
    except smtplib.SMTPAuthenticationError as error:
        raise NotTakenError("smtp.auth") from error
    except (smtplib.SMTPException, OSError) as error:
        raise NotTakenError("smtp.unreachable") from error
    try:
        _converse(server, smtp, to, message, about_to)
    finally:
        server.close()


def _connected(smtp: Smtp) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if smtp.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_S)
    try:
        server.ehlo_or_helo_if_needed()
        if smtp.security == "starttls":
            server.starttls(context=context)
            server.ehlo()
        if smtp.username:
            server.login(smtp.username, smtp.password.get_secret_value())
    except BaseException:
        server.close()
        raise
    return server


def _converse(server: smtplib.SMTP, smtp: Smtp, to: str, message: EmailMessage, about_to: AboutTo) -> None:
    """Up to the server's 354 nothing has been handed over; from there on only its answer tells."""
    try:
        _expect(server.mail(smtp.sender), 250)
        _expect(server.rcpt(to), 250, 251)
        _expect(server.docmd("DATA"), 354)
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        raise NotTakenError("smtp.lost") from error
    content = re.sub(rb"(?m)^\.", b"..", message.as_bytes(policy=SMTP))
    if not about_to():
        raise LeaseLostError
    try:
        server.send(content + b".\r\n")
        code, _ = server.getreply()
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        raise UnclearError("smtp.no_answer") from error
    _expect((code, b""), 250)


def _expect(answer: tuple[int, bytes], *wanted: int) -> None:
    """Raises NotTakenError: for good where the server says so (5xx)."""
    if answer[0] not in wanted:
        raise NotTakenError(f"smtp.{answer[0]}", for_good=answer[0] >= 500)


def webhook(hook: Webhook, content: str, about_to: AboutTo, *, now_ms: int | None = None) -> None:
    """A text to a group. Raises as ``email``."""
    url = hook.url.get_secret_value()
    if hook.secret is not None:
        at = now_ms if now_ms is not None else int(time.time() * 1000)
        url = f"{url}&timestamp={at}&sign={signature(hook.secret.get_secret_value(), at)}"
    if not about_to():
        raise LeaseLostError
    try:
        answer = httpx.post(url, json={"msgtype": "text", "text": {"content": content}}, timeout=TIMEOUT_S)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise NotTakenError("webhook.unreachable") from error
    except httpx.HTTPError as error:
        raise UnclearError("webhook.no_answer") from error
    if answer.status_code >= 500:
        raise UnclearError(f"webhook.{answer.status_code}")
    try:
        code = answer.json().get("errcode") if answer.status_code == 200 else answer.status_code
    except ValueError:
        code = "answer"
    if code != 0:
        raise NotTakenError(f"webhook.{code}", for_good=code not in _LATER)


_LATER = {429, 45009, 130101, -1}
"""Too many calls (HTTP, WeCom, DingTalk), and DingTalk's "busy": later it may be taken."""


def signature(secret: str, at_ms: int) -> str:
    """DingTalk's signature of an instant, ready for a URL (HMAC-SHA256 over ``instant newline secret``)."""
    digest = hmac.new(secret.encode(), f"{at_ms}\n{secret}".encode(), hashlib.sha256).digest()
    return quote_plus(base64.b64encode(digest))
