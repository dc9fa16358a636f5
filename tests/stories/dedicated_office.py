"""People at the HTTP interface of dedicated networks, in front of a world whose clock a test moves; and what they send.

Called by: ``test_dedicated``, ``test_dedicated_words``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from threading import Thread
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.server import Server as RunningServer
from broker.db.base import new_id
from broker.dedicated import stops
from broker.extranet.models import SegmentAttachment
from tests.api.server import DEADLINE_S, wait_until
from tests.extranet.wire import Wire
from tests.stories import road
from tests.stories.world import World, make_world

API = "/api/v1/dedicated-networks"
UNIT, CHIEF, BUREAU, SECOND, FINANCE = "apply.jyt", "chief.jyt", "approve.1", "approve.2", "finance"


class Office:
    """People at the HTTP interface of a world whose clock a test moves."""

    def __init__(self, world: World, client: httpx.Client) -> None:
        self.world, self.client, self.wire = world, client, Wire()

    def ask(self, who: str, method: str, path: str, body: Any = None, *, files: Any = None, **headers: str) -> Any:
        self.world._token(who)
        headers["Authorization"] = f"Bearer {who}"
        return self.client.request(method, path, json=body, files=files, headers=headers)

    def upload(self, who: str, content: bytes) -> Any:
        answer = self.ask(who, "POST", f"{API}/imports", files={"file": ("台账.csv", content)})
        assert answer.is_success, answer.text
        return answer.json()

    def done(self, who: str, path: str, body: Any) -> Any:
        answer = self.ask(who, "POST", path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def refused(self, who: str, path: str, body: Any) -> set[str]:
        answer = self.ask(who, "POST", path, body)
        assert answer.is_client_error, answer.text
        found = answer.json()
        return {error["code"] for error in found["errors"]} or {found["code"]}

    def read(self, who: str, path: str) -> Any:
        answer = self.ask(who, "GET", path)
        assert answer.is_success, answer.text
        return answer.json()

    @property
    def today(self) -> date:
        return self.world.clock().astimezone(self.world.app.calendar.zone).date()

    def day(self, days: int) -> str:
        return (self.today + timedelta(days=days)).isoformat()

    def pass_by(self) -> stops.Passed:
        """What dispatch does now and then."""
        with self.world.app.works.begin() as work:
            return stops.come(work, report_workdays=5)

    def probe(self, code: str = "", times: int = 1) -> int:
        """What the worker does with reported connections; ``code``: what the probes say, nothing when all is well."""
        return self.wire.carry(self.world.app.works, code, times)

    def connect(self, path: str, *segments: str) -> Any:
        """Report a connection that the probes then find to be so."""
        self.done(UNIT, f"{path}/connection", done(self, *segments))
        assert self.probe() == 1
        return self.read(UNIT, path)

    def notices(self, who: str, network: str) -> list[str]:
        """Codes of the notices somebody has of a network, oldest first."""
        rows = self.read(who, "/api/v1/notices?limit=100")["data"]
        return [n["code"] for n in reversed(rows) if n["subject_id"] == network]


@contextmanager
def served(world: World) -> Iterator[str]:
    """The HTTP side on a free port of loopback, on the world's own core: its clock is the one a test moves."""
    app = create_app(world.app.settings)
    running = RunningServer(app, host="127.0.0.1", port=0)
    thread = Thread(target=running.run, name="dedicated")
    thread.start()
    wait_until(lambda: running.started)
    app.state.core = world.app  # what the lifespan built is closed by it
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.end_streams()
    running.should_exit = True
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "the server did not stop"


def see(office: Office, number: str, *, verified: bool) -> None:
    """Put the segment on a router, as delivery does where there is an extranet; the probes saw it, or not yet."""
    with office.world.app.works.begin() as work:
        row = office.world.rows("SELECT id, prefix FROM broker.resource WHERE number = :n", n=number)[0]
        work.session.add(
            SegmentAttachment(
                id=new_id(), resource_id=row.id, unit="jyt", vrf="shared", router="dc", vni=100,
                encapsulation="vxlan", addressing="slaac",
                prefix=str(row.prefix), attached_at=work.now, verified_at=work.now if verified else None,
            )
        )  # fmt: skip


def unsee(office: Office) -> None:
    with office.world.app.works.begin() as work:
        for row in work.session.query(SegmentAttachment).filter(SegmentAttachment.withdrawn_at.is_(None)):
            row.withdrawn_at = work.now


def network(code: str, **more: Any) -> dict[str, Any]:
    return {
        "unit": "jyt", "code": code, "name": "教育专网", "purpose": "全区学籍业务", "level": "county",
        "coverage": "14 个市、111 个县（市、区）教育局", "classified": False, "built_on": "2012-06-01",
        "grounds": "桂教〔2012〕8号", "links": 125, "carrier": "电信", "funding_source": "自治区本级财政",
        "yearly_cost_fen": 860_000_00, "responsible": UNIT, "systems": ["jyt-xjgl"],
    } | more  # fmt: skip


def plan(office: Office, **more: Any) -> dict[str, Any]:
    days = {"connect": 30, "migrate": 60, "shut_down": 90}
    return {
        "scope": "全部 125 条专线", "content": "学籍业务迁入政务外网公用网络区", "zone": "shared",
        "leader": "lead.jyt", "office": "教育信息化处", "liaison": UNIT, "document_number": "桂教函〔2026〕20号",
        "dates": {name: {"due_on": office.day(n), "owner": UNIT} for name, n in days.items()},
    } | more  # fmt: skip


def done(office: Office, *segments: str) -> dict[str, Any]:
    return {"done_on": office.day(0), "evidence": "验收报告", "segments": list(segments)}


def closing(office: Office) -> dict[str, Any]:
    return {"outcome": "removed", "done_on": office.day(0), "evidence": "专线退订单"}


@pytest.fixture(scope="module")
def office(databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The interface in front of one world for the module."""
    home = tmp_path_factory.mktemp("dedicated")
    with databases() as (region, simulated):
        world = make_world(region, simulated, home)
        with served(world) as url, httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
            yield Office(world, client)
        world.app.close()


@pytest.fixture(scope="module")
def segment(office: Office) -> str:
    """The number of a segment of the education department in the shared zone, delivered with two servers on it."""
    request_id = road.up_to_order(office.world)
    road.walk(office.world)
    assert office.world.request(request_id).state == "delivered"
    sql = "SELECT number FROM broker.resource WHERE request_id = :r AND kind = 'segment'"
    return str(office.world.scalar(sql, r=request_id))
