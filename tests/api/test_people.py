"""Personal data sits in one table and can be blanked there."""

from __future__ import annotations

from sqlalchemy import text

from tests.api.server import Server


def test_the_administrator_erases_a_person_and_the_decisions_stay(server: Server) -> None:
    """What was decided keeps its account; the name, the telephone number and the way in are gone."""
    with server.engine.connect() as connection:
        person_id, account_id = connection.execute(
            text("SELECT person_id, id FROM broker.account WHERE login = 'assess.2'")
        ).one()
    assert server.person("apply.jyt").post(f"/api/v1/people/{person_id}/blanking").status_code == 403
    admin = server.person("admin")
    for _ in range(2):
        assert admin.post(f"/api/v1/people/{person_id}/blanking").status_code == 200
    with server.engine.connect() as connection:
        name, phone, title = connection.execute(
            text("SELECT name, phone, title FROM broker.person WHERE id = :id"), {"id": person_id}
        ).one()
        account = connection.execute(
            text("SELECT disabled_at, password_hash FROM broker.account WHERE id = :id"), {"id": account_id}
        ).one()
        told = connection.execute(
            text("SELECT count(*) FROM broker.audit_event WHERE action = 'person.blanked' AND subject_id = :id"),
            {"id": person_id},
        ).scalar_one()
    assert (name, phone, title) == ("(已清除)", "", "")
    assert account.disabled_at is not None
    assert account.password_hash is None
    assert told == 1


def test_nobody_is_erased_who_is_not_there(server: Server) -> None:
    """404, with a code."""
    answer = server.person("admin").post("/api/v1/people/01000000-0000-7000-8000-000000000000/blanking")
    assert (answer.status_code, answer.json()["code"]) == (404, "person.not_found")
