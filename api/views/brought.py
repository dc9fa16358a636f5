"""A file brought onto a list, as it goes over HTTP: the kept file and the verdict on every line, with sentences.

Called by: the routes that take such files. Must not: judge a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from api import texts
from api.schemas.base import Mistake, View
from broker.errors import Problem
from broker.inventory.brought import BroughtFile

V = TypeVar("V", bound=View)


def mistakes(problems: Iterable[Problem]) -> list[Mistake]:
    """Problems with their sentences."""
    return [
        Mistake(code=p.code, field=p.field, message=texts.sentence(p.code, p.params), article=p.article)
        for p in problems
    ]


def shown(schema: type[V], kept: BroughtFile, looked: Any, line: Callable[[Any], Mapping[str, Any]], **facts: Any) -> V:
    """A kept file with what it would do now. ``line``: what a verdict says besides its number, kind and mistakes."""
    lines = [{"line": v.line, "kind": v.kind, "errors": mistakes(v.problems), **line(v)} for v in looked.verdicts]
    return schema.model_validate(
        {
            "id": kept.id,
            "file_name": kept.file_name,
            "digest": looked.digest,
            "counts": dict(looked.counts),
            "lines": lines,
            "created_at": kept.created_at,
            "applied_at": kept.applied_at,
            **facts,
        }
    )
