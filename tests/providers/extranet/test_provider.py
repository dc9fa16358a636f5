"""The extranet's provider without routers: what runs say becomes one of the four errors; asked at once, run once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from broker.extranet.fabric import fabric_of
from broker.extranet.reading import read_topology
from playbooks.filter_plugins.extranet import unproven
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome
from providers.extranet.gathering import Gathering
from providers.extranet.provider import Extranet
from providers.networking import NetworkProvider, Played, RouterAccount, SegmentSpec
from tests.extranet import TOPOLOGY
from tests.playbooks.test_vendor_roles import loaded

FABRIC = fabric_of(read_topology(TOPOLOGY))
PROBE = loaded("zone_probe", Path(__file__).parents[3] / "playbooks/library/zone_probe.py")


def spec(number: int = 1, **changes: Any) -> SegmentSpec:
    prefix = IPv6Network(f"3fff:12f:0:{number:x}::/64")
    made: dict[str, Any] = {"unit": "slt", "vrf": "shared", "prefix": prefix, "router": "dc", "vni": 10000 + number}
    return SegmentSpec(id=uuid4(), **made | changes)


class Script:
    """A runner that says what it was told to say, and remembers what it was asked."""

    def __init__(self, *runs: Played) -> None:
        self.runs, self.asked = list(runs), []  # type: ignore[var-annotated]

    def __call__(
        self, playbook: str, routers: Iterable[RouterAccount], variables: Mapping[str, Any], *, check: bool = False
    ) -> Played:
        self.asked.append((playbook, [r.name for r in routers], variables, check))
        return self.runs.pop(0)


def said(status: str, answers: Mapping[UUID, str], *, router: str = "dc", failures: Sequence[str] = ()) -> Played:
    segments = {str(i): {"changed": True, "code": code, "detail": "x"} for i, code in answers.items()}
    return Played(status, 1, failures, {router: ({"segments": segments},)} if answers else {})


def error(outcome: ProviderError | None) -> tuple[type[ProviderError], str] | None:
    return None if outcome is None else (type(outcome), outcome.code)


def test_it_is_a_network_provider() -> None:
    assert isinstance(Extranet(FABRIC, Script()), NetworkProvider)
    assert Extranet(FABRIC, Script()).capabilities.vendors == {"frr": True, "huawei": False, "h3c": False}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (("unreachable", "Configure: timed out"), (Temporary, "router_unreachable")),
        (("timeout", ""), (UnknownOutcome, "router_timeout")),
        (("failed", "x: Permission denied (publickey)."), (ActionRequired, "router_refuses_us")),
        (("unreachable", "x: Host key verification failed."), (ActionRequired, "router_refuses_us")),
        (("failed", "Refuse: extranet.prefix_length: a: 3fff::/48"), (Permanent, "prefix_length")),
        (("failed", "x: extranet.router_busy: y"), (Temporary, "router_busy")),
        (("failed", "x: MODULE FAILURE"), (Permanent, "playbook_failed")),
    ],
)
def test_a_run_that_says_nothing_of_a_segment_is_one_of_four_errors(
    run: tuple[str, str], expected: tuple[type[ProviderError], str]
) -> None:
    one, (status, said) = spec(), run
    played = Played(status, 0, (f"dc: {said}",) if said else ())
    assert error(Extranet(FABRIC, Script(played)).create([one])[one.id]) == (expected[0], f"extranet.{expected[1]}")


def test_one_that_is_refused_holds_up_no_other() -> None:
    """Each segment has an answer of its own."""
    good, bad = spec(1), spec(2)
    script = Script(
        said("failed", {good.id: "", bad.id: "extranet.vni_in_use"}, failures=["dc: x: extranet.vni_in_use"])
    )
    outcomes = Extranet(FABRIC, script).create([good, bad])
    assert [error(outcomes[s.id]) for s in (good, bad)] == [None, (Permanent, "extranet.vni_in_use")]
    assert len(script.asked) == 1


def test_what_the_plan_refuses_as_a_whole_is_tried_one_by_one() -> None:
    """The assertion ends a run before anything is done; alone, each is judged by itself."""
    good, bad = spec(1), spec(2)
    refused = Played("failed", 0, ("dc: Refuse: extranet.prefix_length: b: 3fff::/48",))
    script = Script(refused, said("ok", {good.id: ""}), refused)
    outcomes = Extranet(FABRIC, script).create([good, bad])
    assert [error(outcomes[s.id]) for s in (good, bad)] == [None, (Permanent, "extranet.prefix_length")]


def test_a_router_that_the_plan_does_not_have_is_not_called() -> None:
    script = Script()
    one = spec(router="nowhere")
    assert error(Extranet(FABRIC, script).create([one])[one.id]) == (Permanent, "extranet.router_unknown")
    assert script.asked == []


def test_a_router_that_is_down_holds_up_no_other_router() -> None:
    here, there = spec(1), spec(2, router="yufeng", vni=20001)
    played = said("unreachable", {here.id: ""}, failures=["yufeng: x: No route to host"])
    outcomes = Extranet(FABRIC, Script(played)).create([here, there])
    assert error(outcomes[here.id]) is None
    assert error(outcomes[there.id]) == (Temporary, "extranet.router_unreachable")


def test_no_probe_that_sees_is_no_proof() -> None:
    one = spec()
    sight = Extranet(FABRIC, Script(Played("unreachable", 0, ("core: x: timed out",)))).verify([one])
    assert error(sight.verdicts[one.id]) == (Temporary, "extranet.router_unreachable")


ZONES = ["shared", "internet", "prv-jyt", "prv-lz", "prv-gat", "prv-slt", ""]


def looked(
    one: SegmentSpec,
    *,
    blind: Sequence[str] = (),
    without: Sequence[str] = (),
    forwards: bool | None = None,
    **answered: bool,
) -> Any:
    """What a probe says: it looked from every zone but ``without``, and from ``blind`` ones in vain.

    The probe's module judges what it has seen.
    """
    rows = [
        {
            "id": str(one.id),
            "of": one.vrf,
            "seen_from": zone,
            "seeing": zone not in blind,
            "answered": answered.get(zone or "management", zone == one.vrf and zone not in blind),
            **({"forwards": forwards} if forwards is not None and zone == one.vrf else {}),
        }
        for zone in ZONES
        if zone not in without and zone not in one.elsewhere
    ]
    code, detail = PROBE.verdict(rows, answering=True)
    return {"verdicts": {str(one.id): {"code": code, "detail": detail}}, "matrix": rows}


ONE = spec()


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ({"core": looked(ONE)}, None),
        ({"core": looked(ONE), "dc": looked(ONE, blind=ZONES[:-1])}, None),
        ({"core": looked(ONE, blind=["internet"]), "dc": looked(ONE, blind=["shared"])}, None),
        ({"core": looked(ONE, blind=["internet"]), "dc": looked(ONE, without=["internet"])}, "probe_blind"),
        ({"core": looked(ONE, without=["shared"])}, "probe_blind"),
        ({"core": looked(ONE, without=ZONES)}, "probe_blind"),
        ({"core": looked(ONE), "dc": looked(ONE, shared=False)}, "unreachable"),
        ({"core": looked(ONE, forwards=True), "dc": looked(ONE, forwards=False)}, "not_forwarding"),
        ({"core": looked(ONE, forwards=True)}, None),
        ({"core": looked(ONE), "dc": looked(ONE, blind=["internet"], internet=True)}, "leak"),
        ({"core": looked(ONE, blind=["shared"]), "dc": looked(ONE, management=True)}, "leak"),
    ],
)
def test_what_somebody_has_seen_is_proven_and_nothing_else(
    heard: Mapping[str, Mapping[str, Any]], expected: str | None
) -> None:
    """Who is blind somewhere holds up nobody while another sees; where nobody looked is no proof; a leak always counts.

    The playbook, run by hand, says the same.
    """
    played = Played("ok", 0, (), {probe: (said,) for probe, said in heard.items()})
    sight = Extranet(FABRIC, Script(played)).verify([ONE])
    kind = Permanent if expected == "leak" else Temporary
    assert error(sight.verdicts[ONE.id]) == (expected and (kind, f"extranet.{expected}"))
    target = {"id": str(ONE.id), "vrf": ONE.vrf}
    by_hand = unproven(heard.values(), [target], [{"vrf": zone} for zone in ZONES])
    assert bool(by_hand) is bool(expected)
    assert any(said.startswith(f"extranet.{expected}: ") for said in by_hand) is bool(expected)


def test_who_saw_what_is_kept() -> None:
    """The matrix names the zone that was looked from and the probe."""
    one = spec()
    played = Played("ok", 0, (), {"core": (looked(one, internet=True),)})
    sight = Extranet(FABRIC, Script(played)).verify([one])
    cells = {(c.seen_from, c.answered, c.probe) for c in sight.matrix}
    assert {("internet", True, "core"), ("shared", True, "core"), ("", False, "core")} <= cells


def test_what_is_asked_while_a_run_is_on_its_way_shares_the_next_one() -> None:
    """Twenty at once are two runs: the first alone, the rest together."""
    begun, go, batches = threading.Event(), threading.Event(), []

    def carry(asked: Sequence[int]) -> list[int]:
        batches.append(len(asked))
        begun.set()
        assert go.wait(120)
        return [n * n for n in asked]

    gathering: Gathering[int, int] = Gathering(carry, most=64)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(gathering.all, [1])
        assert begun.wait(120)
        rest = [pool.submit(gathering.all, [n]) for n in range(2, 21)]
        while len(gathering._waiting) < 19:
            threading.Event().wait(0.001)
        go.set()
        assert [f.result() for f in (first, *rest)] == [[n * n] for n in range(1, 21)]
    assert batches == [1, 19]


def test_a_run_that_breaks_is_told_to_everybody_in_it() -> None:
    def carry(asked: Sequence[int]) -> list[int]:
        raise RuntimeError("no disk")

    gathering: Gathering[int, int] = Gathering(carry, most=2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no disk"):
            gathering.all([1, 2, 3])


def test_a_run_that_is_broken_off_is_no_success_for_those_who_shared_it() -> None:
    """Ctrl-C ends the thread that carried; whoever was in the run with it hears that the outcome is unknown."""
    begun, go = threading.Event(), threading.Event()
    carriers: list[int] = []

    def carry(asked: Sequence[int]) -> list[int]:
        if 1 in asked:
            begun.set()
            assert go.wait(10)
            return [0]
        carriers.append(len(asked))
        raise KeyboardInterrupt

    gathering: Gathering[int, int] = Gathering(carry, most=64)

    def ask(number: int) -> str:
        try:
            gathering.all([number])
        except BaseException as error:  # noqa: BLE001 - it is what the test is about
            return f"{type(error).__name__} {error}".strip()
        return "done"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, 1)
        assert begun.wait(10)
        rest = [pool.submit(ask, n) for n in (2, 3)]
        while len(gathering._waiting) < 2:
            threading.Event().wait(0.001)
        go.set()
        assert first.result() == "done"
        assert sorted(f.result() for f in rest) == ["KeyboardInterrupt", "UnknownOutcome extranet.interrupted"]
    assert carriers == [2]
