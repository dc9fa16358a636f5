"""What was read of files of samples and what was left out, for programs and for people.

Called by: ``guiyun utilisation import``, ``guiyun idle scan``. Must not: decide which rows are good.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from api.texts.utilisation import REASONS
from broker.utilisation.values import Intake


def intake_answer(intake: Intake) -> dict[str, Any]:
    """What was read and left out, for programs."""
    return {"rows": intake.rows, "dropped": intake.dropped, "left": [asdict(left) for left in intake.left]}


def intake_lines(intake: Intake) -> list[str]:
    """One line a reason: code, count, sentence, and where the first of them stand."""
    return [
        f"  {left.reason}：{left.count} 行，{REASONS[left.reason]}（如 {'、'.join(left.first)}）"
        for left in intake.left
    ]
