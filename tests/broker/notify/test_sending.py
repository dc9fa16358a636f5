"""Notices leave the inbox by e-mail and webhook: once, whatever dies or does not answer."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from api import texts
from broker.errors import BrokerError, Forbidden
from broker.lifecycle import Role
from broker.notify import channels as channels_module
from broker.notify import outbox
from broker.notify import service as notify
from broker.notify.sender import Sender
from broker.notify.settings import Channels, Smtp, Webhook, channels
from tests.api.server import DEADLINE_S
from tests.ports import free_port
from tests.stories.conftest import Databases, databases, region_template
from tests.stories.world import World, make_world

__all__ = ["databases", "region_template"]


@dataclass
class Mailbox:
    """What a real SMTP server has taken; it may refuse recipients, or fall silent after the content."""

    taken: list[bytes] = field(default_factory=list)
    answer: str = "250 OK"
    recipient: str = "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - theirs
        self.taken.append(envelope.content)
        if self.answer == "silence":
            server.transport.close()
        return self.answer


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with databases() as (region, simulated):
        made = make_world(region, simulated, tmp_path_factory.mktemp("mail"))
        yield made
        made.app.close()


@pytest.fixture
def world(shared: World) -> World:
    """Nothing waits; one person of the education department has an address."""
    with shared.app.sessions.begin() as session:
        session.execute(text("UPDATE broker.notice SET expanded_at = now() WHERE expanded_at IS NULL"))
        session.execute(
            text("UPDATE broker.notice_sending SET state = 'failed', leased_until = NULL WHERE state <> 'sent'")
        )
        session.execute(text("UPDATE broker.person SET email = ''"))
        session.execute(
            text(
                "UPDATE broker.person SET email = 'wei@example.gov.cn' WHERE id ="
                " (SELECT person_id FROM broker.account WHERE login = 'apply.jyt')"
            )
        )
    return shared


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, Smtp]]:
    box = Mailbox()
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, ready_timeout=DEADLINE_S)
    controller.start()
    yield box, Smtp("127.0.0.1", port, "none", "", SecretStr(""), "guiyun@example.gov.cn")
    controller.stop()


def tell(world: World, login: str = "apply.jyt", role: Role = Role.APPLICANT, number: str = "HS-000001") -> None:
    """A notice to the applicants of the education department, now, or to who has a role where this account is."""
    with world.app.works.begin() as work:
        unit = work.session.scalar(text("SELECT unit_id FROM broker.account WHERE login = :l"), {"l": login})
        notify.tell_role(work, (unit, role), "reclaim.dropped", ("unit", unit), number=number)
        work.session.flush()
        on_our_clock = text("UPDATE broker.notice SET created_at = :now WHERE expanded_at IS NULL")
        work.session.execute(on_our_clock, {"now": work.now})


def sender(world: World, *, smtp: Smtp | None = None, webhooks: tuple[Webhook, ...] = ()) -> Sender:
    return Sender(world.app.works, Channels(smtp, webhooks), texts.notice)


def states(world: World) -> list[tuple[str, str]]:
    rows = world.rows("SELECT state, code FROM broker.notice_sending ORDER BY notice_id DESC LIMIT 1")
    return [(row.state, row.code) for row in rows]


def test_a_notice_arrives_once_with_its_sentence(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """To whoever holds the role and has an address; a second round sends nothing."""
    box, smtp = mailbox
    tell(world)
    mine = sender(world, smtp=smtp)
    assert [mine.round(), mine.round()] == [1, 0]
    [content] = box.taken
    assert b"To: wei@example.gov.cn" in content
    row = world.rows("SELECT id, state FROM broker.notice_sending WHERE state = 'sent' ORDER BY notice_id DESC")[0]
    assert f"<{row.id}@example.gov.cn>".encode() in content


def test_an_unknown_outcome_is_decided_by_a_person(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """The server takes the content and falls silent: not sent again by itself; the administrator may."""
    box, smtp = mailbox
    box.answer = "silence"
    tell(world)
    mine = sender(world, smtp=smtp)
    mine.round()
    assert states(world) == [("unknown", "smtp.no_answer")]
    world.clock.forward(days=2)
    assert mine.round() == 0
    assert len(box.taken) == 1
    with world.acting("admin") as work:
        waiting = [row.id for row, _, _ in outbox.desk(work) if row.code == "smtp.no_answer"]
    with pytest.raises(Forbidden), world.acting("deliver.1") as work:
        outbox.decide(work, waiting[-1], again=True)
    box.answer = "250 OK"
    with world.acting("admin") as work:
        outbox.decide(work, waiting[-1], again=True)
    assert mine.round() == 1
    assert states(world)[0][0] == "sent"
    with pytest.raises(BrokerError, match=r"sending\.decided"), world.acting("admin") as work:
        outbox.decide(work, waiting[-1], again=True)


def test_after_a_long_outage_what_is_old_is_on_the_desk(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """No worker for two days: nothing is sent that nobody waits for any more, and nothing is lost in silence."""
    box, smtp = mailbox
    mine = sender(world, smtp=smtp)
    tell(world)
    mine.round()
    world.clock.forward(minutes=1)
    tell(world)
    world.clock.forward(days=2)
    assert mine.round() == 0
    assert states(world) == [("failed", "sending.too_old")]
    with world.acting("admin") as work:
        [row] = [r for r, _, _ in outbox.desk(work) if r.code == "sending.too_old"]
        outbox.decide(work, row.id, again=True)
    assert (mine.round(), len(box.taken)) == (1, 2)


def test_what_was_certainly_not_taken_is_tried_again_later(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """A recipient that is refused for now, then taken; one refused for good is not tried again."""
    box, smtp = mailbox
    box.recipient = "451 later"
    tell(world)
    mine = sender(world, smtp=smtp)
    mine.round()
    assert states(world) == [("waiting", "smtp.451")]
    assert mine.round() == 0, "not at once"
    world.clock.forward(seconds=31)
    box.recipient = "550 no such person"
    mine.round()
    assert states(world) == [("failed", "smtp.550")]
    assert box.taken == []


@pytest.mark.parametrize(("dies", "state", "arrives"), [("before", "sent", 1), ("after", "unknown", 1)])
def test_a_worker_that_dies_sends_nothing_twice(
    dies: str, state: str, arrives: int, world: World, mailbox: tuple[Mailbox, Smtp]
) -> None:
    """Killed before the content went out, another sends it; killed after it did, nobody knows and a person decides."""
    box, smtp = mailbox
    tell(world)
    mine = sender(world, smtp=smtp)

    class KilledError(BaseException):
        pass

    def die(*_arguments: Any, **_named: Any) -> bool:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sender, "_hand_over" if dies == "before" else "_write", die)
        with pytest.raises(KilledError):
            mine.round()
    assert len(box.taken) == (dies == "after")
    assert mine.round() == 0, "the lease holds"
    world.clock.forward(minutes=4)
    mine.round()
    assert (states(world)[0][0], len(box.taken)) == (state, arrives)


@pytest.mark.parametrize("minutes", [(2, 2), (2, 4)])
def test_a_slow_server_that_took_it_has_taken_it(
    minutes: tuple[int, int], world: World, mailbox: tuple[Mailbox, Smtp]
) -> None:
    """The lease runs anew with the content; given up for lost all the same, the answer that comes late counts."""
    box, smtp = mailbox
    tell(world)
    mine, other = sender(world, smtp=smtp), sender(world, smtp=smtp)
    ask, write = Sender._hand_over, Sender._write

    def slow(self: Sender, sending_id: UUID) -> bool:
        world.clock.forward(minutes=minutes[0])
        return ask(self, sending_id)

    def answered(self: Sender, *args: Any, **named: Any) -> None:
        if self is mine:
            world.clock.forward(minutes=minutes[1])
            other.round()
        write(self, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sender, "_hand_over", slow)
        patch.setattr(Sender, "_write", answered)
        mine.round()
    assert (states(world)[0], len(box.taken)) == (("sent", ""), 1)


def test_several_workers_send_each_message_once(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """Four at once over ten notices: ten messages."""
    box, smtp = mailbox
    for number in range(10):
        tell(world, number=f"HS-{number}")
    mine = sender(world, smtp=smtp)
    threads = [threading.Thread(target=mine.round) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mine.round()
    assert len(box.taken) == len(set(box.taken)) == 10


@pytest.fixture
def robot() -> Iterator[tuple[str, list[tuple[str, Any]], list[tuple[int, str]]]]:
    """A group's robot: its URL, what it was sent, and what it answers next."""
    got: list[tuple[str, Any]] = []
    answers: list[tuple[int, str]] = []

    class Robot(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, json.loads(body)))
            status, said = answers.pop(0) if answers else (200, '{"errcode": 0}')
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Robot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/robot/send?access_token=KEY", got, answers
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_group_is_told_and_dingtalk_is_signed(world: World, robot: Any) -> None:
    """A text in the format both take; too many calls: later; a server's error: nobody knows."""
    url, got, answers = robot
    hooks = (Webhook("jyt", "dingtalk", SecretStr(url), SecretStr("SEC1"), "jyt", ("applicant",)),)
    mine = sender(world, webhooks=hooks)
    answers.append((200, '{"errcode": 130101, "errmsg": "too fast"}'))
    tell(world)
    mine.round()
    assert states(world) == [("waiting", "webhook.130101")]
    world.clock.forward(seconds=31)
    mine.round()
    assert states(world)[0][0] == "sent"
    path, body = got[-1]
    assert "&timestamp=" in path
    assert "&sign=" in path
    assert (body["msgtype"], "HS-000001" in body["text"]["content"]) == ("text", True)
    answers.append((502, "bad gateway"))
    tell(world)
    mine.round()
    assert states(world) == [("unknown", "webhook.502")]
    assert "KEY" not in repr(hooks)
    assert "SEC1" not in repr(hooks)


