"""A region file is read as a whole, and everything that is wrong with it is said at once (``region.reading``)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from api.texts import sentence
from broker.region.reading import DEMONSTRATION, RegionError, read_region
from tests.broker.region.editing import Edit, Edited, append, drop, put


def refused(path: Path) -> set[tuple[str, str]]:
    """The codes and places of everything that is wrong; each has its sentence, and no blank of it is left open."""
    with pytest.raises(RegionError) as refusal:
        read_region(path)
    said = [sentence(problem.code, problem.params) for problem in refusal.value.problems]
    assert [each for each in said if "—" in each or "操作未能完成" in each] == []
    return {(problem.code, problem.field) for problem in refusal.value.problems}


def test_the_demonstration_region_has_the_real_shape() -> None:
    """1 main cloud, 6 industry clouds of which one is outside unified management, city clouds for 10 of 14 cities."""
    region = read_region()
    tiers = [cloud.tier for cloud in region.sub_clouds]
    kinds = [unit.kind for unit in region.units.more]
    assert (tiers.count("main"), tiers.count("industry"), tiers.count("city")) == (1, 6, 10)
    assert (kinds.count("city"), kinds.count("county")) == (14, 111)
    outside = [cloud for cloud in region.sub_clouds if not cloud.unified_management]
    assert [(cloud.code, cloud.accredited_on) for cloud in outside] == [("wjw", None)]


def test_a_city_without_a_cloud_uses_the_main_one_and_pays() -> None:
    """Art. 16(2), as rules of the region with their article."""
    region = read_region()
    homes = {rule.unit: (rule.cloud, rule.article) for rule in region.home_clouds}
    payers = {(rule.unit, rule.tier): (rule.pays, rule.article) for rule in region.payers}
    for city in ("451100", "451200", "451300", "451400"):
        assert homes[city] == ("main", "Art. 16(2)")
        assert payers[city, "main"] == (city, "Art. 16(2)")


def test_prices_are_exact() -> None:
    """A price is a decimal number from the file's text, never a binary fraction."""
    prices = {price.meter: price.price_cny for price in read_region().prices if price.side == "charge"}
    assert prices["block_gib_hdd"] == Decimal("0.35")


def test_no_secret_and_no_password_stands_in_the_file() -> None:
    """Credentials belong into the clouds file; demonstration passwords are made by the loader."""
    keys = {key.lower() for key in _keys(DEMONSTRATION.read_text(encoding="utf-8"))}
    assert not {key for key in keys if "password" in key or "secret" in key or "token" in key}


def _keys(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if ":" in line and not line.lstrip().startswith("#")]
    return [line.split(":")[0].strip(" -{") for line in lines]


