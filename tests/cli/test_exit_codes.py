"""0 done, 1 refused with the code first, 2 wrong usage; and a refusal that a person can act on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from uuid import UUID

import pytest

from api.cli.main import VERBS
from tests.cli.typist import Typist
from tests.ports import free_port


def test_all_that_is_wrong_with_a_form_comes_at_once(typist: Typist) -> None:
    """Art. 17(1): sent back with the reasons, all of them: each with code, place, sentence and article."""
    file = typist.form(classified=True, expected_users=0, purpose="")
    said = typist.types("apply", "-f", file, as_="apply.jyt")
    assert (said.status, said.out) == (1, "")
    first, *rest = said.err.splitlines()
    assert first.startswith("form.invalid：")
    assert [line.split("：")[:2] for line in sorted(rest)] == [
        ["  field.length", "purpose"],
        ["  field.range", "expected_users"],
        ["  request.classified", "classified"],
    ]
    assert "电子政务内网" in said.err
    assert "《实施细则》第二条第（三）项" in said.err


def test_a_refusal_in_json_is_the_problem_of_the_api(typist: Typist) -> None:
    """Programs read standard error as JSON when they asked for JSON."""
    said = typist.types("apply", "-f", typist.form(classified=True), "--json", as_="apply.jyt")
    assert (said.status, said.out) == (1, "")
    assert json.loads(said.err)["errors"][0]["code"] == "request.classified"


@pytest.mark.parametrize(
    "words",
    [
        ("quota", "verify"), ("quota", "show", "jyt"), ("quota", "void", str(UUID(int=1))),
        ("quota", "limit", "jyt", "gpu", "1"),
        ("ipv6", "verify"), ("ipv6", "plan"), ("audit", "verify"), ("bill", "verify", "2026-01"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_database_that_is_down_has_a_code(
    typist: Typist, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Every verb that works on the database: 1, the code on standard error, no traceback, no answer."""
    monkeypatch.setenv("GUIYUN_DATABASE_URL", f"postgresql+psycopg://guiyun_app@127.0.0.1:{free_port()}/guiyun")
    said = typist.types(*words, "--json")
    assert (said.status, said.out) == (1, "")
    assert json.loads(said.err)["code"] == "database.failed"
    assert typist.refused(*words).startswith("database.failed：")


def test_checking_writes_nothing(typist: Typist) -> None:
    """--check says what is wrong, or what it would cost."""
    before = len(typist.does("list", "--limit", "1000", "--json", as_="apply.jyt").json)
    assert "每月" in typist.does("apply", "-f", typist.form(), "--check", as_="apply.jyt").out
    refused = typist.refused("apply", "-f", typist.form(dedicated_network=True), "--check", as_="apply.jyt")
    assert "第十条" in refused
    assert len(typist.does("list", "--limit", "1000", "--json", as_="apply.jyt").json) == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"unit: jyt\nunit: jyt\n", "yaml.duplicate_key"),
        (b"unit: [jyt\n", "yaml.broken"),
        (b"\xff\xfe", "yaml.not_utf8"),
        (b"- just a list\n", "form.invalid"),
        (b"a: &x 1\nb: *x\n", "yaml.alias"),
    ],
)
def test_a_file_that_is_no_form_is_refused_with_its_place(typist: Typist, content: bytes, code: str) -> None:
    """The file is named, and where it is wrong; nothing is sent."""
    file = typist.folder / "broken.yaml"
    file.write_bytes(content)
    error = typist.refused("apply", "-f", str(file), as_="apply.jyt")
    assert error.startswith(f"{code}：")
    assert "broken.yaml" in error


def test_a_form_may_be_json(typist: Typist) -> None:
    """The same form as JSON is the same form."""
    file = typist.folder / "form.json"
    file.write_text(json.dumps(typist.form_data()), encoding="utf-8")
    assert typist.does("apply", "-f", str(file), "--check", "--json", as_="apply.jyt").json["problems"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "-f", "/nowhere/form.yaml"),
        ("list", "--state", "nonsense"),
        ("show",),
        ("approve", "GX-2026-000001", "--colour"),
        ("bill", "preview", "2026-13"),
        ("audit", "verify", "--anchor", "nonsense"),
        ("calendar", "next"),
        ("ipv6", "plan", "--zone", "moon"),
        ("demo", "--cloud", "moon"),
    ],
)
def test_wrong_usage_ends_with_2(typist: Typist, words: tuple[str, ...]) -> None:
    """What was typed wrongly is no refusal of the broker's."""
    assert typist.types(*words).status == 2


def test_an_item_or_size_written_wrongly_ends_with_2(typist: Typist) -> None:
    """The message says which items there are, and how it is written."""
    number = typist.applies()
    typist.does("approve", number, as_="approve.jyt")
    for words in (("--cloud", "moon=main"), ("--cloud", "web"), ("--size", "web.vcpu=x"), ("--size", "web=1")):
        assert typist.types("assess", number, *words, as_="assess.jyt").status == 2, words


def test_refusals_have_their_code_first(typist: Typist) -> None:
    """Wrong role, unknown request, not signed in, nobody there, no broker's address."""
    number = typist.applies()
    assert typist.refused("approve", number, as_="apply.jyt").startswith("role.missing：")
    assert typist.refused("show", "GX-1999-000001", as_="apply.jyt").startswith("request.not_found：")
    assert typist.refused("show", "../units", as_="apply.jyt").startswith("request.not_found：")
    assert typist.refused("deliver", number, as_="deliver.jyt").startswith("state.refused：")
    assert typist.refused("whoami").startswith("session.missing：")
    nobody = f"http://127.0.0.1:{free_port()}"
    assert typist.refused("whoami", "--url", nobody, as_="apply.jyt").startswith("server.unreachable：")
    assert typist.refused("whoami", "--url", "nonsense", as_="apply.jyt").startswith("server.url：")


def test_demonstration_accounts_are_for_this_machine_only(typist: Typist) -> None:
    """--as sends a password that everybody knows: never to another machine."""
    error = typist.refused("whoami", "--as", "apply.jyt", "--url", "http://guiyun.example.gov.cn")
    assert error.startswith("demonstration.only：")


def test_every_verb_has_help_in_chinese_and_json(typist: Typist) -> None:
    """The verbs of the client and of the database all take --json."""
    groups = {
        "audit": ("verify", "head"),
        "quota": ("show", "hold", "post", "void", "release", "limit", "node", "move", "loans", "verify"),
        "ipv6": ("plan", "verify"),
        "bill": ("preview",),
        "db": ("migrate", "current", "check", "load-region"),
        "utilisation": ("import",),
        "usage": ("import", "export"),
        "idle": ("scan",),
        "reclaim": ("cases", "show", "open", "answer"),
        "extranet": ("check", "load", "show", "filters"),
    }
    for verb in set(VERBS) - {"up", "serve", "work"}:
        for more in groups.get(verb, ("",)):
            said = typist.does(verb, *filter(None, (more,)), "--help")
            assert "--json" in said.out, verb
            assert any("\u4e00" <= letter <= "\u9fff" for letter in said.out), verb


def test_the_command_says_its_version() -> None:
    """In a process of its own, as people run it."""
    said = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "--version"], check=True, capture_output=True, text=True, timeout=300
    )
    assert said.stdout == f"guiyun {version('guiyun')}\n"
