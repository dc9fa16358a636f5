"""Files that belong together: all or none, wherever the process dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.chargeback.whole_files import together

NAMES = ("tariff.yaml", "spans.csv")


def write(out: Path, text: str) -> None:
    with together(out, NAMES) as folder:
        for name in NAMES:
            folder.joinpath(name).write_text(text)


def found(out: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in out.iterdir() if p.is_file()} if out.exists() else {}


class Killed(BaseException):
    """Stands for a process that dies."""


@pytest.mark.parametrize("call", ["fsync", "rename", "replace", "unlink"])
@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an older export", "something else"])
def test_killed_at_every_step_nothing_is_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, there: str
) -> None:
    """Old or new or none; never one file of each. A run that is not killed leaves the new ones and what was beside."""
    out = tmp_path / "deep" / "out"
    if there != "nothing":
        out.mkdir(parents=True)
    if there == "an older export":
        write(out, "old")
    if there == "something else":
        out.joinpath("note.txt").write_text("mine")
    count, at = 0, 0
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink")}

    def dying(*given: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == at:
            raise Killed
        return real[call](*given, **more)

    while True:
        at, count = at + 1, 0
        with monkeypatch.context() as patch:
            patch.setattr(os, call, dying)
            try:
                write(out, f"new {at}")
            except Killed:
                texts = {text for name, text in found(out).items() if name in NAMES}
                assert len(texts) <= 1
                continue
        break
    assert found(out) == dict.fromkeys(NAMES, f"new {at}") | ({"note.txt": "mine"} if there == "something else" else {})
    assert not [p for p in (*out.iterdir(), *tmp_path.iterdir(), *out.parent.iterdir()) if p.name.startswith(".guiyun")]


def test_an_error_while_writing_changes_nothing(tmp_path: Path) -> None:
    """What stood there before stands."""
    write(tmp_path / "out", "old")

    def break_off() -> None:
        with together(tmp_path / "out", NAMES) as folder:
            folder.joinpath(NAMES[0]).write_text("half")
            raise Killed

    with pytest.raises(Killed):
        break_off()
    assert found(tmp_path / "out") == dict.fromkeys(NAMES, "old")
