"""Counts and times the steps of a worker, whatever they are, for its metrics.

Called by: the worker, which passes it to the engine. Must not: change what a step gets, says or raises.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from broker.telemetry import METRICS
from broker.workflows.steps import TRY_AGAIN


class Measured(Interceptor):
    """Each attempt of a step counts by what came of it."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - theirs
        return _Attempt(super().intercept_activity(next))


class _Attempt(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - theirs
        step, began, outcome = activity.info().activity_type, perf_counter(), "broke"
        try:
            answer = await super().execute_activity(input)
            outcome = "failed" if answer is False else "done"
        except ApplicationError as error:
            outcome = "again" if error.type == TRY_AGAIN else "broke"
            raise
        finally:
            METRICS.steps.labels(step, outcome).inc()
            METRICS.step_seconds.labels(step).observe(perf_counter() - began)
        return answer
