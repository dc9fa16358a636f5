"""The verbs that hold, post, void and release: single, and many from a pipe; every refusal has its code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from broker.catalog import repository as catalog
from broker.scarcity import by_hand
from broker.scarcity.by_hand import Hand
from broker.tenancy.work import Work
from quotas import service
from quotas.errors import QuotaError
from quotas.values import Line, ResourceClass
from tests.api.server import Server
from tests.cli.typist import Typist
from tests.quotas.world import PATIENCE_S, somebody_waits

NODE, CLOUD, KIND = "jyt", "main", "object_gib"


@pytest.fixture
def stocked(typist: Typist, server: Server) -> Typist:
    """The main cloud has plenty of a class that nothing else here uses."""
    with server.app.state.core.sessions.begin() as session:
        pool = next(c.id for c in catalog.in_service(session) if c.code == CLOUD)
        service.set_inventory(session, pool, ResourceClass(KIND), total=10**6)
    return typist


def used(typist: Typist) -> int:
    shown = typist.does("quota", "show", "--cloud", CLOUD, "--json").json
    return next((one["used"] for one in shown if one["resource_class"] == KIND), 0)


def code_of(said: str) -> str:
    return str(json.loads(said)["code"])


def test_the_life_of_a_hold(stocked: Typist) -> None:
    """Held, a part posted, the rest voided, released; each again is refused or without effect."""
    before = used(stocked)
    made = stocked.does("quota", "hold", NODE, f"{KIND}=10", "--cloud", CLOUD, "--json").json
    assert used(stocked) == before + 10
    stocked.does("quota", "post", made["id"], f"{KIND}=7", "--cloud", CLOUD)
    more = stocked.refused("quota", "post", made["id"], f"{KIND}=4", "--cloud", CLOUD, "--json")
    assert code_of(more) == "hold.not_that_much"
    said = stocked.refused("quota", "post", made["id"], f"{KIND}=4", "--cloud", CLOUD)
    assert "壮美广西·政务云的对象存储（GiB）本次要 4，只有 3。" in said
    for _ in range(2):
        stocked.does("quota", "void", made["id"])
    assert used(stocked) == before + 7
    mine = ("quota", "hold", NODE, f"{KIND}=1", "--cloud", CLOUD, "--id", str(uuid4()), "--json")
    first, again = stocked.does(*mine, "--days", "3").json, stocked.does(*mine, "--days", "9").json
    assert first == again  # also without an owner, and with the date that it has
    stocked.does("quota", "void", first["id"])
    assert code_of(stocked.refused("quota", "post", made["id"], "--json")) == "hold.not_that_much"
    assert (
        code_of(stocked.refused("quota", "release", made["id"], "--owner", str(uuid4()), "--json")) == "hold.not_yours"
    )
    key = str(uuid4())
    for _ in range(2):
        stocked.does("quota", "release", made["id"], "--key", key)
    assert code_of(stocked.refused("quota", "release", made["id"], "--json")) == "hold.not_that_much"
    assert "已没有可转为使用或可释放的部分" in stocked.refused("quota", "release", made["id"])
    assert used(stocked) == before
    assert "一致" in stocked.does("quota", "verify").out


def test_a_part_without_a_key_is_never_counted_twice_in_silence(stocked: Typist, server: Server) -> None:
    """The same command again may be the first one, said again: refused with the key it had; a second part names one."""
    of = ("--cloud", CLOUD, "--json")
    made = stocked.does("quota", "hold", NODE, f"{KIND}=10", *of).json["id"]
    for verb in ("post", "release"):
        first = stocked.does("quota", verb, made, f"{KIND}=3", *of).json["key"]
        again = json.loads(stocked.refused("quota", verb, made, f"{KIND}=3", *of))
        assert (again["code"], again["key"]) == ("hold.done_before", first)
        line = {"id": made, "cloud": CLOUD, "amounts": {KIND: 3}}
        piped = stocked.types(
            "quota", verb, "--file", "-", stdin=json.dumps(line) + "\n" + json.dumps(line | {"key": first})
        )
        assert [json.loads(said).get("code", "ok") for said in piped.out.splitlines()] == ["hold.done_before", "ok"]
        stocked.does("quota", verb, made, f"{KIND}=3", *of, "--key", str(uuid4()))
        assert "幂等键" in stocked.does("quota", verb, made, f"{KIND}=1", "--cloud", CLOUD).out
    actions = [action for action, *_ in events(server, made)]
    assert [actions.count(f"quota.{done}") for done in ("posted", "released")] == [3, 3]
    for verb in ("post", "release"):
        stocked.does("quota", verb, made, "--json")  # all that is left, as often as something is
    stocked.refused("quota", "release", made)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((NODE, f"{KIND}=-1", "--cloud", CLOUD), "quota.bad_amount"),
        ((NODE, f"{KIND}=1.5", "--cloud", CLOUD), "quota.bad_amount"),
        ((NODE, f"{KIND}=x", "--cloud", CLOUD), "quota.bad_amount"),
        ((NODE, f"{KIND}=NaN", "--cloud", CLOUD), "quota.bad_amount"),
        ((NODE, f"{KIND}=9999999999999999", "--cloud", CLOUD), "quota.bad_amount"),
        ((NODE, "gold=1", "--cloud", CLOUD), "quota.unknown_class"),
        (("nowhere", f"{KIND}=1", "--cloud", CLOUD), "quota.unknown_node"),
        (("jyt\udcff", f"{KIND}=1", "--cloud", CLOUD), "hold.malformed"),
        ((str(uuid4()), f"{KIND}=1", "--cloud", CLOUD), "quota.unknown_node"),
        ((NODE, f"{KIND}=1", "--cloud", "moon"), "cloud.unknown"),
        ((NODE, f"{KIND}=10000000", "--cloud", CLOUD), "quota.exceeded"),
        ((NODE, f"{KIND}=1", "--cloud", str(uuid4())), "quota.exceeded"),
        ((NODE, f"{KIND}=1", "--cloud", CLOUD, "--until", "2020-01-01T00:00:00Z"), "hold.bad_date"),
        ((NODE, f"{KIND}=1", "--cloud", CLOUD, "--until", "2099-01-01"), "hold.bad_date"),
        ((NODE, f"{KIND}=1", "--cloud", CLOUD, "--owner", "me"), "hold.malformed"),
        ((NODE, f"{KIND}=1", "--cloud", CLOUD, "--replaces", str(uuid4())), "hold.unknown"),
    ],
)
def test_bad_input_has_a_code_and_changes_nothing(stocked: Typist, words: tuple[str, ...], code: str) -> None:
    """Negative, fractional, absurd, unknown, too much, too late: refused, and nothing is counted."""
    before = used(stocked)
    assert code_of(stocked.refused("quota", "hold", *words, "--json")) == code
    assert used(stocked) == before


@pytest.mark.parametrize("verb", ["post", "void", "release"])
def test_a_hold_that_never_was_is_unknown(stocked: Typist, verb: str) -> None:
    """An id of nothing, and an id that is none."""
    assert code_of(stocked.refused("quota", verb, str(uuid4()), "--json")) == "hold.unknown"
    assert code_of(stocked.refused("quota", verb, "nonsense", "--json")) == "hold.malformed"
    assert stocked.types("quota", verb).status == 2


def test_many_from_a_pipe_are_answered_line_by_line(stocked: Typist) -> None:
    """Refused lines change nothing and end nothing; the exit status tells that there were some."""
    before, again = used(stocked), str(uuid4())
    base: dict[str, Any] = {"node": NODE, "owner": str(uuid4()), "cloud": CLOUD, "amounts": {KIND: 2}}
    lines = [
        json.dumps(base | {"id": again}),
        json.dumps(base | {"id": again}),
        json.dumps(base | {"id": again, "amounts": {KIND: 3}}),
        json.dumps(base | {"amounts": {KIND: 2.5}}),
        json.dumps(base | {"amounts": {KIND: True}}),
        json.dumps(base | {"amounts": {}}),
        json.dumps(base | {"node": "\ud800"}),
        json.dumps(base | {"node": "a\x00b"}),
        json.dumps(base | {"days": "soon"}),
        json.dumps({"node": NODE}),
        "[1]",
        "{",
        "",
        json.dumps(base),
    ]
    said = stocked.types("quota", "hold", "--file", "-", stdin="\n".join(lines))
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert said.status == 1
    assert [a.get("code", a.get("outcome")) for a in answers] == [
        "ok", "ok", "hold.conflict", "quota.bad_amount", "quota.bad_amount", "quota.bad_amount", "hold.malformed",
        "hold.malformed", "hold.bad_date",
        "hold.malformed", "hold.malformed", "hold.malformed", "ok",
    ]  # fmt: skip
    assert used(stocked) == before + 4
    held = [{"id": again}, {"id": answers[-1]["id"], "owner": base["owner"]}]
    said = stocked.types("quota", "post", "--file", "-", stdin="\n".join(json.dumps(one) for one in held))
    assert said.status == 0, said
    said = stocked.types("quota", "release", "--file", "-", stdin="\n".join(json.dumps(one) for one in held))
    assert said.status == 0, said
    assert used(stocked) == before


def test_a_hold_that_was_given_up_is_gone_and_not_held_again(stocked: Typist) -> None:
    """The same id after its void: neither the single verb, nor the pipe, nor a resize answers that it is held."""
    before, mine, owner = used(stocked), str(uuid4()), str(uuid4())
    words = ("quota", "hold", NODE, f"{KIND}=2", "--cloud", CLOUD, "--owner", owner, "--json")
    for _ in range(2):
        stocked.does(*words, "--id", mine)
    stocked.does("quota", "void", mine)
    assert code_of(stocked.refused(*words, "--id", mine)) == "hold.gone"
    assert code_of(stocked.refused(*words, "--replaces", mine)) == "hold.gone"
    line = {"node": NODE, "owner": owner, "cloud": CLOUD, "amounts": {KIND: 2}, "id": mine}
    said = stocked.types("quota", "hold", "--file", "-", stdin=json.dumps(line))
    assert (said.status, code_of(said.out)) == (1, "hold.gone")
    assert used(stocked) == before


def events(server: Server, hold_id: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Action, login and data of a hold's events, in order."""
    with server.app.state.core.sessions() as session:
        return [
            (row.action, row.login, row.data)
            for row in session.execute(
                text(
                    "SELECT e.action, a.login, e.data FROM broker.audit_event e"
                    " LEFT JOIN broker.account a ON a.id = e.actor_id WHERE e.subject_id = :id ORDER BY e.id"
                ),
                {"id": hold_id},
            )
        ]


