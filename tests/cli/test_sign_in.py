"""Signing in keeps a token that only its owner can read; signing out revokes it."""

from __future__ import annotations

import json

from api.cli.access import tokens_file
from broker.region.loader import DEMONSTRATION_PASSWORD
from tests.cli.typist import Typist


def test_login_keeps_a_token_and_logout_revokes_it(typist: Typist) -> None:
    """~/.config/guiyun/token, 0600, keyed by the server; afterwards the token is worth nothing."""
    said = typist.types("login", "apply.jyt", "--password-stdin", stdin=f"{DEMONSTRATION_PASSWORD}\n")
    assert said.status == 0, said
    assert DEMONSTRATION_PASSWORD not in said.out + said.err
    file = tokens_file()
    assert file.is_relative_to(typist.folder)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    kept = json.loads(file.read_text())[typist.tokens.url]
    assert kept["login"] == "apply.jyt"
    assert "韦海燕" not in file.read_text()
    assert "自治区教育厅" in typist.does("whoami").out
    assert "已退出登录" in typist.does("logout").out
    assert typist.refused("whoami").startswith("session.missing：")
    file.write_text(json.dumps({typist.tokens.url: kept}))
    assert typist.refused("whoami").startswith("token.invalid：")


def test_a_second_login_revokes_the_first(typist: Typist) -> None:
    """Nothing that was stored before stays good unseen."""
    typist.types("login", "apply.jyt", "--password-stdin", stdin=f"{DEMONSTRATION_PASSWORD}\n")
    first = tokens_file().read_text()
    typist.types("login", "approve.jyt", "--password-stdin", stdin=f"{DEMONSTRATION_PASSWORD}\n")
    assert "审批人" in typist.does("whoami").out
    tokens_file().write_text(first)
    assert typist.refused("whoami").startswith("token.invalid：")


def test_a_wrong_password_keeps_nothing(typist: Typist) -> None:
    """Refused, and not said which of the two was wrong."""
    said = typist.types("login", "apply.jyt", "--password-stdin", stdin="wrong\n")
    assert (said.status, said.err.split("：")[0]) == (1, "sign_in.refused")
    assert not tokens_file().exists()
    assert typist.refused("logout").startswith("session.missing：")


def test_a_demonstration_account_needs_no_login(typist: Typist) -> None:
    """--as signs in for one command and signs out again; nothing is kept."""
    assert "自治区教育厅" in typist.does("whoami", "--as", "apply.jyt").out
    assert not tokens_file().exists()
