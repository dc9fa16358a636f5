"""Delivery, in order (Art. 17(4)). Reads like the article; every rule is behind a step.

Called by: dispatch, once for each delivery and run. Must not: decide anything that a row does not say.
"""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from broker.workflows.calls import in_database, tried
    from broker.workflows.orders import ROUTERS, Order
    from broker.workflows.steps import Steps


@workflow.defn
class Fulfil:
    """Carry one delivery: what one request gets from one sub-cloud."""

    @workflow.run
    async def run(self, order: Order) -> str:
        plan = await in_database(Steps.pin_hold, order)
        if plan.ended:
            return plan.ended
        if plan.undo:
            await tried(Steps.undo, order)
            return "undo"

        order = replace(order, job=replace(order.job, routes=plan.routes))
        good = await tried(Steps.create_project, order)
        if plan.segments:
            good &= await tried(Steps.create_segments, order)
        if plan.routes:
            good &= await tried(Steps.route_segments, order, quick=False, queue=ROUTERS)
            good &= await tried(Steps.verify_segments, order, quick=False, queue=ROUTERS)
        if plan.volumes:
            good &= await tried(Steps.create_volumes, order)
        if plan.servers:
            good &= await tried(Steps.create_servers, order)
        if plan.disks:
            good &= await tried(Steps.attach_volumes, order)
        if plan.configure:
            good &= await tried(Steps.configure_guests, order, quick=False)

        if not good:
            await tried(Steps.undo_failed, order)
        return await in_database(Steps.hand_over, order)
