"""Somebody who types commands, and forms to type them with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from api.cli.client import Api
from api.cli.main import VERBS, build
from broker.region.loader import DEMONSTRATION_PASSWORD
from tests.stories.road import walk
from tests.stories.world import World, form

DAYS = {"start_date": "2099-01-01", "end_date": "2099-12-31"}


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)


@dataclass
class Tokens:
    """Bearer tokens of people: a password is checked slowly on purpose, and once is enough."""

    url: str
    _known: dict[str, str] = field(default_factory=dict)

    def of(self, login: str) -> str:
        if login not in self._known:
            with Api(self.url) as api:
                api.sign_in(login, DEMONSTRATION_PASSWORD)
                self._known[login] = api.post("/tokens", {"name": "test"})["token"]
        return self._known[login]


@dataclass
class Typist:
    """Types ``guiyun ...`` in this process, as the console script would run it."""

    folder: Path
    tokens: Tokens

    def types(self, *words: str, as_: str = "", stdin: str = "") -> Said:
        """Run one command; a traceback is a failure of the test."""
        environment = {"GUIYUN_TOKEN": self.tokens.of(as_)} if as_ else {}
        result = CliRunner().invoke(build([VERBS[words[0]]]), list(words), input=stdin, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def does(self, *words: str, as_: str = "") -> Said:
        """A command that must succeed."""
        said = self.types(*words, as_=as_)
        assert said.status == 0, said
        return said

    def refused(self, *words: str, as_: str = "") -> str:
        """What a command says on standard error that must be refused: 1, and nothing of Python's."""
        said = self.types(*words, as_=as_)
        assert said.status == 1, said
        assert "Traceback" not in said.err
        return said.err

    def form_data(self, **changes: Any) -> dict[str, Any]:
        """A complete form, with changes."""
        return form(**DAYS, **changes)

    def form(self, **changes: Any) -> str:
        """The same in a file (YAML)."""
        file = self.folder / "form.yaml"
        file.write_text(yaml.safe_dump(self.form_data(**changes), allow_unicode=True), encoding="utf-8")
        return str(file)

    def applies(self, **changes: Any) -> str:
        """A submitted request's number."""
        number: str = self.does("apply", "-f", self.form(**changes), "--json", as_="apply.jyt").json["number"]
        return number

    def to_order(self, **changes: Any) -> str:
        """A request that has been approved and assessed."""
        number = self.applies(**changes)
        self.does("approve", number, as_="approve.jyt")
        self.does("assess", number, "--confirm", as_="assess.jyt")
        return number

    def delivered(self, world: World, **changes: Any) -> str:
        """A request that was carried to its handover."""
        number = self.to_order(**changes)
        self.does("deliver", number, as_="deliver.jyt")
        walk(world)
        return number

    def metered(self, world: World, month: str) -> None:
        """A request that was delivered and has been in use for a second at least: less is not charged."""
        self.delivered(world)
        assert any(self.does("bill", "issue", month, "--json").json for _ in range(100))


@contextmanager
def working(world: World) -> Iterator[None]:
    """The machine's steps are carried out meanwhile, as a worker would."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            walk(world)

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join(120)
        assert not worker.is_alive()
