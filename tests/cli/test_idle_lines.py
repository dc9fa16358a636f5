"""A line of ``guiyun idle scan --json`` is what ``json`` itself writes, whatever names and figures there are."""

from __future__ import annotations

import json
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from api.cli.idle_lines import line
from broker.utilisation.files import Found
from broker.utilisation.values import Condition, Daily, Exemption, Facts, Figures, Run

words = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(['a"b\\', "100%s", "%(x)s", "云\n服务器"])
figures = st.floats(-1e12, 1e12)
limits = st.none() | st.decimals(0, 100, places=2)
conditions = st.builds(Condition, words, st.sampled_from(Daily), limits, limits)


@given(words, words, st.lists(st.builds(Figures, conditions, figures, figures, figures), max_size=3), st.none() | words)
def test_a_line_is_what_json_writes(resource: str, policy: str, evidence: list[Figures], name: str | None) -> None:
    run = Run(resource, policy, date(2026, 8, 1), date(2026, 9, 1), 32, tuple(evidence))
    facts = None if name is None else Facts("ZY-1", name, "server", "sys", "unit", "cloud", 3, None)
    exemption = None if name is None else Exemption(name, "reason")
    said = line(Found(run, facts, exemption))
    whole = json.loads(said)
    assert said == json.dumps(whole, ensure_ascii=False) + "\n"
    assert (whole["resource_id"], whole["policy"]) == (resource, policy)
    assert [told["metric"] for told in whole["evidence"]] == [each.condition.metric for each in evidence]
    for told, each in zip(whole["evidence"], evidence, strict=True):
        of = "share_" if each.condition.daily is Daily.P95 else ""
        assert told[f"{of}mean"] == round(each.mean, 4)
        assert told.get("below") == (None if each.condition.below is None else float(each.condition.below))
    assert whole.get("exemption") == name
