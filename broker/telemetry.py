"""Every metric in one file, and the set-up of structured logs.

Called by: the API's middleware, the worker, the launcher (``configure_logging`` once a process). Must not: import any
room, or let a secret through: values under a telling name are replaced before anything is written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from pydantic import SecretStr

from broker.settings import Settings

HIDDEN = "***"
_TELLING = (
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "private_key",
    "credential",
    "database_url",
)


class Metrics:
    """All metrics of one process. The names are a contract: dashboards and alarms use them (see the snapshot test)."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.http_requests = Counter(
            "guiyun_http_requests_total",
            "Answers by route, method and status",
            ["method", "route", "status"],
            registry=registry,
        )
        self.http_seconds = Histogram(
            "guiyun_http_request_seconds",
            "Time from the first byte of a request to the last of its answer; without event streams",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=registry,
        )
        self.errors = Counter(
            "guiyun_errors_total", "Refusals and failures by stable code", ["code"], registry=registry
        )
        self.event_subscribers = Gauge("guiyun_event_subscribers", "Open streams of live progress", registry=registry)
        self.events = Counter("guiyun_events_total", "Notifications received from the database", registry=registry)
        self.audit_unsealed = Gauge(
            "guiyun_audit_unsealed", "Committed audit events that the sealer has not chained yet", registry=registry
        )
        self.steps = Counter(
            "guiyun_steps_total",
            "Attempts of a worker's steps, by what came of them: done, failed (an operator looks), again, broke",
            ["step", "outcome"],
            registry=registry,
        )
        self.step_seconds = Histogram(
            "guiyun_step_seconds",
            "How long an attempt of a worker's step took",
            ["step"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 600),
            registry=registry,
        )
        self.sub_cloud_healthy = Gauge(
            "guiyun_sub_cloud_healthy",
            "Whether a sub-cloud felt well when this worker last asked it: 1 or 0",
            ["sub_cloud"],
            registry=registry,
        )


METRICS = Metrics()
"""The process's own."""


def _hide(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or any(word in name.lower() for word in _TELLING):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _hide(str(key), inner) for key, inner in value.items()}
    return value


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces whatever stands under a telling name, nested or not."""
    for name in list(event):
        event[name] = _hide(name, event[name])
    return event


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Structured logs on ``stream`` (standard error): JSON lines, or colours for people. Once a process.

    What is bound to structlog's context variables (the request id) stands in every line, also in those of libraries.
    """
    target = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=target.isatty())]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for quiet in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error"):
        logging.getLogger(own).handlers = []
