"""How values look on a page: money in 元, times in Asia/Shanghai, names for our words. Pure.

Called by: the templates (as filters). Must not: read the database, or use a float for money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from ipaddress import IPv6Network
from typing import Any
from uuid import UUID

from api import texts
from api.formats import LOCAL, aware, last_day, percent, price, second, when, yuan
from api.texts import console, extranet, names, reclaim
from api.texts.actions import AUDIT_ACTIONS
from broker.inventory import rules as scarce
from quotas.values import Refusal

SOON = timedelta(hours=8)
_TABLES: Mapping[str, Mapping[str, str]] = {
    "role": names.ROLES,
    "request_state": names.REQUEST_STATES,
    "item_state": names.ITEM_STATES,
    "resource_state": names.RESOURCE_STATES,
    "delivery_state": names.DELIVERY_STATES,
    "step_state": names.STEP_STATES,
    "step": names.STEPS,
    "stage": names.STAGES,
    "kind": names.KINDS,
    "zone": names.ZONES,
    "tier": names.TIERS,
    "meter": names.METERS,
    "class": names.CLASSES,
    "decision": names.DECISIONS,
    "nature": names.NATURES,
    "filter": names.FILTERS,
    "field": names.FIELDS,
    "action": AUDIT_ACTIONS,
    "payer_rule": console.PAYER_RULES,
    "standing": names.STANDINGS,
    "dispute_state": names.DISPUTE_STATES,
    "adjustment_state": names.ADJUSTMENT_STATES,
    "per": console.PER,
    "desk": console.DESKS,
    "stop": console.STOPS,
    "stop_state": console.STOP_STATES,
    "mark": console.MARKS,
    "prefix_state": names.PREFIX_STATES,
    "level": names.LEVELS,
    "router_level": extranet.ROUTER_LEVELS,
    "standing_segment": extranet.STANDINGS,
    "session": extranet.SESSIONS,
    "router_gap": extranet.GAPS,
    "case_state": reclaim.STATES,
    "case_cause": reclaim.CAUSES,
    "case_event": reclaim.EVENTS,
    "case_wait": reclaim.WAITS,
    "case_step": reclaim.STEPS,
    "case_watched": reclaim.WATCHED,
}

_COLOURS = {
    "green": (
        "delivered",
        "active",
        "done",
        "released",
        "approve",
        "confirm",
        "closed",
        "accepted",
        "confirmed",
        "routed",
        "up",
    ),
    "yellow": (
        "returned",
        "return",
        "partly_delivered",
        "stopped",
        "give_up",
        "interim",
        "reopened",
        "raised",
        "objected",
        "contested",
        "suspended",
        "proposed",
        "leaving",
        "unrouted",
        "silent",
        "lost",
    ),
    "red": (
        "refused",
        "needs_operator",
        "failed",
        "undelivered",
        "refuse",
        "late",
        "undone",
        "rejected",
        "desk",
        "differs",
        "down",
    ),
    "azure": (
        "submitted",
        "approved",
        "assessed",
        "delivering",
        "releasing",
        "running",
        "building",
        "ready",
        "held",
        "found",
        "noticed",
        "measuring",
        "suspending",
        "resuming",
        "making",
    ),
}
_COLOUR = {word: colour for colour, words in _COLOURS.items() for word in words}


def word(value: object, table: str) -> str:
    """Our word's Chinese name; an unknown word as it is."""
    return _TABLES[table].get(str(value), str(value))


def colour(value: object) -> str:
    """The badge's colour of a state or decision."""
    return _COLOUR.get(str(value), "secondary")


def clock(moment: datetime | None) -> str:
    """An instant to the second in Asia/Shanghai: for steps and events."""
    return console.NO_NAME if moment is None else aware(moment).astimezone(LOCAL).strftime("%m-%d %H:%M:%S")


def day(moment: datetime | date | str | None) -> str:
    """A day, as it is in Asia/Shanghai."""
    if moment is None:
        return console.NO_NAME
    if isinstance(moment, str):
        return moment
    return moment.astimezone(LOCAL).date().isoformat() if isinstance(moment, datetime) else moment.isoformat()


def span(length: timedelta) -> str:
    """A length of time in its two largest units that matter."""
    seconds = int(abs(length).total_seconds())
    parts = {
        "days": seconds // 86400,
        "hours": seconds % 86400 // 3600,
        "minutes": seconds % 3600 // 60,
        "seconds": seconds % 60,
    }
    if seconds >= 60:
        parts.pop("seconds")
    shown = [console.SPANS[unit].format(n=n) for unit, n in parts.items() if n]
    return " ".join(shown[:2]) or console.SPANS["seconds"].format(n=0)


def due(moment: datetime | None, now: datetime) -> dict[str, str] | None:
    """How a deadline stands: ``{"kind": late | soon | ahead, "text": ...}``."""
    if moment is None:
        return None
    left = aware(moment) - now
    kind = "late" if left < timedelta(0) else "soon" if left < SOON else "ahead"
    return {"kind": kind, "text": console.DUE[kind].format(span=span(left))}