def test_a_webhooks_file_tells_every_mistake_and_no_secret(world: World, tmp_path: Path) -> None:
    """What is missing or unknown, by its place."""
    file = tmp_path / "webhooks.yaml"
    file.write_text("webhooks: [{name: a, format: fax, url: 'env:NOT_SET', unit: jyt, roles: [boss]}]")
    settings = world.app.settings.model_copy(update={"webhooks_file": file})
    with pytest.raises(BrokerError) as refused:
        channels(settings)
    assert {p.field for p in refused.value.problems} == {
        "webhooks[0].format", "webhooks[0].roles", "webhooks[0].url",
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["foo@", "zhang@例子.cn", "a@b,c@d.cn"])
def test_a_wrong_address_stops_nobody_elses_mail(wrong: str, world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """It is on the desk at once, with words; the next message in the queue arrives in the same round."""
    box, smtp = mailbox
    with world.app.sessions.begin() as session:
        for login, email in (("apply.jyt", wrong), ("approve.jyt", "ok@example.gov.cn")):
            mine = "SELECT person_id FROM broker.account WHERE login = :l"
            session.execute(text(f"UPDATE broker.person SET email = :e WHERE id = ({mine})"), {"e": email, "l": login})
    tell(world)
    tell(world, "approve.jyt", Role.APPROVER)
    assert sender(world, smtp=smtp).round() == 2
    new = world.rows("SELECT state, code FROM broker.notice_sending ORDER BY notice_id DESC LIMIT 2")
    assert {(row.state, row.code) for row in new} == {("failed", "sending.bad_address"), ("sent", "")}
    [content] = box.taken
    assert b"To: ok@example.gov.cn" in content


def test_a_message_that_breaks_the_sender_is_on_the_desk(
    world: World, mailbox: tuple[Mailbox, Smtp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken before it was handed over it has failed; after that nobody knows; the round goes on in any case."""
    _, smtp = mailbox

    def breaks(*_given: Any) -> None:
        raise ZeroDivisionError

    def breaks_late(*given: Any) -> None:
        given[-1]()
        raise ZeroDivisionError

    for channel, state in ((breaks, "failed"), (breaks_late, "unknown")):
        monkeypatch.setattr(channels_module, "email", channel)
        tell(world)
        with capture_logs() as said:
            assert sender(world, smtp=smtp).round() == 1
        assert [each["event"] for each in said] == ["notice not sent"]
        assert states(world) == [(state, "sending.broken")]


def test_a_message_that_outlives_too_many_workers_is_given_up(world: World, mailbox: tuple[Mailbox, Smtp]) -> None:
    """Each worker is lost with it before it is handed over: after so many it waits for a person, not for the next."""
    box, smtp = mailbox
    tell(world)
    mine = sender(world, smtp=smtp)
    with world.app.works.begin() as work:
        outbox.expand(work, email=True, webhooks=[])
        assert outbox.claim(work, ["email"])
        work.session.execute(
            text("UPDATE broker.notice_sending SET attempts = :n WHERE state = 'sending'"), {"n": outbox.MOST_ATTEMPTS}
        )
    world.clock.forward(minutes=4)
    assert mine.round() == 0
    assert (states(world), box.taken) == ([("failed", "sending.spent")], [])


def test_without_a_server_notices_stay_in_the_inbox(world: World) -> None:
    """And when one comes, yesterday's are not sent."""
    tell(world)
    nothing = sender(world)
    assert nothing.round() == 0
    assert world.scalar("SELECT count(*) FROM broker.notice_sending WHERE state = 'waiting'") == 0


def test_what_several_roles_are_told_reaches_a_person_and_a_group_once(
    world: World, mailbox: tuple[Mailbox, Smtp], robot: Any
) -> None:
    """One act tells two roles: who holds both has one mail, the group of both one message; its subject says of what."""
    box, smtp = mailbox
    with world.app.sessions.begin() as session:
        both = text(
            "INSERT INTO broker.role_grant (id, account_id, role, during) SELECT gen_random_uuid(), id, 'cloud_chief',"
            " tstzrange(CAST(:now AS timestamptz), CAST(:now AS timestamptz) + interval '1 second')"
            " FROM broker.account WHERE login = 'apply.jyt'"
        )
        session.execute(both, {"now": world.clock()})
    tell(world)
    tell(world, role=Role.CLOUD_CHIEF)
    hook = Webhook("jyt", "wecom", SecretStr(robot[0]), None, "jyt", ("applicant", "cloud_chief"))
    mine = sender(world, smtp=smtp, webhooks=(hook,))
    assert [mine.round(), mine.round()] == [2, 0]
    [content] = box.taken
    subject = email.message_from_bytes(content, policy=email.policy.default)["Subject"]
    assert subject == "桂云通知：回收事项 HS-000001 已撤销"
    assert len(robot[1]) == 1
