"""Words that are said of many at once name no single one of them."""

from __future__ import annotations

import inspect
import re

import pytest

from api.texts import reclaim as words
from broker.reclamation import opening, protection

CODES = sorted(set(re.findall(r'"(reclaim\.[a-z_]+)"', inspect.getsource(opening) + inspect.getsource(protection))))


@pytest.mark.parametrize("code", [*CODES, "reclaim.heard", "policy.exempted"])
def test_a_dry_run_counts_what_would_not_be_opened(code: str) -> None:
    """Whatever opening may refuse: a whole sentence, with no place left for one resource, case or day."""
    said = words.not_opened(code)
    assert said.endswith("。")
    assert "{" not in said