def number(value: object) -> str:
    """A whole number with thousands apart; nothing stands for *no limit*."""
    return console.UNLIMITED if value is None else f"{int(str(value)):,}"


def share(part: int, whole: int) -> str:
    """So much of the whole, in percent; what is there is never shown as nothing."""
    if not part or not whole:
        return "0%"
    hundredths = part * 10_000 // whole
    return f"{hundredths // 100}.{hundredths % 100:02d}%" if hundredths else "<0.01%"


def size(slash64: int) -> str:
    """A number of /64s: as it is up to a million, a power of two above it."""
    power = slash64.bit_length() - 1
    if slash64 < 1 << 20 or slash64 != 1 << power:
        return f"{slash64:,}"
    return "2" + str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def first_64(prefix: IPv6Network) -> str:
    """The first /64 of a prefix."""
    return f"{prefix.network_address}/64"


def article(reference: str) -> str:
    """The article's name, or that the rule is ours."""
    return "；".join(texts.article(part.strip()) for part in reference.split(";")) if reference else console.OURS


def spec(values: Mapping[str, Any], kind: str, images: Mapping[str, str]) -> str:
    """An item's or resource's size in one line, its image by the name that ``images`` gives its code."""
    if kind == "segment":
        opened = " ".join(map(str, values.get("services") or ()))
        return f"{word(values.get('zone'), 'zone')} /64" + (f"，开放 {opened}" if opened else "")
    if kind == "volume":
        return _disk(values.get("size_gib"), values.get("block_class", ""))
    disks = [_disk(values.get("system_disk_gib"), values.get("system_disk_class", "ssd"))]
    disks += [_disk(d["size_gib"], d["block_class"]) for d in values.get("data_disks") or []]
    image = str(values.get("image", ""))
    return console.SERVER.format(
        vcpu=values.get("vcpu"),
        memory=values.get("memory_gib"),
        disks=" + ".join(disks),
        image=images.get(image, image),
    )


def _disk(size_gib: object, block_class: object) -> str:
    return f"{size_gib} GiB {str(block_class).upper()}"


def dom_id(path: str) -> str:
    """A field's path as an element's id: ``items[2].vcpu`` -> ``f-items-2-vcpu``."""
    return "f-" + re.sub(r"[^a-z0-9_]+", "-", path.lower()).strip("-")


def label(path: str) -> str:
    """A field's Chinese name with the item it belongs to: ``items[2].vcpu`` -> ``申请项 3 · 处理器核数``."""
    found = re.match(r"items\[(\d+)\]\.?(.*)", path)
    prefix, rest = (console.ITEM.format(n=int(found[1]) + 1), found[2]) if found else ("", path)
    disk = re.match(r"data_disks\[(\d+)\]\.?(.*)", rest)
    if disk:
        prefix, rest = f"{prefix} · {console.DATA_DISK.format(n=int(disk[1]) + 1)}", disk[2]
    name = names.FIELDS.get(rest, names.FIELDS.get(rest.split("[")[0], rest))
    return " · ".join(part for part in (prefix, name) if part)


def notice(code: str, params: Mapping[str, Any]) -> str:
    """A notice's text, its instants as they are in Asia/Shanghai."""
    shown = {name: when(value) if name.endswith("_at") else value for name, value in params.items()}
    return texts.notice(code, shown)


def turned_down(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Candidates that a filter refused, together where the reasons are the same: ``names`` and their ``verdicts``."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for candidate in candidates:
        if not candidate["passed"]:
            failed = [v for v in candidate["verdicts"] if not v["passed"]]
            key = tuple((texts.verdict(v["code"], v["params"]), v["article"]) for v in failed)
            groups.setdefault(key, {"names": [], "verdicts": failed})["names"].append(candidate["name"])
    return list(groups.values())


def refused(refusal: Refusal, names: Mapping[UUID, str]) -> str:
    """Which limit or stock refuses, and whose it is."""
    problem = scarce.refused(refusal, names)
    numbers = {name: number(value) for name, value in problem.params.items() if isinstance(value, int)}
    return texts.sentence(problem.code, {**problem.params, **numbers})


def problems(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Problems with their sentences, for the summary and for their fields."""
    return [
        {
            "field": p.field,
            "code": p.code,
            "text": texts.sentence(p.code, p.params),
            "article": texts.article(p.article) if p.article else "",
        }
        for p in errors
    ]


FILTERS = {
    "word": word,
    "colour": colour,
    "yuan": yuan,
    "percent": percent,
    "price": price,
    "when": when,
    "last_day": last_day,
    "standing": reclaim.standing,
    "second": second,
    "clock": clock,
    "day": day,
    "span": span,
    "due": due,
    "number": number,
    "spec": spec,
    "article": article,
    "dom_id": dom_id,
    "label": label,
    "notice": notice,
    "trouble": texts.trouble,
    "sentence": texts.sentence,
    "not_opened": reclaim.not_opened,
    "grace": reclaim.grace_words,
    "verdict": texts.verdict,
    "turned_down": turned_down,
    "refused": refused,
    "share": share,
    "slash64": size,
    "first_64": first_64,
}
