"""The one place of Chinese interface texts: sentences for error codes, names of states and roles, articles, notices.

Called by: ``api.errors``, the console, the command line. Must not: decide anything. A code without a text fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.texts import (
    dedicated,
    extranet,
    files,
    names,
    notices,
    reclaim,
    register,
    stages,
    usage,
    utilisation,
    verdicts,
    zombies,
)
from api.texts.errors import SENTENCES as GENERAL

SENTENCES: Mapping[str, str] = {
    **GENERAL,
    **stages.SENTENCES,
    **files.SENTENCES,
    **utilisation.SENTENCES,
    **register.SENTENCES,
    **reclaim.SENTENCES,
    **zombies.SENTENCES,
    **extranet.SENTENCES,
    **dedicated.SENTENCES,
    **usage.SENTENCES,
}
"""Code -> sentence with blanks (``{param}``)."""

_STATUS = {
    400: "请求有误",
    401: "未登录",
    403: "无权操作",
    404: "未找到",
    405: "不支持的操作方式",
    409: "与当前状态冲突",
    412: "内容已被他人更新",
    413: "内容过大",
    415: "不支持的内容类型",
    422: "填写有误",
    429: "操作过于频繁",
    500: "系统内部错误",
    503: "服务暂不可用",
}


class _Blanks(dict[str, str]):
    """A blank that nobody filled stays visible as a dash, and never becomes an error of its own."""

    def __missing__(self, key: str) -> str:
        return "—"


def _fill(text: str, params: Mapping[str, object]) -> str:
    return text.format_map(_Blanks({name: _value(name, value) for name, value in params.items()}))


def _value(name: str, value: object) -> str:
    """States, roles and other words of ours are shown by their Chinese names."""
    table = names.BY_PARAM.get(name, {})
    return table.get(str(value), str(value))


def sentence(code: str, params: Mapping[str, object] | None = None) -> str:
    """The sentence for an error code; an unknown code is shown as it is."""
    return _fill(SENTENCES.get(code, f"操作未能完成（{code}）"), params or {})


def notice(code: str, params: Mapping[str, object] | None = None) -> str:
    """The text of a notice; what is wrong with a router is said fact by fact."""
    given: dict[str, Any] = dict(params or {})
    if "facts" in given:
        given["detail"] = facts(given.pop("facts"))
    if "{things}" in (said := notices.NOTICES.get(code, code)):
        given["things"] = _things(given)
    return _fill(said, given)


def _things(given: Mapping[str, Any]) -> str:
    """Which resources a notice is about, in brackets: the first by its number, how many in all."""
    if "first" not in given:  # told before notices said so
        return ""
    others = f" 等 {given['count']} 项" if given["count"] > 1 else ""
    return f"（{given['cloud']} {given['first']}{others}）"


def facts(found: Iterable[Mapping[str, Any]]) -> str:
    """What is otherwise on a router, each fact in words; the router's own lines stay as it writes them."""
    return "；".join(_fact(each["code"], each["params"]) for each in found) or "—"


def _fact(code: str, params: Mapping[str, Any]) -> str:
    sides = ((extranet.MISSING, params.get("missing")), (extranet.EXTRA, params.get("extra")))
    said = [side.format(words="、".join(words)) for side, words in sides if words]
    said += [extranet.MORE.format(count=params["more"])] if params.get("more") else []
    words = {
        "difference": f"（{'，'.join(said)}）" if said else "",
        "state": extranet.SESSION_STATES.get(str(params.get("state")), str(params.get("state"))),
        "trouble": trouble(str(params.get("trouble"))),
    }
    return extranet.FACTS.get(code, code).format_map(_Blanks({**{k: str(v) for k, v in params.items()}, **words}))


def verdict(code: str, params: Mapping[str, object] | None = None) -> str:
    """What one filter of placement said of a sub-cloud."""
    return _fill(verdicts.VERDICTS.get(code, code), params or {})


def trouble(code: str) -> str:
    """What went wrong at a cloud or a step, for an operator; the code itself where we have no words.

    A last step that could not end well says what became of the delivery: a state.
    """
    return verdicts.TROUBLES.get(code) or extranet.TROUBLES.get(code) or names.REQUEST_STATES.get(code, code)


def sending_trouble(code: str) -> str:
    """Why a notice was not sent, or nobody knows; a server's own number is shown as it is."""
    kind, _, detail = code.partition(".")
    said = notices.SENDING_CODES.get(code) or notices.SENDING_CODES.get(kind, code)
    return said.format(detail=detail)


def status_title(status: int) -> str:
    """What an HTTP status means, in a few characters."""
    return _STATUS.get(status, "请求未能完成")


def article(reference: str) -> str:
    """``Art. 17(2)`` -> ``《实施细则》第十七条第（二）项``; empty stays empty: the rule is ours."""
    return names.article(reference)
