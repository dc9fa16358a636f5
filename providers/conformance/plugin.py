"""The suite's command-line options. A pytest plugin, because ``--pyargs`` reads a package's conftest too late for them.

Loaded by: pytest, through the entry point group ``pytest11``. Must not: import anything but pytest, since it is loaded
in every test run of an environment in which this package is installed.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guiyun", "conformance of a Guiyun provider")
    group.addoption("--provider", metavar="NAME", help="adapter to test: an entry point's name, or module:factory")
    group.addoption("--provider-options", metavar="FILE", help="YAML file with the adapter's options")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*what): kinds or capabilities without which a conformance test is skipped"
    )
