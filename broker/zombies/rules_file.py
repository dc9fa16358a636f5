"""Reads the weights and thresholds (YAML), and refuses what cannot be meant; everything that is wrong at once.

Called by: ``zombies.service``, tests. Must not: hold a number of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker.errors import Invalid, Problem
from broker.yaml_file import YamlError, read_yaml
from broker.zombies.values import Sign, Steps, Words, ZombieRules

DEFAULTS = Path(__file__).parent / "data" / "rules.yaml"

Points = Annotated[int, Field(ge=0, le=100)]
Step = tuple[Annotated[int, Field(ge=0)], Points]
Rising = Annotated[list[Step], Field(min_length=1)]
Word = Annotated[str, Field(min_length=1, max_length=40)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Words(_Part):
    words: list[Word]
    points: Points


class _Levels(_Part):
    likely: Points
    suspected: Points


class _Confidence(_Part):
    reported: Points
    reported_old: Points
    undated: Points
    measured: Points
    inventory: Points
    wording: Points
    similar: Points


class _File(_Part):
    version: Word
    basis: Literal["ours"]
    weights: dict[str, Points]
    levels: _Levels
    confidence: _Confidence
    fresh_days: Annotated[int, Field(ge=1)]
    business_age: Rising
    maintenance_age: Rising
    contract_age: Rising
    idle_days: Rising
    users: Rising
    named_replacement: Points
    similar_percent: Points
    similar: Points
    frequency: list[_Words]
    narrow: _Words
    seasonal: list[Word]

    @model_validator(mode="after")
    def _consistent(self) -> _File:
        """What is known must never count less than what is not, and longer never less than shorter."""
        if set(self.weights) != {sign.value for sign in Sign} or sum(self.weights.values()) != 100:
            raise ValueError("weights: one for each sign, together 100")
        sure = self.confidence
        if not sure.undated <= sure.reported_old <= sure.reported:
            raise ValueError("confidence: undated <= reported_old <= reported")
        if self.levels.suspected > self.levels.likely:
            raise ValueError("levels: suspected <= likely")
        for name in ("business_age", "maintenance_age", "contract_age", "idle_days"):
            if getattr(self, name) != sorted(getattr(self, name)) or _falls([p for _, p in getattr(self, name)]):
                raise ValueError(f"{name}: from and points must rise")
        if [most for most, _ in self.users] != sorted(most for most, _ in self.users) or _rises(
            [p for _, p in self.users]
        ):
            raise ValueError("users: more users, fewer points")
        return self


def _falls(points: list[int]) -> bool:
    return points != sorted(points)


def _rises(points: list[int]) -> bool:
    return points != sorted(points, reverse=True)


def read_rules(path: Path = DEFAULTS) -> ZombieRules:
    """The rules of a file. Raises Invalid ``zombie.rules`` with every mistake and its place."""
    try:
        made = _File.model_validate(_lists(read_yaml(path)))
    except YamlError as error:
        raise Invalid([Problem(error.code, path.name, params={"detail": error.detail})]) from error
    except ValidationError as error:
        raise Invalid(
            [
                Problem("zombie.rules", ".".join(str(part) for part in e["loc"]), params={"detail": e["msg"][:200]})
                for e in error.errors()
            ]
        ) from error
    return ZombieRules(
        version=made.version,
        weights={Sign(name): weight for name, weight in made.weights.items()},
        likely=made.levels.likely,
        suspected=made.levels.suspected,
        confidence=made.confidence.model_dump(),
        fresh_days=made.fresh_days,
        business_age=_steps(made.business_age),
        maintenance_age=_steps(made.maintenance_age),
        contract_age=_steps(made.contract_age),
        idle_days=_steps(made.idle_days),
        users=_steps(made.users),
        named_replacement=made.named_replacement,
        similar_percent=made.similar_percent,
        similar=made.similar,
        frequency=tuple(Words(tuple(each.words), each.points) for each in made.frequency),
        narrow=Words(tuple(made.narrow.words), made.narrow.points),
        seasonal=tuple(made.seasonal),
    )


def _steps(given: list[Step]) -> Steps:
    return tuple((least, points) for least, points in given)


def _lists(raw: object) -> object:
    """YAML knows no tuples: each step of two becomes one."""
    if not isinstance(raw, Mapping):
        return raw
    return {
        name: [tuple(each) if isinstance(each, list) else each for each in value] if isinstance(value, list) else value
        for name, value in raw.items()
    }
