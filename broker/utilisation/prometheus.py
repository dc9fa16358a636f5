"""Samples from a Prometheus: whole hours, added up by Prometheus itself, one figure a server and hour over the wire.

Called by: ``utilisation.sources``. Must not: know what a resource is (a label's value names it), or keep anything.

Each figure is a query of the operator's own (``telemetry_file``) for "now"; here it is asked over the hour, by a
subquery at fixed steps. Hours end half a second before the next begins, so that a step on the hour belongs to one hour
only, whether the range's left end counts (Prometheus 2) or not (3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from broker.utilisation.values import HOUR, ID
from providers.errors import ActionRequired, Permanent, Temporary

TIMEOUT_S = 120.0
HOUR_S = 3600
_LAST = timedelta(seconds=HOUR_S - 0.5)

Row = dict[str, str]
"""A sample as it will stand in a file: by column, as text."""


@dataclass(frozen=True, slots=True)
class PrometheusSource:
    """Where to ask and what. ``queries``: a figure (see ``FIGURES``) to its query. ``label`` names the resource."""

    url: str
    label: str
    queries: Mapping[str, str]
    step_s: int = 300
    token: str = ""


FIGURES: Mapping[str, Sequence[tuple[str, str]]] = {
    "cpu_pct": (("avg", "cpu_avg_pct"), ("max", "cpu_max_pct"), ("count", "n_samples")),
    "off": (("sum", "n_off"), ("count", "n_samples")),
    "mem_used_gib": (("avg", "mem_used_gib"),),
    "disk_kbps": (("avg", "disk_kbps"),),
    "net_kbps": (("avg", "net_kbps"),),
    "vcpu": (("max", "vcpu"),),
    "mem_gib": (("max", "mem_gib"),),
}
"""Each figure that can be asked for, and what becomes of it over an hour. ``off``: 1 where a server is off, else 0."""


def read(source: PrometheusSource, start: datetime, end: datetime) -> Iterator[Row]:
    """The samples of the hours in [start, end). Raises ``providers.errors`` as a cloud would."""
    rows: dict[tuple[str, int], Row] = {}
    headers = {"Authorization": f"Bearer {source.token}"} if source.token else {}
    with httpx.Client(base_url=source.url.rstrip("/"), timeout=TIMEOUT_S, headers=headers) as client:
        for name, query in source.queries.items():
            for function, column in FIGURES[name]:
                asked = f"{function}_over_time(({query})[{HOUR_S}s:{source.step_s}s])"
                for resource, hour_s, value in _ask(client, asked, source.label, start, end):
                    row = rows.setdefault((resource, hour_s), {ID: resource, HOUR: _written(hour_s)})
                    # Both CPU and power count looks: a server that is off has no CPU to be measured.
                    row[column] = max(value, row.get(column, "0"), key=float) if column == "n_samples" else value
    yield from rows.values()


def _ask(
    client: httpx.Client, query: str, label: str, start: datetime, end: datetime
) -> Iterator[tuple[str, int, str]]:
    """(resource, the hour's first second since 1970, value) of every series."""
    last = end - timedelta(hours=1) + _LAST
    form = {"query": query, "start": _second(start + _LAST), "end": _second(last), "step": str(HOUR_S)}
    try:
        answer = client.post("/api/v1/query_range", data=form)
    except httpx.TransportError as error:
        raise Temporary("unreachable", type(error).__name__, retry_after_s=60.0) from None
    body = _body(answer)
    for series in body["data"]["result"]:
        resource = series["metric"].get(label, "")
        for at, value in series["values"]:
            yield resource, int(float(at)) // HOUR_S * HOUR_S, str(value)


def _body(answer: httpx.Response) -> Any:
    try:
        body = answer.json()
        said = str(body.get("error", ""))[:200]
    except (ValueError, AttributeError):
        body, said = {}, ""
    if answer.status_code in {401, 403}:
        raise ActionRequired("credentials_refused", said)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Temporary("busy", f"{answer.status_code}: {said}", retry_after_s=60.0)
    if answer.status_code >= 400 or body.get("status") != "success":
        raise Permanent("prometheus.query_refused", said or str(answer.status_code))
    if body["data"].get("resultType") != "matrix":
        raise Permanent("prometheus.query_refused", str(body["data"].get("resultType")))
    return body


def _second(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _written(hour_s: int) -> str:
    return f"{datetime.fromtimestamp(hour_s, UTC):%Y-%m-%dT%HZ}"