def test_each_decision_is_an_event_with_who_and_why(stocked: Typist, server: Server) -> None:
    """Held, resized, posted (twice with a key: once told), voided, released, refused; with an account or a number."""
    said = ("--by", "deliver.1", "--reason", "演练")
    of = ("--cloud", CLOUD, "--json")
    owner, key = str(uuid4()), str(uuid4())
    first = stocked.does("quota", "hold", NODE, f"{KIND}=10", *of, "--owner", owner, *said).json["id"]
    held = stocked.does("quota", "hold", NODE, f"{KIND}=12", *of, "--owner", owner, "--replaces", first).json["id"]
    for _ in range(2):
        stocked.does("quota", "post", held, f"{KIND}=7", "--key", key, *of, *said)
    for _ in range(2):
        stocked.does("quota", "void", held, *said)
    stocked.does("quota", "release", held, *said)
    stocked.refused("quota", "release", held)
    line = {"class": KIND, "pool": events(server, first)[0][2]["lines"][0]["pool"]}
    told = [(action, login, data["lines"], data["reason"]) for action, login, data in events(server, held)]
    assert told == [
        ("quota.held", None, [line | {"amount": 12}], ""),
        ("quota.posted", "deliver.1", [line | {"amount": 7}], "演练"),
        ("quota.voided", "deliver.1", [line | {"amount": 5}], "演练"),
        ("quota.released", "deliver.1", [line | {"amount": 7}], "演练"),
    ]
    assert events(server, held)[0][2]["os_uid"] == os.getuid()
    refused = str(uuid4())
    stocked.refused("quota", "hold", NODE, f"{KIND}=10000000", *of, "--id", refused, *said)
    assert [action for action, *_ in events(server, refused)] == ["quota.hold_asked", "quota.hold_refused"]
    stocked.refused("quota", "hold", NODE, f"{KIND}=-1", *of, "--id", refused)
    assert len(events(server, refused)) == 2
    who = stocked.refused("quota", "hold", NODE, f"{KIND}=1", *of, "--by", "nobody")
    assert code_of(who) == "account.unknown"


