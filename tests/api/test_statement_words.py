"""What a statement says of a line, in every form of it."""

from __future__ import annotations

from decimal import Decimal

from api.documents.statement import used


def test_usage_is_in_hours_and_what_is_charged_once_is_counted() -> None:
    """An item holds for one second by rule (0005): nobody wants to read 0.0006 hours of it."""
    assert used(Decimal(7_200_000), "month") == "2,000.0000"
    assert used(Decimal("2.0000"), "once") == "2 次"
    assert used(Decimal(12_000), "once") == "12,000 次"
