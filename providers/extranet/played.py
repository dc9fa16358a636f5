"""From what a playbook's run says to answers for each segment, in the words of ``providers.errors``.

Called by: ``providers.extranet.provider``. Must not: run anything. Pure.
"""

from __future__ import annotations

import re
from uuid import UUID

from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome
from providers.networking import Played

_CODE = re.compile(r"\b(extranet\.[a-z0-9_]+)\b:?\s*([^;]*)")
_WAITS = {
    "extranet.router_busy",
    "extranet.unreachable",
    "extranet.not_forwarding",
    "extranet.probe_blind",
    "extranet.still_there",
}
"""What may be otherwise in a moment."""
_UNREACHABLE = "extranet.router_unreachable"


def error_of(code: str, detail: str) -> ProviderError:
    """A code that a router or a probe said, as one of the four."""
    if code in _WAITS:
        return Temporary(code, detail, retry_after_s=2.0)
    return Permanent(code, detail)


def answer_for(played: Played, router: str, segment_id: UUID) -> ProviderError | None:
    """What a run says of one segment on its router; without a word of its own, what is said of the router."""
    for answer in played.answers.get(router, ()):
        said = answer.get("segments", {}).get(str(segment_id))
        if said is not None:
            return error_of(said["code"], said.get("detail", "")) if said["code"] else None
    return silence(played, router)


def answered(played: Played, router: str, segment_id: UUID) -> bool:
    """Whether a run has said something of just this segment."""
    return any(str(segment_id) in answer.get("segments", {}) for answer in played.answers.get(router, ()))


def silence(played: Played, router: str) -> ProviderError:
    """Why a router said nothing of what it was asked."""
    said = next((f for f in played.failures if f.startswith(f"{router}: ")), "")
    if played.status == "timeout":
        return UnknownOutcome("extranet.router_timeout", router)
    found = _CODE.search(said)
    if found:
        return error_of(found.group(1), found.group(2).strip()[:300])
    if "Host key verification failed" in said or "Permission denied" in said:
        return ActionRequired("extranet.router_refuses_us", f"{router}: {said[-200:]}")
    if played.status == "unreachable" or not said:
        return Temporary(_UNREACHABLE, said[:300] or router, retry_after_s=2.0)
    return Permanent("extranet.playbook_failed", said[:300])