def test_an_event_tells_what_its_own_call_moved(stocked: Typist, server: Server) -> None:
    """Of two who settle one hold at once the second waits, and tells what was left for it, or nothing."""
    core = server.app.state.core
    held = UUID(stocked.does("quota", "hold", NODE, f"{KIND}=5", "--cloud", CLOUD, "--json").json["id"])
    with core.sessions() as session:
        pool = next(c.id for c in catalog.in_service(session) if c.code == CLOUD)
    two = [Line(ResourceClass(KIND), 2, pool)]

    def at_once(first: Callable[[Work], object], second: Callable[[Work], object]) -> None:
        def later() -> None:
            with core.works.begin() as work:
                second(work)

        with ThreadPoolExecutor(1) as others:
            with core.works.begin() as work:
                first(work)
                waits = others.submit(later)
                somebody_waits(core.engine)
            waits.result(timeout=PATIENCE_S)

    at_once(lambda w: by_hand.post(w, Hand(), held, two), lambda w: by_hand.post(w, Hand(), held, None))
    at_once(lambda w: by_hand.release(w, Hand(), held, two), lambda w: by_hand.release(w, Hand(), held, None))
    other = UUID(stocked.does("quota", "hold", NODE, f"{KIND}=4", "--cloud", CLOUD, "--json").json["id"])
    at_once(lambda w: by_hand.void(w, Hand(), other), lambda w: by_hand.void(w, Hand(), other))
    told = [
        (action, data["lines"][0]["amount"])
        for action, _, data in [*events(server, str(held)), *events(server, str(other))]
    ]
    assert told == [
        ("quota.hold_asked", 5),
        ("quota.posted", 2),
        ("quota.posted", 3),
        ("quota.released", 2),
        ("quota.released", 3),
        ("quota.hold_asked", 4),
        ("quota.voided", 4),
    ]


