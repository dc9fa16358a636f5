"""Reads which sub-clouds are measured by a Prometheus, and how (YAML); every problem of the file at once.

Called by: ``utilisation.sources``. Must not: ask anybody, or put a token into an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from broker.errors import Problem
from broker.utilisation.prometheus import FIGURES, PrometheusSource
from broker.utilisation.values import Unreadable
from broker.yaml_file import YamlError, read_yaml

_KEYS = frozenset({"sub_cloud", "prometheus", "label", "queries", "step_seconds", "token"})


def read_telemetry(path: Path | None) -> Mapping[str, PrometheusSource]:
    """Sub-cloud code -> its Prometheus; none without a file. Raises Invalid with every problem of the file."""
    if path is None:
        return {}
    try:
        raw = read_yaml(path)
    except YamlError as error:
        at = {"line": error.line, "column": error.column, "detail": error.detail}
        where = f"{path.name}:{error.line}" if error.line else path.name
        raise Unreadable([Problem(error.code, where, params=at)]) from error
    problems: list[Problem] = []
    listed = raw.get("collectors") if isinstance(raw, dict) and set(raw) == {"collectors"} else None
    if not isinstance(listed, list):
        raise Unreadable([Problem("telemetry.shape", "collectors")])
    found: dict[str, PrometheusSource] = {}
    for number, entry in enumerate(listed):
        place = f"collectors[{number}]"
        if not isinstance(entry, dict):
            problems.append(Problem("telemetry.shape", place))
            continue
        code = str(entry.get("sub_cloud", ""))
        if not code or code in found:
            problems.append(Problem("telemetry.sub_cloud", f"{place}.sub_cloud", params={"value": code}))
        found[code] = _source(entry, place, problems)
    if problems:
        raise Unreadable(problems)
    return found


def _source(entry: dict[str, Any], place: str, problems: list[Problem]) -> PrometheusSource:
    problems += [
        Problem("telemetry.unknown_field", f"{place}.{key}", params={"key": key}) for key in entry if key not in _KEYS
    ]
    url, label, step_s = str(entry.get("prometheus", "")), str(entry.get("label", "")), entry.get("step_seconds", 300)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        problems.append(Problem("telemetry.url", f"{place}.prometheus"))
    if not label.isidentifier():
        problems.append(Problem("telemetry.label", f"{place}.label"))
    if type(step_s) is not int or not 15 <= step_s <= 3600:
        problems.append(Problem("telemetry.step", f"{place}.step_seconds"))
    return PrometheusSource(
        url, label, _queries(entry.get("queries"), place, problems), step_s, _token(entry, place, problems)
    )


def _queries(queries: Any, place: str, problems: list[Problem]) -> dict[str, str]:
    if not isinstance(queries, dict) or not queries:
        problems.append(Problem("telemetry.queries", f"{place}.queries"))
        return {}
    for name, query in queries.items():
        where = f"{place}.queries.{name}"
        if name not in FIGURES:
            problems.append(Problem("telemetry.figure", where, params={"value": name, "choices": ", ".join(FIGURES)}))
        elif not isinstance(query, str) or not query.strip():
            problems.append(Problem("telemetry.query", where))
    return {name: str(query).strip() for name, query in queries.items() if name in FIGURES}


def _token(entry: dict[str, Any], place: str, problems: list[Problem]) -> str:
    """The token itself is never in the file: ``env:NAME``."""
    written = str(entry.get("token", ""))
    if not written:
        return ""
    if not written.startswith("env:"):
        problems.append(Problem("telemetry.token", f"{place}.token"))
        return ""
    name = written.removeprefix("env:")
    if name not in os.environ:
        problems.append(Problem("telemetry.token_missing", f"{place}.token", params={"name": name}))
    return os.environ.get(name, "")
