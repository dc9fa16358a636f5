"""The command ``guiyun``: finds the module that has a verb, imports only that one, and runs it.

Called by: the console script and ``python -m api.cli.main``. Must not: do anything itself. A new verb is one line in
``VERBS`` and a module with a Typer ``app`` that has a command (or a group) of that name.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated

import typer

from broker.embedded.spawn import EmbeddedError

VERBS = {
    "up": "api.cli.up",
    "serve": "api.cli.serve",
    "work": "api.cli.work",
    "db": "api.cli.db",
    "rate": "api.cli.rate",
    "audit": "api.cli.audit",
    "quota": "api.cli.quota",
    "ipv6": "api.cli.ipv6",
    "bill": "api.cli.bill",
    "calendar": "api.cli.workdays",
    "demo": "api.cli.demo",
    "demo-past": "api.cli.demo_past",
    "doctor": "api.cli.doctor",
    "reconcile": "api.cli.reconcile",
    "utilisation": "api.cli.utilisation",
    "idle": "api.cli.idle",
    "reclaim": "api.cli.reclaim",
    "sendings": "api.cli.sendings",
    "extranet": "api.cli.extranet",
    "systems": "api.cli.systems",
    "usage": "api.cli.usage",
    "zombies": "api.cli.zombies",
    "networks": "api.cli.networks",
    **dict.fromkeys(("login", "logout", "whoami"), "api.cli.account"),
    **dict.fromkeys(("apply", "list", "withdraw"), "api.cli.requests"),
    "show": "api.cli.show",
    **dict.fromkeys(("approve", "return", "refuse", "assess"), "api.cli.decisions"),
    **dict.fromkeys(("deliver", "desk", "retry", "adopt", "give-up", "release", "secret"), "api.cli.deliveries"),
    **dict.fromkeys(("resources", "clouds", "statements", "notices"), "api.cli.registers"),
}
"""Verb -> module. Only the module of the verb that is asked for is imported, which keeps the command quick."""
QUICK = {"idle scan": "api.cli.idle_scan"}
"""Verbs of two words with a module of their own, which loads less than that of the first word."""


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's shape of an option's callback
    if wanted:
        typer.echo(f"guiyun {version('guiyun')}")
        raise typer.Exit


def _common(
    *,
    show: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="显示版本")] = False,
) -> None:
    """Options before a verb."""


def build(modules: Iterable[str]) -> typer.Typer:
    """The command line with the verbs of ``modules``."""
    root = typer.Typer(
        name="guiyun", help="桂云：自治区政务云统筹平台", no_args_is_help=True, pretty_exceptions_enable=False
    )
    root.callback()(_common)
    for module in modules:
        root.add_typer(importlib.import_module(module).app)
    return root


def main() -> None:
    """Run the verb on the command line; exit 0 done, 1 refused, 2 wrong usage."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    module = QUICK.get(" ".join(words[:2])) or VERBS.get(words[0] if words else "")
    modules = [module] if module else sorted(set(VERBS.values()))
    try:
        gc.disable()  # what is imported stays: to look meanwhile for what could be thrown away would take a fifth more
        root = build(modules)
        gc.freeze()
        gc.enable()
        root()
    except EmbeddedError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