def test_a_hold_and_its_event_are_one_round_trip(stocked: Typist, server: Server) -> None:
    """Nothing but the one call goes to the database, also where it is refused and the event says why.

    An event that cannot be written keeps the hold from being made.
    """
    core, made, lost, refused, statements = server.app.state.core, uuid4(), uuid4(), uuid4(), []
    codes: list[str] = []
    with core.sessions() as session:
        pool = next(c.id for c in catalog.in_service(session) if c.code == CLOUD)
        node = by_hand.node_of(session, NODE, now=core.clock())

    def hold(hold_id: UUID, reason: str, amount: int = 1, at: UUID = node) -> None:
        asked: dict[str, Any] = {"owner": made, "node": at, "lines": [Line(ResourceClass(KIND), amount, pool)]}
        until = core.clock() + timedelta(days=1)
        by_hand.hold(core.engine, core.clock, Hand(reason=reason), **asked, expires_at=until, hold_id=hold_id)

    def note(*call: object) -> None:
        statements.append(call[2])

    event.listen(core.engine, "before_cursor_execute", note)
    try:
        for _ in range(2):
            hold(made, "演练")
        for which, amount, at in ((refused, 10**7, node), (refused, 1, uuid4()), (made, 2, node)):
            with pytest.raises(QuotaError) as no:
                hold(which, "演练", amount, at)
            codes.append(no.value.code)
        assert statements == []
    finally:
        event.remove(core.engine, "before_cursor_execute", note)
    told = [*events(server, str(made)), *events(server, str(refused))]
    assert {data["reason"] for _, _, data in told} == {"演练"}
    assert len([action for action, _, _ in told if action == "quota.hold_asked"]) == 5
    again, full, nowhere = (data for action, _, data in told if action == "quota.hold_refused")
    assert [full["code"], nowhere["code"], again["code"]] == codes
    assert codes == ["quota.exceeded", "quota.unknown_node", "hold.conflict"]
    assert [(r["cause"], r["asked"]) for r in full["refused"]] == [("capacity", 10**7)]
    assert sorted(full) == ["code", "reason", "refused"]
    with pytest.raises(DBAPIError):
        hold(lost, "\0")
    assert code_of(stocked.refused("quota", "void", str(lost), "--json")) == "hold.unknown"
    stocked.does("quota", "void", str(made))


