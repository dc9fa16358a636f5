"""What a workflow is given, and how steps are called: the engine's dials in one place. Pure but for the engine.

Called by: the workflows and dispatch. Must not: carry a secret or personal data (the engine keeps history).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

from broker.delivery.values import Job
from broker.reclamation.values import CaseJob
from broker.utilisation.collectors import Errand

ATTEMPTS = 10
"""How often a step on a cloud is tried before an operator is asked: for three minutes, if it fails at once."""
FIRST_PAUSE_S, BACKOFF, LONGEST_PAUSE_S = 0.5, 2.0, 60.0

ON_CLOUD_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=FIRST_PAUSE_S),
    backoff_coefficient=BACKOFF,
    maximum_interval=timedelta(seconds=LONGEST_PAUSE_S),
    maximum_attempts=ATTEMPTS,
)
IN_DATABASE_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))
"""A step that only touches the database is tried until the database answers."""

MEASURE_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30), maximum_attempts=5
)
"""An act of measuring tells itself what went wrong with a cloud; what is tried again here is a worker that was lost."""

ONCE = RetryPolicy(maximum_attempts=1)

IN_PLACE_S = 1.0
"""How long the quick first look at a step may wait for a cloud before it becomes an activity that beats."""
IN_PLACE_TIMEOUT = timedelta(seconds=120)
"""Above every adapter's call time-out, so that the look ends by itself and never runs on unseen."""
STEP_TIMEOUT = timedelta(minutes=20)
DATABASE_STEP_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Order:
    """Which row to carry, in which run. ``heartbeat_s``: how soon a lost worker is noticed."""

    job: Job
    heartbeat_s: float = 10.0


@dataclass(frozen=True)
class CaseOrder:
    """Which reclaim case to carry on, in which run."""

    job: CaseJob
    heartbeat_s: float = 10.0


@dataclass(frozen=True)
class MeasureOrder:
    """Which collector to carry on, in which run."""

    job: Errand
    heartbeat_s: float = 10.0


MEASURING = "measuring"
"""The task queue of reading and scanning: few at once, for one store, and apart from deliveries."""

ROUTERS = "routers"
"""The task queue of steps on the extranet's routers. They mostly wait for a run that they share: on a cloud's queue
they would take its few slots, and a cloud that is slow would hold up routers."""

AnyOrder = Order | CaseOrder | MeasureOrder


def pause_s(attempt: int) -> float:
    """How long to wait after this attempt, when the cloud does not ask for more."""
    return min(FIRST_PAUSE_S * BACKOFF ** (attempt - 1), LONGEST_PAUSE_S)


def queue_of(sub_cloud_code: str) -> str:
    """The task queue of a sub-cloud: a dead cloud takes no one else's workers."""
    return f"cloud-{sub_cloud_code}"
