"""Measuring: one reading of one sub-cloud's samples; one day's detection. One step each; waiting is the row's date.

Called by: dispatch, once for each row and run. Must not: decide anything that a row does not say.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from broker.workflows.measure_steps import MeasureSteps
    from broker.workflows.orders import MEASURE_RETRY, STEP_TIMEOUT, MeasureOrder


@workflow.defn
class Collect:
    """Read what one sub-cloud's servers use into the store."""

    @workflow.run
    async def run(self, order: MeasureOrder) -> bool:
        return await workflow.execute_activity_method(
            MeasureSteps.collect,
            order,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=timedelta(seconds=order.heartbeat_s),
            retry_policy=MEASURE_RETRY,
        )


@workflow.defn
class Detect:
    """Find what is idle on one day, then which systems look like zombies (Art. 28) by that and by the register."""

    @workflow.run
    async def run(self, order: MeasureOrder) -> bool:
        found = await workflow.execute_activity_method(
            MeasureSteps.detect,
            order,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=timedelta(seconds=order.heartbeat_s),
            retry_policy=MEASURE_RETRY,
        )
        if found and workflow.patched("zombies"):
            await workflow.execute_activity_method(
                MeasureSteps.look_for_zombies,
                order,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=timedelta(seconds=order.heartbeat_s),
                retry_policy=MEASURE_RETRY,
            )
        return found
