"""Where the broker is and as whom the command line goes there.

Called by: the verbs, through ``api.cli.verb``. Must not: print, or write a token anywhere but into its own 0600 file.

The address: ``--url``, ``GUIYUN_URL``, the broker running in this home, else the usual one on loopback.
The person: ``--as`` (demonstration accounts, loopback only), ``GUIYUN_TOKEN``, what ``guiyun login`` has stored.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api.cli.client import Api
from api.cli.home import is_loopback, running
from api.cli.refusal import Refusal

USUAL_URL = "http://127.0.0.1:8080"


def url_of(given: str, home: Path) -> str:
    """The broker's address. Raises Refusal ``server.url`` for what is none."""
    url = given or os.environ.get("GUIYUN_URL") or running(home).get("GUIYUN_URL") or USUAL_URL
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refusal("server.url", f"“{url}”不是有效的地址，应形如 {USUAL_URL}。")
    return url.rstrip("/")


def enter(url: str, *, login: str = "") -> Api:
    """The broker as somebody. Raises Refusal ``session.missing`` when nobody has signed in."""
    if login:
        return _as_demonstrator(url, login)
    token = os.environ.get("GUIYUN_TOKEN") or stored(url).get("token", "")
    if not token:
        raise Refusal("session.missing", "请先登录：guiyun login 账号；演示数据可直接加 --as 账号。")
    return Api(url, token=token)


def _as_demonstrator(url: str, login: str) -> Api:
    if not is_loopback(urlsplit(url).hostname or ""):
        raise Refusal("demonstration.only", "--as 只用于本机的演示账号；请用 guiyun login 登录。")
    api = Api(url)
    try:
        # Only here, and only when asked for: the loader brings every table along, which other verbs need not wait for.
        api.sign_in(login, importlib.import_module("broker.region.loader").DEMONSTRATION_PASSWORD)
    except Refusal:
        api.close()
        raise
    return api


def tokens_file() -> Path:
    return Path.home() / ".config" / "guiyun" / "token"


def _all_stored() -> dict[str, Any]:
    try:
        found = json.loads(tokens_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stored(url: str) -> dict[str, Any]:
    """What ``guiyun login`` has kept for a broker: ``token``, ``id``, ``login``; empty when nothing."""
    found = _all_stored().get(url)
    return found if isinstance(found, dict) else {}


def store(url: str, entry: dict[str, Any] | None) -> None:
    """Keep a broker's token, readable by its owner only; None forgets it."""
    every = {known: value for known, value in _all_stored().items() if known != url}
    if entry is not None:
        every[url] = entry
    file = tokens_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name("token.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(every, out, indent=1)
    beside.replace(file)
