"""Why a reclaim case was opened, in sentences: what was measured and since when, a term's end, a zombie's score.

Called by: ``api.views.reclaim``. Must not: judge, or look anything up: a case keeps its own evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.formats import last_day, yuan
from api.texts import reclaim as words
from api.texts import utilisation
from api.texts.zombies import SIGNS
from broker.reclamation.models import ReclaimCase
from broker.reclamation.values import Cause
from broker.utilisation.findings import Evidence


def grounds(case: ReclaimCase) -> list[str]:
    """One sentence a ground; none of a case that a person opened: its reason says it."""
    kept = case.evidence
    if case.cause == Cause.IDLE.value and "evidence" in kept:
        return _idle(kept, case.policy_content)
    if case.cause == Cause.TERM.value and "ends_at" in kept:
        return [words.GROUNDS["term"].format(request=kept["request"], day=last_day(kept["ends_at"]))]
    if case.cause == Cause.ZOMBIE.value and "signs" in kept:
        return _zombie(kept)
    return []


def _idle(kept: Mapping[str, Any], policy: Mapping[str, Any]) -> list[str]:
    facts = {name: kept[name] for name in ("first_day", "last_day", "days")}
    found = [words.GROUNDS["idle"].format(**facts, kind=utilisation.FINDINGS[kept["kind"]])]
    found += [f"{utilisation.evidence_words([Evidence(**each)])}。" for each in kept["evidence"]]
    if policy:
        found.append(words.GROUNDS["policy"].format(title=policy["title"] or policy["name"], days=policy["days"]))
    if kept["monthly_fen"]:
        found.append(words.GROUNDS["money"].format(yuan=yuan(kept["monthly_fen"])))
    return found


def _zombie(kept: Mapping[str, Any]) -> list[str]:
    score = kept["score_hundredths"] / 100
    shown = [SIGNS[each["sign"]] for each in kept["signs"] if each["known"] and each["mass"]]
    return [words.GROUNDS["zombie"].format(score=f"{score:.2f}", signs="、".join(shown) or words.NO_SIGN)]
