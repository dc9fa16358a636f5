"""Policies are data: what cannot be meant is refused, all of it at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.texts import SENTENCES
from broker.errors import Invalid
from broker.utilisation.policy_file import DEFAULTS, parse_policies, read_policies
from broker.utilisation.rules import exemption_of, rivals
from broker.utilisation.values import OURS, Facts, PolicySet, Run

QUIET = {"metric": "cpu_avg_pct", "daily": "mean", "below": 5}
BUSY = {"metric": "cpu_avg_pct", "daily": "mean", "above": 7, "below": 9}
GOOD: Mapping[str, Any] = {"name": "idle", "when": {"all": [QUIET]}, "days": 30}


def problems(policy: Mapping[str, Any], **more: Any) -> list[tuple[str, str]]:
    """Code and place of everything wrong with a file that holds one policy."""
    with pytest.raises(Invalid) as caught:
        parse_policies({"policies": [{**GOOD, **policy}], **more})
    assert all(problem.code in SENTENCES for problem in caught.value.problems)
    return [(problem.code, problem.field) for problem in caught.value.problems]


def leaf(**more: Any) -> dict[str, Any]:
    return {"when": {"all": [{**QUIET, **more}]}}


def test_the_shipped_policies_can_be_read_and_are_labelled_ours() -> None:
    """No regulation's number could be read: a false article would be worse than none."""
    shipped = read_policies(DEFAULTS)
    assert [policy.basis for policy in shipped.policies] == [OURS] * len(shipped.policies)
    assert shipped.version
    assert all(set(policy.grace_working_days) == {1, 2, 3, 4, 5} for policy in shipped.policies)


def test_a_policy_may_look_without_samples() -> None:
    """What has to be seen says of which kind it is; a condition over samples beside it is a mistake."""
    (policy,) = parse_policies({"policies": [{"name": "loose", "seen": "unattached", "days": 30}]}).policies
    assert (policy.seen, policy.kind) == ("unattached", "volume")
    with pytest.raises(Invalid) as caught:
        parse_policies({"policies": [{**GOOD, "name": "x", "seen": "gone", "kind": "server"}]})
    assert [(problem.code, problem.field) for problem in caught.value.problems] == [
        ("policy.choice", "policies[0].seen"),
        ("policy.seen_and_measured", "policies[0].when"),
    ]
    with pytest.raises(Invalid) as caught:
        parse_policies({"policies": [{"name": "x", "seen": "empty", "kind": "volume", "days": 1}]})
    assert [problem.code for problem in caught.value.problems] == ["policy.unknown_kind"]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (leaf(metric="cpu"), ("policy.unknown_metric", "policies[0].when.all[0].metric")),
        (leaf(daily="median"), ("policy.choice", "policies[0].when.all[0].daily")),
        (leaf(below="5"), ("policy.limit", "policies[0].when.all[0].below")),
        (leaf(below=-1), ("policy.limit", "policies[0].when.all[0].below")),
        (leaf(beneath=5), ("policy.unknown_field", "policies[0].when.all[0].beneath")),
        (leaf(above=5), ("policy.contradiction", "policies[0].when")),
        (leaf(below=0), ("policy.contradiction", "policies[0].when")),
        ({"when": {"any": [QUIET, {"all": [QUIET, BUSY]}]}}, ("policy.contradiction", "policies[0].when")),
        ({"when": {"all": []}}, ("policy.no_condition", "policies[0].when.all")),
        ({"when": {"all": [{"metric": "vcpu", "daily": "max"}]}}, ("policy.no_limit", "policies[0].when.all[0]")),
        ({"when": {"all": [{"metric": "vcpu", "below": 1}]}}, ("policy.missing", "policies[0].when.all[0].daily")),
        ({"when": {"some": [QUIET]}}, ("policy.unknown_field", "policies[0].when.some")),
        ({"days": 0}, ("policy.no_days", "policies[0].days")),
        ({"days": "30"}, ("policy.range", "policies[0].days")),
        ({"days": True}, ("policy.range", "policies[0].days")),
        ({"min_samples_per_day": 0}, ("policy.range", "policies[0].min_samples_per_day")),
        ({"missing_day": "ignore"}, ("policy.choice", "policies[0].missing_day")),
        ({"kind": "volume"}, ("policy.unknown_kind", "policies[0].kind")),
        ({"basis": "Article 28"}, ("policy.basis", "policies[0].basis")),
        ({"name": ""}, ("policy.name", "policies[0].name")),
        ({"grace_working_days": {6: 5}}, ("policy.grace", "policies[0].grace_working_days.6")),
        ({"exempt": ["dr"]}, ("policy.unknown_exemption", "policies[0].exempt")),
        ({"colour": "red"}, ("policy.unknown_field", "policies[0].colour")),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_place(policy: dict[str, Any], found: tuple[str, str]) -> None:
    """A stable code and the place in the file."""
    assert found in problems(policy)


def test_a_policy_without_days_is_refused() -> None:
    """How long is what a policy is about."""
    with pytest.raises(Invalid) as caught:
        parse_policies({"policies": [{"name": "idle", "when": QUIET}]})
    assert [p.code for p in caught.value.problems] == ["policy.no_days"]


