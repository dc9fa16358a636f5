"""Usage as values.

Called by: metering, chargeback, the console. Must not: read the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Span:
    """A resource held ``quantity`` units of a meter over [start_at, end_at). ``open``: nothing has ended it yet."""

    resource_id: UUID
    meter: str
    quantity: int
    state: str
    start_at: datetime
    end_at: datetime
    open: bool
