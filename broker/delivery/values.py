"""What a machine step is told, and what it found: plain values.

Called by: dispatch (makes jobs), the steps. Must not: read the database, or carry a secret (the engine keeps history).
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a delivery or a release: the row's id, how often it was started, and where it acts.

    ``routes``: as its plan says, for the steps after it: all of one run go by the same answer.
    """

    id: UUID
    run: int
    request_id: UUID
    sub_cloud: str
    routes: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a delivery has to do: the workflow leaves out what is not needed. ``ended``: where it is, if that is all."""

    ended: str = ""
    undo: bool = False
    segments: bool = False
    volumes: bool = False
    servers: bool = False
    disks: bool = False
    configure: bool = False
    routes: bool = False
    """Segments are to be routed in the extranet, and looked at."""