def test_everything_wrong_is_told_at_once() -> None:
    """Two bad policies and a name given twice."""
    with pytest.raises(Invalid) as caught:
        parse_policies({"policies": [{**GOOD, "days": 0}, {**GOOD, **leaf(metric="x")}, GOOD], "more": 1})
    codes = sorted(problem.code for problem in caught.value.problems)
    assert codes == sorted(
        ["policy.no_days", "policy.unknown_metric", "policy.unknown_field", "policy.name_twice", "policy.name_twice"]
    )


@pytest.mark.parametrize("raw", [None, [], "policies", {}, {"policies": {}}, {"policies": [1]}, {"policies": [{}]}])
def test_any_shape_that_is_no_policy_file_is_refused(raw: object) -> None:
    """Never an error of Python's own."""
    with pytest.raises(Invalid):
        parse_policies(raw)


def test_an_exemption_that_names_nothing_is_refused() -> None:
    """Whoever wrote it meant somebody; an empty list is a place to write names into."""
    found = problems({}, exemptions=[{"name": "e", "reason": "灾备"}, {"name": "f", "resources": []}])
    assert found == [("policy.exempts_nothing", "exemptions[0]")]


def test_a_cycle_of_exemptions_is_refused() -> None:
    """Each exemption on it is named; one that only leads there is not."""
    exemptions = [
        {"name": "a", "includes": ["b"]},
        {"name": "b", "includes": ["c"]},
        {"name": "c", "includes": ["b"]},
    ]
    found = problems({}, exemptions=exemptions)
    assert found == [
        ("policy.exemption_cycle", "exemptions[1].includes"),
        ("policy.exemption_cycle", "exemptions[2].includes"),
    ]


def test_a_broken_file_is_refused_with_its_line(tmp_path: Path) -> None:
    """YAML's own mistakes."""
    tmp_path.joinpath("p.yaml").write_text("policies:\n  - {name: a, name: b}\n")
    with pytest.raises(Invalid) as caught:
        read_policies(tmp_path / "p.yaml")
    problem = caught.value.problems[0]
    assert (problem.code, problem.params["line"]) == ("yaml.duplicate_key", 2)


RUN = Run("vm-1", "idle", date(2026, 7, 1), date(2026, 8, 9), 40)
FACTS = Facts(
    "ZY-00000001",
    "web",
    "server",
    "jyt-xjgl",
    "jyt",
    "main",
    3,
    date(2026, 1, 10),
    resource_id=UUID(int=7),
    units=frozenset({"jyt", "above-jyt"}),
    ref="cloud-7",
)


@pytest.mark.parametrize(
    ("exemption", "covered"),
    [
        ({"resources": []}, False),
        ({"resources": ["vm-1"]}, True),
        ({"resources": ["cloud-7"]}, True),
        ({"resources": [str(UUID(int=7))]}, True),
        ({"resources": ["ZY-00000001"]}, True),
        ({"resources": ["vm-2"]}, False),
        ({"systems": ["jyt-xjgl"]}, True),
        ({"units": ["jyt"]}, True),
        ({"units": ["rst"]}, False),
        ({"units": ["above-jyt"]}, True),
        ({"mlps_level_from": 3}, True),
        ({"mlps_level_from": 4}, False),
        ({"newer_than_days": 211}, False),  # 211 days after 10 January is 9 August
        ({"newer_than_days": 212}, True),
        ({"months": [8]}, True),
        ({"months": [7]}, False),
        ({"systems": ["jyt-xjgl"], "months": [8]}, True),
        ({"systems": ["jyt-xjgl"], "months": [7]}, False),
        ({"includes": ["other"]}, True),
    ],
)
def test_an_exemption_covers_what_it_names(exemption: dict[str, Any], *, covered: bool) -> None:
    """Disaster recovery, seasonal use, new deliveries, protected ones; an empty one covers nothing."""
    known = policy_set([{"name": "e", **exemption}, {"name": "other", "units": ["jyt"]}], ["e"])
    found = exemption_of(RUN, FACTS, known.policies[0], known)
    assert (found is not None) is covered


def test_without_facts_only_names_and_months_exempt() -> None:
    """Metrics from a file know no systems."""
    exemption = {
        "name": "e",
        "systems": ["jyt-xjgl"],
        "newer_than_days": 3660,
        "mlps_level_from": 1,
        "resources": ["vm-9"],
    }
    known = policy_set([exemption], ["e"])
    assert exemption_of(RUN, None, known.policies[0], known) is None


def policy_set(exemptions: list[dict[str, Any]], used: list[str]) -> PolicySet:
    return parse_policies({"policies": [{**GOOD, "exempt": used}], "exemptions": exemptions})


def test_policies_that_contradict_each_other_are_named() -> None:
    """The same condition with other days or another grace; not one written twice alike, nor another condition."""
    same = {"when": QUIET, "days": 30}
    written = [
        {"name": "a", **same},
        {"name": "sooner", **same, "days": 10},
        {"name": "kinder", **same, "grace_working_days": {1: 20}},
        {"name": "again", **same, "title": "once more"},
        {"name": "busy", "when": BUSY, "days": 10},
    ]
    found = parse_policies({"policies": written})
    assert rivals(found.policies) == [("a", "sooner"), ("a", "kinder")]
    assert rivals(read_policies().policies) == []
