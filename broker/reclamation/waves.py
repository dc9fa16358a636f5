"""Asks a cloud for several things at once and waits until each is so: one that is unclear holds up no other.

Called by: ``power``, ``snapshots``. Must not: open a transaction or change a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from broker.delivery.provision import TryAgainError, again
from broker.delivery.tools import Pace
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome


def until(asked: Mapping[UUID, Callable[[], bool]], pace: Pace, still: str) -> dict[UUID, str]:
    """Ask for each, again and again while it says False; returns those that cannot be, with a code (empty: all are so).

    Raises TryAgainError while the cloud gives no clear answer and attempts are left; ``still`` is the code of waiting.
    """
    left = set(asked)
    stuck: dict[UUID, str] = {}
    unclear: dict[UUID, ProviderError] = {}
    while left:
        for each in sorted(left):
            try:
                if not asked[each]():
                    continue
            except (Temporary, UnknownOutcome) as error:
                unclear[each] = error
            except (Permanent, ActionRequired) as error:
                stuck[each] = error.code
            left.discard(each)
        if left and not pace.wait():
            if not pace.last:
                raise TryAgainError(still)
            stuck |= dict.fromkeys(left, still)
            break
    if not pace.last:
        for unanswered in unclear.values():
            raise again(unanswered)
    return stuck | {i: e.code for i, e in unclear.items()}
