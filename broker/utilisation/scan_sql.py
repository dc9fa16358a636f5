"""The SQL of a scan: what is added up per resource and day, and which days match.

Called by: ``utilisation.scan``. Must not: execute anything.

One aggregate a figure, whatever policies ask for it. The 95th percentile (nearest rank) needs no sorting: of n samples
it is the ceil(0.95 n)-th smallest, which is below x just if at least that many are: 20 * count(v < x) >= 19 * n.
A mean is compared as sum against limit * n, with a relative tolerance of 1e-12: adding floats in another order must not
turn a mean that equals the limit into one below it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from broker.utilisation.values import AllOf, Condition, Daily, MissingDay, Policy, When, conditions

TOLERANCE = "1e-12"


@dataclass(frozen=True, slots=True)
class Plan:
    """SQL per (resource, day). ``aggregates``: name -> expression over its samples.

    ``matches``: for each policy, does the day match. ``measured``: for those that skip a missing day, has it enough
    samples (where a missing day breaks, it and a day that does not match are the same). ``told``: for each policy, do
    the day's samples tell whether it matches (enough of them, and none of the metrics that decide is missing).
    ``figures``: the daily figure of each condition, in the order of ``leaves``.
    """

    aggregates: Mapping[str, str]
    measured: Mapping[int, str]
    matches: Sequence[str]
    told: Sequence[str]
    leaves: Sequence[Condition]
    figures: Sequence[str]


def plan(policies: Sequence[Policy], gaps: Collection[str]) -> Plan:
    """What to compute for these policies. ``gaps``: the metrics that lack a value in some row."""
    aggregates: dict[str, str] = {"n": "count(*)"}
    leaves = list(dict.fromkeys(leaf for policy in policies for leaf in conditions(policy.when)))
    builder = _Builder(aggregates, frozenset(gaps))
    figures = [builder.figure(leaf) for leaf in leaves]
    enough = [f"n >= {policy.min_samples_per_day}" for policy in policies]
    holds = [builder.holds(policy.when) for policy in policies]
    matches = [f"{needed} AND coalesce({each}, false)" for each, needed in zip(holds, enough, strict=True)]
    told = [f"{needed} AND ({each}) IS NOT NULL" for each, needed in zip(holds, enough, strict=True)]
    skipping = {i: enough[i] for i, policy in enumerate(policies) if policy.missing_day is MissingDay.SKIP}
    return Plan(aggregates, skipping, matches, told, leaves, figures)


@dataclass(frozen=True, slots=True)
class _Builder:
    aggregates: dict[str, str]
    gaps: frozenset[str]

    def holds(self, when: When) -> str:
        """NULL where a metric that decides has no value."""
        if isinstance(when, Condition):
            return self._condition(when)
        word = " AND " if isinstance(when, AllOf) else " OR "
        return "(" + word.join(self.holds(part) for part in when.parts) + ")"

    def figure(self, leaf: Condition) -> str:
        """The figure that is shown; for a p95 the share of samples on the right side of the limit."""
        match leaf.daily:
            case Daily.P95:
                counted = self._low(leaf.metric, leaf.below, "<") if leaf.below is not None else self._above(leaf)
                return f"CAST({counted} AS FLOAT) / nullif({self._count(leaf.metric)}, 0)"
            case Daily.MEAN:
                return f"CAST({self._add('sum', leaf.metric)} / nullif({self._count(leaf.metric)}, 0) AS FLOAT)"
            case other:
                return f"CAST({self._add(other.value, leaf.metric)} AS FLOAT)"

    def _condition(self, leaf: Condition) -> str:
        if leaf.daily is Daily.P95:
            n = self._count(leaf.metric)
            n = n if n == "n" else f"nullif({n}, 0)"
            parts = []
            if leaf.below is not None:
                parts.append(f"20 * {self._low(leaf.metric, leaf.below, '<')} >= 19 * {n}")
            if leaf.above is not None:
                parts.append(f"20 * {self._above(leaf)} < 19 * {n}")
            return "(" + " AND ".join(parts) + ")"
        value = self._add("sum" if leaf.daily is Daily.MEAN else leaf.daily.value, leaf.metric)
        times = f" * {self._count(leaf.metric)}" if leaf.daily is Daily.MEAN else ""
        exact = leaf.daily in {Daily.MAX, Daily.MIN}
        low, high = ("", "") if exact else (f" * (1 - {TOLERANCE})", f" * (1 + {TOLERANCE})")
        parts = []
        if leaf.below is not None:
            parts.append(f"{value} < {_number(leaf.below)}{times}{low}")
        if leaf.above is not None:
            parts.append(f"{value} > {_number(leaf.above)}{times}{high}")
        return "(" + " AND ".join(parts) + ")"

    def _above(self, leaf: Condition) -> str:
        assert leaf.above is not None
        return self._low(leaf.metric, leaf.above, "<=")

    def _low(self, metric: str, limit: Decimal, sign: str) -> str:
        name = f"low_{metric}_{'e' if sign == '<=' else 't'}_{format(limit, 'f').replace('.', '_').replace('-', 'm')}"
        self.aggregates[name] = f"count_if({metric} {sign} {_number(limit)})"
        return name

    def _count(self, metric: str) -> str:
        if metric not in self.gaps:
            return "n"
        self.aggregates[f"n_{metric}"] = f"count({metric})"
        return f"n_{metric}"

    def _add(self, function: str, metric: str) -> str:
        self.aggregates[f"{function}_{metric}"] = f"{function}({metric})"
        return f"{function}_{metric}"


def _number(limit: Decimal) -> str:
    return f"CAST({format(limit, 'f')} AS DOUBLE)"
