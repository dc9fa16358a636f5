"""What all verbs share: the options every one has, who is asked, how a refusal is told, the exit status.

Called by: every verb, as the decorator ``client_verb`` or ``database_verb`` below ``@app.command(...)``; the function's
first argument is the ``Call`` (or ``DatabaseCall``). Must not: know a verb.

Exit status: 0 done; 1 refused, or different from what it should be (the code on standard error); 2 wrong usage.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer
from rich.console import RenderableType

from api import texts
from api.cli.display import SHOWN, Terminal, more, table
from api.cli.home import home_of, running
from api.cli.refusal import Mistake, Refusal
from broker.errors import BrokerError, Invalid
from providers.errors import ProviderError

if TYPE_CHECKING:
    from api.cli.client import Api
    from broker.bootstrap import App
    from broker.settings import Settings

P = ParamSpec("P")


@dataclass
class Output:
    """Where a verb's result goes, and in which form."""

    as_json: bool
    terminal: Terminal = field(default_factory=Terminal)

    def answer(self, data: Any, show: Callable[[], None]) -> None:
        """Print ``data`` as JSON if that was asked for; else ``show`` it to a person."""
        if self.as_json:
            self.terminal.json(data)
        else:
            show()

    def listed(
        self,
        found: Sequence[Any],
        headers: Sequence[str],
        rows: Iterable[Sequence[RenderableType | None]],
        *,
        nothing: str,
        right: Sequence[str] = (),
        folds: Sequence[str] = (),
    ) -> None:
        """A table, the data, or the sentence that there is nothing."""
        shown = table(headers, rows, right=right, folds=folds) if found else nothing
        self.answer(found, lambda: self.terminal.say(shown))

    def done(self, data: Any, sentence: str) -> None:
        """One sentence, or the data."""
        self.answer(data, lambda: self.terminal.say(sentence))


@dataclass
class Call(Output):
    """One verb's call of the HTTP API, as whoever is meant."""

    home: Path = field(default_factory=lambda: home_of(""))
    login: str = ""
    given_url: str = ""

    @cached_property
    def url(self) -> str:
        url: str = self._access.url_of(self.given_url, self.home)
        return url

    @cached_property
    def api(self) -> Api:
        """The broker; signs in when first used. Raises Refusal."""
        api: Api = self._access.enter(self.url, login=self.login)
        return api

    @property
    def _access(self) -> ModuleType:
        # Only now: what speaks HTTP is a fifth of all that a verb loads, and a DatabaseCall never needs it.
        return importlib.import_module("api.cli.access")

    def close(self) -> None:
        if "api" in vars(self):
            self.api.close()


@dataclass
class DatabaseCall(Output):
    """One verb's work on the database itself, with the settings of a running home or of the environment."""

    home: Path = field(default_factory=lambda: home_of(""))

    @cached_property
    def settings(self) -> Settings:
        """Those of the broker running in the home, else of the environment."""
        environment = running(self.home)
        settings_of: type[Settings] = importlib.import_module("broker.settings").Settings
        found = {name.removeprefix("GUIYUN_").lower(): value for name, value in environment.items()}
        given = {k: v for k, v in found.items() if k in settings_of.model_fields}
        return settings_of.model_validate({**settings_of().model_dump(), "home": self.home, **given})

    @cached_property
    def core(self) -> App:
        """The core. Raises Refusal ``broker.not_running`` when neither home nor environment name a database."""
        settings = self.settings
        if settings.database_url is None:
            raise Refusal(
                "broker.not_running",
                f"{self.home} 中没有正在运行的桂云；请先 make run，或设置 GUIYUN_DATABASE_URL。",
            )
        # Only now: it brings every room of the broker along, and `--help` need not wait for that.
        built: App = importlib.import_module("broker.bootstrap").build(settings, application_name="guiyun-cli")
        return built

    def close(self) -> None:
        if "core" in vars(self):
            self.core.close()


AsJson = Annotated[bool, typer.Option("--json", help="以 JSON 输出")]
Home = Annotated[str, typer.Option(help="数据目录，默认 GUIYUN_HOME 或 ./.guiyun", metavar="DIR", show_default=False)]
LoginAs = Annotated[
    str, typer.Option("--as", help="以演示账号的身份（仅限本机演示）", metavar="账号", show_default=False)
]
Url = Annotated[
    str, typer.Option(help="桂云的地址，默认 GUIYUN_URL 或本机正在运行的", metavar="URL", show_default=False)
]


