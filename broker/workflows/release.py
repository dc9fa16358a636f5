"""Release, in order: last reading, delete, give back. Every rule is behind a step.

Called by: dispatch, once for each release and run. Must not: decide anything that a row does not say.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from broker.workflows.calls import in_database, tried
    from broker.workflows.orders import Order
    from broker.workflows.steps import Steps


@workflow.defn
class GiveBack:
    """Carry one release: the resources of one request in one sub-cloud."""

    @workflow.run
    async def run(self, order: Order) -> str:
        if not await in_database(Steps.last_reading, order):
            return "ended"
        if not await tried(Steps.delete, order):
            return "needs_operator"
        return await in_database(Steps.give_back, order)
