"""Puts the HTTP side together: middleware, error answers, routes, and the core's life from start to stop.

Called by: ``guiyun serve``, tests. Must not: hold a rule, or build parts of the core (``broker.bootstrap`` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import anyio.to_thread
from fastapi import FastAPI

from api import console, counting, errors, openapi
from api.body import BodyGuard
from api.events import Hub
from api.middleware import RateLimit, SameOrigin, Surroundings
from api.routes import ROUTERS
from broker.bootstrap import App, build
from broker.metering.models import KINDS
from broker.request.service import MAX_ATTACHMENT_BYTES
from broker.settings import Settings

REQUESTS_PER_SECOND = 500
REQUESTS_AT_ONCE = 2000
"""For each address. An office shares one; the limit is there against floods, not against use."""

MULTIPART_OVERHEAD = 64 * 1024


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Nothing is opened before its lifespan starts."""
    chosen = settings or Settings()
    app = FastAPI(
        title="桂云",
        summary="自治区政务云统筹平台：从资源申请到回收",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan(chosen),
        separate_input_output_schemas=False,
    )
    app.state.settings = chosen
    app.openapi = partial(openapi.describe, app)  # type: ignore[method-assign]  # FastAPI's documented way
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    # The last one added is the outermost.
    app.add_middleware(
        BodyGuard,
        limit=chosen.body_limit_bytes,
        upload_limit=MAX_ATTACHMENT_BYTES + MULTIPART_OVERHEAD,
        upload_suffixes=(
            "/attachments",
            "/systems/imports",
            "networks/imports",
            *(f"/usage/{kind}/imports" for kind in KINDS),
        ),
    )
    app.add_middleware(SameOrigin)
    app.add_middleware(RateLimit, per_second=REQUESTS_PER_SECOND, burst=REQUESTS_AT_ONCE)
    app.add_middleware(Surroundings, secure=chosen.secure_cookies)
    console.install(app)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        core: App = build(settings)
        app.state.core = core
        # A thread more than there are connections would only wait for one.
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2 * settings.pool_size
        url = core.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        app.state.hub = Hub(url)
        await app.state.hub.start()
        says = asyncio.create_task(counting.say_for_ever(core), name="calendar")
        try:
            yield
        finally:
            says.cancel()
            with suppress(asyncio.CancelledError):
                await says
            await app.state.hub.stop()
            core.close()

    return lifespan
