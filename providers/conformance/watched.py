"""A provider under watch: in every call of the suite only the four errors may leave it, and none may take too long.

Called by: the suite's ``provider`` fixture. Must not: change what a call does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from providers.contract import Provider
from providers.errors import ActionRequired, Permanent, Temporary, UnknownOutcome

FOUR = (Temporary, Permanent, ActionRequired, UnknownOutcome)
_SLACK_S = 5.0


class _Watched:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._provider, name)
        return self._watch(name, attribute) if callable(attribute) else attribute

    def _watch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            start = time.monotonic()
            try:
                return call(*arguments, **named)
            except FOUR:
                raise
            except Exception as error:
                raise AssertionError(
                    f"{name} let {type(error).__name__} out; only the four may leave a provider"
                ) from error
            finally:
                took_s, limit_s = time.monotonic() - start, self._provider.capabilities.call_timeout_s
                assert took_s <= limit_s + _SLACK_S, f"{name} took {took_s:.0f} s; call_timeout_s is {limit_s:.0f}"

        return watched


def watched(provider: Provider) -> Provider:
    """``provider``, watched."""
    return cast("Provider", _Watched(provider))
