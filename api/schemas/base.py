"""What all schemas share: no unknown fields, no silent conversions, trimmed text.

Called by: the schemas of every stage. Must not: know a stage.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, Strict, StringConstraints

Integer = Annotated[int, Strict()]
"""A JSON number without a fraction; ``"3"`` and ``true`` are refused."""

Boolean = Annotated[bool, Strict()]

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
"""Text that must be there."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
"""Text that the service asks for where a rule does."""


Plain = Annotated[Decimal, PlainSerializer(lambda number: f"{number:f}", return_type=str, when_used="json")]
"""A decimal that goes out as its digits, never with an exponent."""


class Schema(BaseModel):
    """What comes in: a field nobody knows is a mistake that is told."""

    model_config = ConfigDict(extra="forbid")


class View(BaseModel):
    """What goes out, read from rows and values."""

    model_config = ConfigDict(from_attributes=True)


class Mistake(View):
    """One thing that is wrong."""

    code: str
    field: str
    message: str
    article: str


class ProblemDetails(View):
    """Every error, as RFC 9457 has it, with a stable ``code``. ``errors`` has 200 at most, ``total`` counts all."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    request_id: str
    errors: list[Mistake]
    total: int