def _client(*, as_json: AsJson = False, login_as: LoginAs = "", url: Url = "", home: Home = "") -> Call:
    return Call(as_json=as_json, home=home_of(home), login=login_as, given_url=url)


def _database(*, as_json: AsJson = False, home: Home = "") -> DatabaseCall:
    return DatabaseCall(as_json=as_json, home=home_of(home))


def client_verb(function: Callable[Concatenate[Call, P], None]) -> Callable[..., None]:
    """A verb that asks the HTTP API: the function's own options and ``--json --as --url --home``."""
    return _verb(function, _client)


def database_verb(function: Callable[Concatenate[DatabaseCall, P], None]) -> Callable[..., None]:
    """A verb that works on the database: the function's own options and ``--json --home``."""
    return _verb(function, _database)


def _verb(function: Callable[..., None], make: Callable[..., Call | DatabaseCall]) -> Callable[..., None]:
    common = inspect.signature(make, eval_str=True).parameters
    own = inspect.signature(function, eval_str=True).parameters
    shown = [*list(own.values())[1:], *common.values()]

    @wraps(function)
    def verb(**given: Any) -> None:
        call = make(**{name: given.pop(name) for name in common})
        try:
            function(call, **given)
        except Refusal as refusal:
            complain(refusal, as_json=call.as_json)
        except BrokerError as error:
            complain(of_broker(error), as_json=call.as_json)
        except ProviderError as error:
            complain(Refusal(error.code, f"云平台：{texts.trouble(error.code)}"), as_json=call.as_json)
        except _database_errors() as error:
            complain(of_database(error), as_json=call.as_json)
        else:
            return
        finally:
            call.close()
        raise typer.Exit(1)

    # What Typer reads: the options of both, instead of those of the function that was wrapped.
    verb.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    verb.__annotations__ = {each.name: each.annotation for each in shown}
    return verb


def of_broker(error: BrokerError) -> Refusal:
    """A refusal of the core's own, in words."""
    mistakes = [Mistake(p.code, p.field, texts.sentence(p.code, p.params), p.article) for p in error.problems]
    lone = len(mistakes) == 1
    total = error.total if isinstance(error, Invalid) else len(mistakes)
    message = mistakes[0].message if lone else texts.sentence(error.code, {"count": total})
    body = {"code": error.code, "detail": message, "errors": [asdict(mistake) for mistake in mistakes], "total": total}
    return Refusal(error.code, message, mistakes, body)


def _database_errors() -> tuple[type[Exception], ...]:
    """Looked for only when something went wrong: a verb that asks the API never loads what speaks to databases."""
    errors = importlib.import_module("sqlalchemy.exc")
    return (errors.DBAPIError, errors.TimeoutError)


def of_database(error: Exception) -> Refusal:
    """That the database did not answer, or broke off, and what it said: without it nobody knows which one is meant."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    sentence = f"{texts.sentence('database.failed')}（{said[0] if said else type(error).__name__}）"
    return Refusal("database.failed", sentence)


def complain(refusal: Refusal, *, as_json: bool) -> None:
    """Tell a refusal on standard error: the code first, then everything that is wrong, one a line."""
    if as_json:
        sys.stderr.write(json.dumps(refusal.body, ensure_ascii=False) + "\n")
        return
    several = len(refusal.mistakes) > 1
    lone = len(refusal.mistakes) == 1 and refusal.mistakes[0].code != refusal.code
    # A form with one mistake: its sentence stands on the mistake's own line.
    lines = [f"{refusal.code}：{texts.sentence(refusal.code, {'count': 1}) if lone else refusal.message}"]
    for mistake in refusal.mistakes[:SHOWN]:
        article = texts.article(mistake.article)
        rule = f"（{article}）" if article else ""
        if several or mistake.code != refusal.code:
            place = f"{mistake.field}：" if mistake.field else ""
            lines.append(f"  {mistake.code}：{place}{mistake.message}{rule}")
        elif mistake.field or rule:
            lines[0] += f"（{mistake.field}）" * bool(mistake.field) + rule
    total = refusal.body.get("total", len(refusal.mistakes)) if isinstance(refusal.body, dict) else 0
    if len(refusal.mistakes) > SHOWN:
        lines.append(f"  {more(total).rstrip('；')}。")
    sys.stderr.write("\n".join(lines) + "\n")
