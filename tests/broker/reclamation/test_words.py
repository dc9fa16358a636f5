"""Words that are said of many at once name no single one of them."""

from __future__ import annotations

import inspect
import re

import pytest

from api.formats import last_day
from api.texts import reclaim as words
from broker.reclamation import opening, protection

CODES = sorted(set(re.findall(r'"(reclaim\.[a-z_]+)"', inspect.getsource(opening) + inspect.getsource(protection))))


@pytest.mark.parametrize("code", [*CODES, "reclaim.heard", "policy.exempted"])
def test_a_dry_run_counts_what_would_not_be_opened(code: str) -> None:
    """Whatever opening may refuse: a whole sentence, with no place left for one resource, case or day."""
    said = words.not_opened(code)
    assert said.endswith("。")
    assert "{" not in said


def test_a_case_whose_window_is_over_is_not_called_within_it() -> None:
    """It waits for room or for samples; one that waits for the calendar has a window whose end nobody knows."""
    assert words.standing("noticed", None) == words.standing("noticed", "calendar") == "异议期内"
    assert words.standing("noticed", "share_unit") == words.standing("noticed", "unmeasured") == "期满待停用"
    assert words.standing("suspended", "in_use") == "已停用"


def test_what_a_person_answered_and_the_machine_carried_out_are_told_apart() -> None:
    """Both bear one event; a longer term is asked for and agreed to, not objected to."""
    assert words.happened("renew", by_machine=False, renewal=False) == "同意续期"
    assert words.happened("renew", by_machine=True, renewal=False) == "已恢复"
    assert words.happened("object", by_machine=False, renewal=True) == "申请续期"
    assert words.happened("object", by_machine=False, renewal=False) == "提出异议"
    assert words.answered("accept", renewal=True) == "同意续期"
    assert words.answered("refuse", renewal=True) == "不同意续期"
    assert words.answered("accept", renewal=False) == "接受异议"


def test_an_end_is_told_by_its_last_day() -> None:
    """What has ended at midnight held through the day before."""
    assert last_day("2027-06-30T16:00:00+00:00") == "2027-06-30（含）"
