"""What an e-mail and a group's message say, without sending one: subjects, signatures, words for every code."""

from __future__ import annotations

import re
from pathlib import Path

from api import texts
from api.texts import notices
from broker.notify import channels as channels_module
from broker.notify import outbox
from broker.notify import sender as sender_module
from broker.notify.channels import signature


def test_the_signature_is_dingtalks() -> None:
    """HMAC-SHA256 over timestamp, newline and secret, keyed by the secret, base64, quoted: checked with openssl."""
    assert signature("this is secret", 1700000000000) == "sSFWELbV2YwjdDQhWZwTcWlX5BWUx5J6TPpsZmuPii0%3D"


def test_every_code_of_a_channel_has_words() -> None:
    """A server's own number comes with a sentence around it; no code is shown bare."""
    source = Path(channels_module.__file__).read_text() + Path(outbox.__file__).read_text()
    source += Path(sender_module.__file__).read_text()
    codes = set(re.findall(r'"((?:smtp|webhook|sending)\.[a-z_]+)"', source))
    codes -= {"sending.not_found", "sending.decided"}  # refusals, not outcomes
    assert codes <= notices.SENDING_CODES.keys()
    assert len(codes) > 5
    assert texts.sending_trouble("smtp.451") == "邮件服务器答复 451"
    assert texts.sending_trouble("webhook.503") == "群机器人答复 503"


def test_a_subject_is_one_clause_on_one_line() -> None:
    """A mailbox's list shows its beginning: what is cut says so."""
    assert sender_module._subject("回收事项 HS-1：甲\n乙，请办理。") == "桂云通知：回收事项 HS-1：甲 乙"
    assert sender_module._subject("，") == "桂云通知"
    long = sender_module._subject("长" * 200)
    assert len(long) == len("桂云通知：") + 70
    assert long.endswith("长…")
