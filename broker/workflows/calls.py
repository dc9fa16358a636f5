"""How a workflow calls a step: on the cloud (retried, beating) or in the database only.

Called by: the workflows. Must not: know which steps there are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from broker.workflows.orders import (
    DATABASE_STEP_TIMEOUT,
    IN_DATABASE_RETRY,
    IN_PLACE_TIMEOUT,
    ON_CLOUD_RETRY,
    ONCE,
    STEP_TIMEOUT,
    AnyOrder,
    Order,
)

T = TypeVar("T")
Given = TypeVar("Given", bound=AnyOrder)


def break_off(order: AnyOrder) -> str:
    """The step that writes down that another one broke."""
    return "break_off" if isinstance(order, Order) else "break_case_off"


async def in_database(step: Callable[[Any, Given], T], order: Given) -> T:
    """A step that touches only the database: run in place, retried until it is through."""
    return await workflow.execute_local_activity_method(
        step, order, start_to_close_timeout=DATABASE_STEP_TIMEOUT, retry_policy=IN_DATABASE_RETRY
    )


async def on_cloud(step: Callable[[Any, Given], T], order: Given, *, quick: bool = True, queue: str | None = None) -> T:
    """A step on a sub-cloud: first a quick look in place, then, if it has to wait or fails, an activity that beats.

    Most steps are through at the first look, and the engine has written nothing but that they were (steps are
    idempotent, so a lost worker only looks again). The activity's worker is missed by its silence; it is tried again.
    ``queue``: where its workers are, if not on the workflow's own; the look in place is always the workflow's worker's.
    """
    if quick:
        try:
            return await workflow.execute_local_activity_method(
                step, order, start_to_close_timeout=IN_PLACE_TIMEOUT, retry_policy=ONCE
            )
        except FailureError as error:
            # Of a step in place the engine gives the failure itself, of an activity a wrapping.
            if is_cancelled_exception(error):
                raise
    return await workflow.execute_activity_method(
        step,
        order,
        task_queue=queue,
        start_to_close_timeout=STEP_TIMEOUT,
        heartbeat_timeout=timedelta(seconds=order.heartbeat_s),
        retry_policy=ON_CLOUD_RETRY,
    )


async def tried(
    step: Callable[[Any, Given], bool], order: Given, *, quick: bool = True, queue: str | None = None
) -> bool:
    """A step on a sub-cloud after which the road goes on, whatever came of it: rows say what failed.

    True: nothing failed. False: something did, or the step broke on its last attempt, which is written down then.
    """
    try:
        return await on_cloud(step, order, quick=quick, queue=queue)
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        workflow.logger.warning("step broke: %s", error.cause or error)
        await workflow.execute_local_activity(
            break_off(order),
            args=[order, step.__name__],
            start_to_close_timeout=DATABASE_STEP_TIMEOUT,
            retry_policy=IN_DATABASE_RETRY,
        )
        return False
