"""The rules of ``providers.networking``: once, all or nothing for each, nothing of others', looks change nothing."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from providers.errors import ActionRequired, Permanent, Temporary, UnknownOutcome
from providers.network_conformance.site import Site
from providers.networking import Outcomes, SegmentSpec

FOUR = (Temporary, Permanent, ActionRequired, UnknownOutcome)


def good(outcomes: Outcomes, *specs: SegmentSpec) -> None:
    """An answer for each that was asked, for nothing else, and all of them None."""
    assert dict(outcomes) == dict.fromkeys(s.id for s in specs)


def counts(site: Site, *specs: SegmentSpec) -> list[int]:
    """How many there are of each, on all routers, by one look."""
    there = Counter(seen.id for seen in site.provider.list())
    return [there[spec.id] for spec in specs]


def test_a_segment_is_made_once_and_is_whole(site: Site, made: list[SegmentSpec]) -> None:
    """Ordered twice it is one: written down, linked, announced; as its spec says."""
    spec = site.fresh()
    made.append(spec)
    good(site.provider.create([spec]), spec)
    good(site.provider.create([spec]), spec)
    seen = site.provider.observe(spec)
    assert seen is not None
    assert seen.whole, seen.detail
    assert (seen.router, seen.vrf, seen.prefix, seen.vni) == (spec.router, spec.vrf, spec.prefix, spec.vni)
    assert counts(site, spec) == [1]


def test_what_is_deleted_is_gone_and_nothing_there_is_accepted(site: Site) -> None:
    """Said again, and of one that never was: no error."""
    spec, never = site.fresh(), site.fresh()
    good(site.provider.create([spec]), spec)
    good(site.provider.delete([spec, never]), spec, never)
    good(site.provider.delete([spec]), spec)
    assert site.provider.observe(spec) is None
    assert counts(site, spec) == [0]


def test_a_preview_makes_nothing(site: Site) -> None:
    """It says what a create would say."""
    spec = site.fresh()
    good(site.provider.preview([spec]), spec)
    assert site.provider.observe(spec) is None


def test_what_the_plan_refuses_is_refused_and_holds_up_no_other(site: Site, made: list[SegmentSpec]) -> None:
    """Each refusal is Permanent, with a code; beside it a good one is made."""
    assert site.refused, "the site names nothing that its plan refuses"
    spec = site.fresh()
    made.append(spec)
    outcomes = site.provider.create([*site.refused.values(), spec])
    assert outcomes[spec.id] is None
    for what, refused in site.refused.items():
        error = outcomes[refused.id]
        assert isinstance(error, Permanent), what
        assert error.code, what
    assert not any(counts(site, *site.refused.values()))


def test_a_vni_or_a_prefix_in_use_is_refused_and_its_holder_keeps_it(site: Site, made: list[SegmentSpec]) -> None:
    """Also when the plan contains the second one: nothing of others' is changed."""
    spec = site.fresh()
    made.append(spec)
    good(site.provider.create([spec]), spec)
    same_vni = replace(site.fresh(), vni=spec.vni)
    same_prefix = replace(site.fresh(), prefix=spec.prefix)
    for rival in (same_vni, same_prefix):
        assert isinstance(site.provider.create([rival])[rival.id], Permanent)
    assert counts(site, same_vni, same_prefix) == [0, 0]
    site.provider.delete([same_vni])
    seen = site.provider.observe(spec)
    assert seen is not None
    assert seen.whole, "deleting what was refused took the holder's away"


def test_an_update_leaves_what_is_as_it_should_be(site: Site, made: list[SegmentSpec]) -> None:
    """And makes one that is not there."""
    spec, absent = site.fresh(), site.fresh()
    made += [spec, absent]
    good(site.provider.create([spec]), spec)
    good(site.provider.update([spec, absent]), spec, absent)
    for one in (spec, absent):
        seen = site.provider.observe(one)
        assert seen is not None
        assert seen.whole


def test_asked_at_once_by_several(site: Site, made: list[SegmentSpec]) -> None:
    """Threads of one process: each gets its own answer."""
    specs = [site.fresh() for _ in range(4)]
    made += specs
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda s: site.provider.create([s]), specs))
    for spec, outcome in zip(specs, outcomes, strict=True):
        good(outcome, spec)
    assert counts(site, *specs) == [1] * len(specs)


def test_verbs_do_not_raise_for_a_router_that_there_is_not(site: Site) -> None:
    """The answer is one of the four errors."""
    nowhere = replace(site.fresh(), router="no-such-router")
    for verb in (site.provider.create, site.provider.update):
        assert isinstance(verb([nowhere])[nowhere.id], FOUR)


def test_probes_see_a_segment_at_home_only_and_not_once_it_is_gone(site: Site) -> None:
    """Every cell of the matrix that answered is at home; nothing answers for what was never made."""
    if not site.provider.capabilities.verifies:
        pytest.skip("the adapter says that it does not verify")
    spec = site.fresh()
    good(site.provider.create([spec]), spec)
    try:
        sight = site.provider.verify([spec])
        assert dict(sight.verdicts) == {spec.id: None}
        assert {(cell.of, cell.seen_from) for cell in sight.matrix if cell.answered} == {(spec.vrf, spec.vrf)}
    finally:
        good(site.provider.delete([spec]), spec)
    assert dict(site.provider.verify([spec], answering=False).verdicts) == {spec.id: None}
    ghost = replace(site.fresh(), id=uuid4())
    assert isinstance(site.provider.verify([ghost]).verdicts[ghost.id], FOUR)


def test_an_audit_hears_every_router(site: Site) -> None:
    """Each is named once, with what it does or why it says nothing."""
    if not site.provider.capabilities.audits:
        pytest.skip("the adapter says that it does not audit")
    heard = site.provider.audit()
    assert len({facts.router for facts in heard}) == len(heard) > 0
    assert all(bool(facts.facts) != (facts.error is not None) for facts in heard)
    assert site.provider.health().healthy == all(facts.error is None for facts in heard)