def test_limits_lend_and_borrow(stocked: Typist) -> None:
    """Set, shown as loans and claims, and refused where nothing could stand behind them."""
    nowhere = stocked.refused("quota", "limit", str(uuid4()), KIND, "10", "--json")
    assert code_of(nowhere) == "quota.unknown_node"
    for wrong, option in (("-3", "0"), ("1.5", "0"), ("3", "-1")):
        said_no = stocked.refused("quota", "limit", "--json", "--borrow", option, "--", NODE, KIND, wrong)
        assert code_of(said_no) == "quota.bad_amount"
    said = stocked.does("quota", "limit", NODE, KIND, "1000", "--borrow", "50", "--lend", "unlimited", "--json").json
    assert (said["limit"], said["borrowing"], said["lending"]) == (1000, 50, None)
    assert stocked.does("quota", "loans", NODE, KIND, "--json").json == []
    assert "没有借用" in stocked.does("quota", "loans", NODE, KIND).out
    stocked.does("quota", "limit", NODE, KIND, "unlimited")


def test_a_refused_hold_claims_back_what_is_lent(stocked: Typist) -> None:
    """The lender's hold is refused, its borrower is asked to give back so much, and the loans say so."""
    of, region = ("--cloud", CLOUD, "--json"), "450000"
    for node, amount, borrow in ((region, "20", "0"), (NODE, "10", "0"), ("rst", "10", "unlimited")):
        stocked.does("quota", "limit", node, KIND, amount, "--borrow", borrow)
    held = stocked.does("quota", "hold", "rst", f"{KIND}=20", *of).json["id"]
    assert [one["claimed"] for one in stocked.does("quota", "loans", region, KIND, "--json").json] == [0]
    assert code_of(stocked.refused("quota", "hold", NODE, f"{KIND}=4", *of)) == "quota.exceeded"
    (loan,) = stocked.does("quota", "loans", region, KIND, "--json").json
    assert (loan["amount"], loan["claimed"]) == (10, 4)
    assert "已通知归还" in stocked.does("quota", "loans", region, KIND).out
    stocked.does("quota", "void", held)
    for node in (region, NODE, "rst"):
        stocked.does("quota", "limit", node, KIND, "unlimited")


def test_a_system_gets_a_node_then_a_limit(stocked: Typist) -> None:
    """Before that it has none to set; then its holds are counted at its unit too."""
    system = "zsksy-wsbm"
    said = stocked.refused("quota", "limit", system, KIND, "10", "--json")
    assert code_of(said) == "quota.no_node_of_its_own"
    assert code_of(stocked.refused("quota", "node", "nothing", "--json")) == "system.unknown"
    for _ in range(2):
        assert stocked.does("quota", "node", system, "--json").json["moved_holds"] == 0
    stocked.does("quota", "limit", system, KIND, "10")
    made = stocked.does("quota", "hold", system, f"{KIND}=4", "--cloud", CLOUD, "--json").json["id"]
    for place in (system, "jyt-zsksy", "jyt"):
        rows = {one["resource_class"]: one for one in stocked.does("quota", "show", place, "--json").json}
        assert rows[KIND]["used"] == 4, place
    assert (
        code_of(stocked.refused("quota", "hold", system, f"{KIND}=7", "--cloud", CLOUD, "--json")) == "quota.exceeded"
    )
    stocked.does("quota", "limit", "rst", KIND, "3")
    assert code_of(stocked.refused("quota", "move", system, "rst", "--json")) == "quota.exceeded"
    looked = stocked.does("quota", "move", system, "rst", "--check", "--json").json
    assert (looked["nodes"], looked["moved"], looked["over"][0]["load"]) == (1, False, 4)
    assert "限额 3，现为 4，只能减少" in stocked.does("quota", "move", system, "rst", "--over", "--reason", "划转").out
    for place, used in (("jyt", None), ("rst", 4)):
        rows = {one["resource_class"]: one for one in stocked.does("quota", "show", place, "--json").json}
        assert (rows[KIND]["used"] if KIND in rows else None) == used, place
    assert code_of(stocked.refused("quota", "move", "rst", system, "--json")) == "quota.node_inside"
    stocked.does("quota", "move", system, "jyt-zsksy")
    stocked.does("quota", "limit", "rst", KIND, "unlimited")
    stocked.does("quota", "void", made)
    stocked.does("quota", "limit", system, KIND, "unlimited")
