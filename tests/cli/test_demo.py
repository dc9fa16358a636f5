"""``guiyun demo``: the whole road in one command, on a machine where nothing runs; and it can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.demo_broker import LABORATORY_CLOUD, laboratory_region, running_demonstration
from api.cli.demo_story import NotAsItShouldBe, Story
from api.cli.display import Terminal
from api.cli.refusal import Mistake, Refusal
from broker.region.reading import read_region

LONGEST_S = 900
"""How long a busy machine may take; nothing waits that long when all is well."""


def test_one_command_carries_a_request_down_the_whole_road(tmp_path: Path) -> None:
    """An empty home, no broker: it brings its own, walks, checks each step, and leaves nothing behind."""
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GUIYUN_")}
    environment |= {"HOME": str(home), "TMPDIR": str(scratch)}
    said = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "demo", "--json"],
        capture_output=True, text=True, timeout=LONGEST_S, check=False, env=environment, cwd=home,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["ok"] is True
    assert all(step["ok"] for step in told["steps"])
    assert [step["step"] for step in told["steps"]] == [
        "云平台就绪", "涉密申请", "申请", "自己审批自己的申请", "受理审批", "评估", "审批人下达交付", "交付", "移交",
        "计量", "申请释放", "确认释放并回收", "出账", "审计查阅", "核对",
    ]  # fmt: skip
    facts = {step["step"]: step["facts"] for step in told["steps"]}
    assert facts["计量"]["later_fen"] > facts["计量"]["first_fen"]
    assert facts["出账"]["payer"] == "崇左市"
    assert len(facts["移交"]["addresses"]) == 2
    assert list(home.iterdir()) == []
    assert list(scratch.iterdir()) == []


@pytest.fixture
def story() -> Story:
    return Story(Terminal(), silent=True)


def test_a_refusal_with_another_code_ends_the_story(story: Story) -> None:
    """That it was refused is not enough: it must be refused for the right reason."""
    with pytest.raises(NotAsItShouldBe, match=r"role\.missing"), story.step("审批"):
        story.refused(Refusal("form.invalid", "", [Mistake("field.missing", "unit", "")]), "role.missing")
    assert story.answer()["ok"] is False


def test_an_unexpected_refusal_ends_the_story_with_the_name_of_the_step(story: Story) -> None:
    """The person reads where it stopped, and why."""
    with pytest.raises(NotAsItShouldBe, match=r"交付.*state\.refused"), story.step("交付"):
        raise Refusal("state.refused", "当前状态不允许")


def test_a_home_without_demonstration_accounts_is_left_alone(tmp_path: Path) -> None:
    """A real home is never walked through, whether something runs in it or not."""
    (tmp_path / "running.json").write_text('{"GUIYUN_URL": "http://127.0.0.1:1"}')
    assert not running_demonstration(tmp_path)


def test_the_region_of_the_laboratory_is_a_region_without_secrets(tmp_path: Path) -> None:
    """Its main cloud is OpenStack, named by a reference; every check of a region file passes."""
    region = read_region(laboratory_region(tmp_path))
    main = next(cloud for cloud in region.sub_clouds if cloud.tier == "main")
    assert (main.code, main.provider, main.options_ref) == (LABORATORY_CLOUD, "openstack", LABORATORY_CLOUD)
    assert main.options == {}
    assert {rule.cloud for rule in region.home_clouds if rule.unit == "451400"} == {LABORATORY_CLOUD}
