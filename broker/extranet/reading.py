"""Reads a topology file into one checked ``Topology``; reports everything that is wrong at once.

Called by: ``extranet.service`` (load), the command line, the laboratory. Must not: touch the database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broker.errors import Invalid, Problem
from broker.extranet.checks import problems_of
from broker.extranet.schema import Topology
from broker.yaml_file import YamlError, path_of, read_yaml

_CODES = {
    "missing": "extranet.missing",
    "extra_forbidden": "extranet.unknown_field",
    "literal_error": "extranet.unknown_value",
}


class TopologyError(Invalid):
    """The topology cannot be used; every problem of it at once. 422."""


def read_topology(path: Path) -> Topology:
    """The topology in a YAML file. Raises TopologyError; ``field`` of a problem is its place in the file."""
    try:
        raw = read_yaml(path)
    except YamlError as error:
        place = {"line": error.line, "column": error.column, "detail": error.detail}
        raise TopologyError([Problem(error.code, path.name, params=place)]) from error
    return topology_of(raw)


def topology_of(raw: Any) -> Topology:
    """The topology in plain data. Raises TopologyError."""
    if not isinstance(raw, dict):
        raise TopologyError([Problem("extranet.malformed", "", params={"detail": "not a mapping of sections"})])
    try:
        topology = Topology.model_validate(raw)
    except ValidationError as error:
        raise TopologyError(
            [
                Problem(_CODES.get(e["type"], "extranet.malformed"), path_of(e["loc"]), params={"detail": e["msg"]})
                for e in error.errors(include_url=False)
            ]
        ) from error
    problems = list(problems_of(topology))
    if problems:
        raise TopologyError(problems)
    return topology