BROKEN = {
    "broken.yaml": ("a: [1\n", "yaml.broken"),
    "tabs.yaml": ("a:\n\t- 1\n", "yaml.broken"),
    "twice.yaml": ("name: a\nname: b\n", "yaml.duplicate_key"),
    "deep.yaml": ("people:\n  - {login: a, unit: b, login: c}\n", "yaml.duplicate_key"),
    "alias.yaml": ("a: &x [1]\nb: [*x, *x]\n", "yaml.alias"),
    "python.yaml": ("a: !!python/object/apply:os.system [ls]\n", "yaml.broken"),
    "date.yaml": ("valid_from: 2026-02-30\n", "yaml.broken"),
    "list.yaml": ("- 1\n", "region.malformed"),
    "empty.yaml": ("", "region.malformed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_region_is_refused(tmp_path: Path, name: str) -> None:
    """Broken YAML, a key given twice, aliases, Python objects, impossible dates: a code, never a traceback."""
    text, code = BROKEN[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert {found for found, _ in refused(path)} == {code}


def test_a_broken_file_names_the_line(tmp_path: Path) -> None:
    """An operator is sent to the place."""
    path = tmp_path / "region.yaml"
    path.write_text("name: a\nzones: []\nname: b\n", encoding="utf-8")
    with pytest.raises(RegionError) as refusal:
        read_region(path)
    problem = refusal.value.problems[0]
    assert (problem.code, problem.params["line"], problem.params["detail"]) == ("yaml.duplicate_key", 3, "name")


def test_bytes_that_are_not_utf8_and_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    """Neither is parsed."""
    path = tmp_path / "region.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    assert {code for code, _ in refused(path)} == {"yaml.not_utf8"}
    path.write_bytes(b"#" * (5 * 1024 * 1024))
    assert {code for code, _ in refused(path)} == {"yaml.too_large"}
    assert {code for code, _ in refused(tmp_path / "absent.yaml")} == {"yaml.unreadable"}


CORES = ("sub_clouds", 0, "capacity", "compute", "x86_64", "cores")
PERSON = {"login": "new.person", "name": "新用户", "unit": "jyt", "roles": ["applicant"]}

WRONG: dict[str, tuple[Edit, str, str]] = {
    "negative size": (put(*CORES, value=-1), "region.too_small", "sub_clouds[0].capacity.compute.x86_64.cores"),
    "absurd size": (put(*CORES, value=10**12), "region.too_large", "sub_clouds[0].capacity.compute.x86_64.cores"),
    "size as text": (put(*CORES, value="many"), "region.wrong_type", "sub_clouds[0].capacity.compute.x86_64.cores"),
    "fraction of a core": (put(*CORES, value=1.5), "region.wrong_type", "sub_clouds[0].capacity.compute.x86_64.cores"),
    "negative quota": (put("quotas", 0, "limits", "vcpu", value=-1), "region.too_small", "quotas[0].limits.vcpu"),
    "unlimited as -1": (
        put("quotas", 0, "limits", "ipv6_64", value=-1),
        "region.too_small",
        "quotas[0].limits.ipv6_64",
    ),
    "price as a float": (put("prices", 0, "price_cny", value=0.35), "region.wrong_type", "prices[0].price_cny"),
    "negative price": (put("prices", 0, "price_cny", value="-1"), "region.too_small", "prices[0].price_cny"),
    "price that is none": (put("prices", 0, "price_cny", value="viel"), "region.malformed", "prices[0].price_cny"),
    "missing section": (drop("zones"), "region.missing", "zones"),
    "unknown section": (put("clowds", value=[]), "region.unknown_field", "clowds"),
    "unknown tier": (put("sub_clouds", 0, "tier", value="edge"), "region.unknown_value", "sub_clouds[0].tier"),
    "MLPS level 6": (put("sub_clouds", 0, "mlps_level", value=6), "region.too_large", "sub_clouds[0].mlps_level"),
    "unknown role": (put("people", 0, "roles", value=["king"]), "region.malformed", "people[0].roles[0]"),
    "system as a role": (put("people", 0, "roles", value=["system"]), "region.unknown_value", "people[0].roles"),
    "unknown unit": (put("people", 0, "unit", value="nowhere"), "region.unknown_unit", "people[0].unit"),
    "unknown payer": (put("payers", 0, "pays", value="nobody"), "region.unknown_unit", "payers[0].pays"),
    "unknown cloud": (put("home_clouds", 0, "cloud", value="sky"), "region.unknown_cloud", "home_clouds[0].cloud"),
    "unknown image": (put("sub_clouds", 0, "images", value=["dos-6"]), "region.unknown_image", "sub_clouds[0].images"),
    "unknown deputy": (put("deputies", 0, "by", value="nobody"), "region.unknown_person", "deputies[0].by"),
    "login twice": (append("people", {**PERSON, "login": "admin"}), "region.twice", "people"),
    "password in the file": (
        append("people", {**PERSON, "password": "x"}),
        "region.unknown_field",
        "people[34].password",
    ),
    "secret option": (
        put("sub_clouds", 0, "options", value={"password": "x"}),
        "region.secret",
        "sub_clouds[0].options.password",
    ),
    "secret in an address": (
        put("sub_clouds", 0, "options", value={"endpoint": "https://me:pass@cloud.example"}),
        "region.secret",
        "sub_clouds[0].options.endpoint",
    ),
    "who approves delivers": (
        append("people", {**PERSON, "roles": ["approver", "operator"]}),
        "region.duties_together",
        "people[34].roles",
    ),
    "one unit decides and delivers": (
        put("sub_clouds", 0, "authorities", 0, "delivers", value="dsjfzj"),
        "region.same_authority",
        "sub_clouds[0].authorities[0]",
    ),
    "no main cloud": (put("sub_clouds", 0, "tier", value="industry"), "region.one_main_cloud", "sub_clouds"),
    "two clouds of a city": (
        put("sub_clouds", 8, "division", value="450100"),
        "region.two_clouds",
        "sub_clouds[7].division",
    ),
    "city cloud of a county": (
        put("sub_clouds", 8, "division", value="450102"),
        "region.city_needed",
        "sub_clouds[8].division",
    ),
    "home cloud not accredited": (
        append("home_clouds", {"unit": "wjw", "cloud": "wjw", "article": ""}),
        "region.not_accredited",
        "home_clouds[20]",
    ),
    "home cloud of another city": (
        append("home_clouds", {"unit": "450203", "cloud": "city-450100", "article": "", "from": date(2024, 1, 1)}),
        "region.other_city",
        "home_clouds[20]",
    ),
    "city that does not pay": (drop("payers", 27), "region.city_must_pay", "payers"),
    "nobody pays for a tier": (drop("payers", 0), "region.no_payer", "payers"),
    "meter without a price": (drop("prices", 0), "region.no_price", "prices"),
    "offered without capacity": (
        drop("sub_clouds", 0, "capacity", "compute", "aarch64"),
        "region.no_capacity",
        "sub_clouds[0].capacity.compute",
    ),
    "image of another architecture": (
        put("sub_clouds", 11, "images", value=["kylin-v10-aarch64"]),
        "region.image_arch",
        "sub_clouds[11].images",
    ),
    "older than the region": (put("payers", 0, "from", value=date(2018, 1, 1)), "region.too_early", "payers[0].from"),
    "absurdly far ahead": (put("prices", 0, "from", value=date(2999, 1, 1)), "region.too_late", "prices[0].from"),
    "deputy that ends before it begins": (
        put("deputies", 0, "to", value=date(2025, 1, 1)),
        "region.order",
        "deputies[0].to",
    ),
    "own deputy": (put("deputies", 0, "by", value="approve.1"), "region.own_deputy", "deputies[0]"),
    "deputy for a role nobody has": (
        put("deputies", 0, "role", value="audit"),
        "region.role_missing",
        "deputies[0].role",
    ),
    "zone outside the space": (
        put("ipv6", "zones", 0, "prefix", value="2001:db8::/32"),
        "region.outside",
        "ipv6.zones[0].prefix",
    ),
    "zones that overlap": (
        put("ipv6", "zones", 1, "prefix", value="3fff:100::/24"),
        "region.overlap",
        "ipv6.zones[1].prefix",
    ),
    "private plan outside unique local space": (
        put("ipv6", "private", 0, "prefix", value="3fff:900::/48"),
        "region.not_local",
        "ipv6.private[0].prefix",
    ),
    "private plan of nobody": (
        put("ipv6", "private", 0, "unit", value="moon"),
        "region.unknown_unit",
        "ipv6.private[0].unit",
    ),
    "prefix with host bits": (
        put("ipv6", "zones", 0, "prefix", value="3fff:100::1/24"),
        "region.malformed",
        "ipv6.zones[0].prefix",
    ),
    "no room for blocks": (put("ipv6", "levels", 1, "length", value=36), "region.no_room", "ipv6.levels"),
    "unit that is its own parent": (
        put("units", "changes", value=[{"unit": "jyt-jwc", "from": date(2025, 1, 1), "parent": "jyt-jwc"}]),
        "region.circle",
        "units.changes.jyt-jwc",
    ),
    "county below a department": (
        put("units", "changes", value=[{"unit": "450102", "from": date(2025, 1, 1), "parent": "jyt"}]),
        "region.wrong_parent",
        "units.changes.450102.450102",
    ),
    "block given twice": (put("units", "more", 0, "block", value="01"), "region.block_taken", "units.gat-kjxx.block"),
    "block that is reserved": (
        put("units", "more", 0, "block", value="00"),
        "region.block_reserved",
        "units.gat-kjxx.block",
    ),
    "discount of nothing": (put("prices", 0, "discount", value=0), "region.too_small", "prices[0].discount"),
    "nine decimals": (
        put("prices", 0, "price_cny", value="0.123456789"),
        "region.too_many_decimals",
        "prices[0].price_cny",
    ),
    "price on no cloud": (put("prices", 0, "cloud", value="nowhere"), "region.unknown_cloud", "prices[0].cloud"),
    "table that is not there": (put("units", "files", value=["other.csv"]), "yaml.unreadable", "other.csv"),
    "table elsewhere": (put("units", "files", value=["../x.csv"]), "region.malformed", "units.files[0]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_a_code_and_a_place(edited: Edited, name: str) -> None:
    """One mistake in the demonstration region: its code, and where it stands."""
    edit, code, place = WRONG[name]
    assert (code, place) in refused(edited(edit))


def test_without_a_table_nothing_else_is_judged_by_it(edited: Edited) -> None:
    """Else nearly every unit of the file would be an unknown one."""
    assert refused(edited(put("units", "files", value=["other.csv"]))) == {("yaml.unreadable", "other.csv")}


def test_everything_that_is_wrong_is_said_at_once(edited: Edited) -> None:
    """An operator corrects a file once, not once for each mistake."""
    found = refused(
        edited(
            put(*CORES, value=-1),
            put("people", 0, "roles", value=["king"]),
            put("quotas", 1, "limits", "gold", value=1),
            put("people", 1, "email", value="zhang@例子.cn"),
            put("people", 2, "email", value="foo@"),
        )
    )
    assert len(found) == 5
    assert {place for _, place in found} >= {"people[1].email", "people[2].email"}
    found = refused(edited(put("people", 0, "unit", value="x"), put("payers", 0, "pays", value="y"), drop("prices", 0)))
    assert {code for code, _ in found} >= {"region.unknown_unit", "region.no_price"}
    assert len(found) == 3


def test_a_mistake_in_a_table_is_named_by_its_line(edited: Edited, tmp_path: Path) -> None:
    """Rows of the tables are checked like those of the file."""
    path = edited()
    table = tmp_path / "departments.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace("department", "ministry")
    table.write_text("\n".join(lines), encoding="utf-8")
    assert ("region.unknown_value", "departments.csv:4.kind") in refused(path)
    table.write_text("code,name\n", encoding="utf-8")
    assert ("region.missing", "departments.csv") in refused(path)


def test_a_region_of_another_format_is_refused(edited: Edited) -> None:
    """A later format is not half understood."""
    assert refused(edited(put("format", value="guiyun-region/9"))) == {("region.unknown_value", "format")}
