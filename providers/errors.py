"""The only exceptions that may leave a provider.

Called by: every adapter (raises them) and the broker's delivery steps (decide what to do).
Must not: carry secrets; ``detail`` ends up in audit events and on an operator's desk.

The four say what the *caller* has to do next, not what went wrong inside the cloud:

====================  ==========================================================================
``Temporary``         nothing was done; try again after ``retry_after_s``
``Permanent``         nothing was done and trying again will not help (refused, over quota, bad size)
``ActionRequired``    a person must do something (credentials revoked, image missing)
``UnknownOutcome``    it may or may not have been done, or may still be done: observe before acting
====================  ==========================================================================
"""

from __future__ import annotations


class ProviderError(Exception):
    """Base of the four. ``code`` is stable and machine-readable; ``detail`` is for an operator."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Temporary(ProviderError):
    """Nothing was done; the same call may succeed after ``retry_after_s`` seconds."""

    def __init__(self, code: str, detail: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__(code, detail)
        self.retry_after_s = retry_after_s


class Permanent(ProviderError):
    """Nothing was done and the same call will always fail."""


class ActionRequired(ProviderError):
    """Nothing was done; a person has to act before the same call can succeed."""


class UnknownOutcome(ProviderError):
    """The call may have been carried out, or may still be: look before acting again."""
