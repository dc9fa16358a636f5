"""The suite's command-line option. A plugin of its own: ``--pyargs`` reads a package's conftest too late for it.

Loaded by: pytest, with ``-p``. Must not: import anything but pytest.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guiyun", "conformance of a Guiyun network provider")
    group.addoption("--network", metavar="MODULE:FUNCTION", help="gives a context manager of a Site")
