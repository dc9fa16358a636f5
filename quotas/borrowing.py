"""Who uses whose nominal share in a cohort, and who is asked to give back. Pure.

Called by: the command line, over a cohort of ``quotas.availability``; tests. Must not: decide or take anything back:
what is lent is claimed by notice, and returns when the borrower releases it.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from quotas.values import Cohort, Limit, Loan


def borrowed(limit: Limit) -> int:
    """What a limit uses beyond its nominal share."""
    return max(0, limit.load - limit.limit)


def lendable(limit: Limit) -> int:
    """What of a nominal share is neither used nor kept back."""
    return max(0, limit.limit - limit.counted_above)


def shared(total: int, weights: Mapping[UUID, int]) -> dict[UUID, int]:
    """``total`` in whole parts, in proportion to the weights, exact: largest remainders first, then by id."""
    whole = sum(weights.values())
    if not whole:
        return {}
    parts = {key: total * weight // whole for key, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda key: (-(total * weights[key] % whole), key))
    for key in by_remainder[: total - sum(parts.values())]:
        parts[key] += 1
    return parts


def _sides(cohort: Cohort) -> tuple[dict[UUID, int], dict[UUID, int]]:
    """Borrowers and lenders with their amounts. The parent's node stands for what no member has a share of."""
    borrowers = {m.node: borrowed(m) for m in cohort.members if borrowed(m)}
    lenders = {m.node: lendable(m) for m in cohort.members if lendable(m)}
    direct = cohort.parent.load - sum(m.counted_above for m in cohort.members)
    spare = cohort.parent.limit - sum(m.limit for m in cohort.members)
    if direct > max(spare, 0):
        borrowers[cohort.parent.node] = direct - max(spare, 0)
    elif spare > direct:
        lenders[cohort.parent.node] = spare - direct
    return borrowers, lenders


def loans(cohort: Cohort) -> tuple[Loan, ...]:
    """Who borrows how much from whose share: from all who have some left, in proportion to what they have.

    Nobody records from whom a unit was taken (a counter has no colours); this rule is ours, exact in its sums: each
    borrower's loans are what it uses beyond its share, and no lender lends more than it has left.
    """
    borrowers, lenders = _sides(cohort)
    inside = min(sum(borrowers.values()), sum(lenders.values()))
    lent = shared(inside, lenders)
    taken = shared(inside, borrowers)
    found = []
    open_lenders = sorted(lent.items())
    for borrower in sorted(borrowers):
        wanted = taken.get(borrower, 0)
        while wanted:
            lender, there = open_lenders.pop()
            amount = min(wanted, there)
            if amount:
                found.append(Loan(borrower, lender, amount))
            wanted -= amount
            if there > amount:
                open_lenders.append((lender, there - amount))
        if borrowers[borrower] > taken.get(borrower, 0):
            found.append(Loan(borrower, None, borrowers[borrower] - taken.get(borrower, 0)))
    return tuple(found)


def claims(cohort: Cohort, lender: UUID, wanted: int) -> dict[UUID, int]:
    """Who is asked to give back how much so that the lender can use ``wanted`` more of its own nominal share.

    In proportion to what each has borrowed; empty when there is room, or the lender has no such share left. Where the
    cohort is over, that much more is asked for: the lender's growth passes only once nothing is. Less than it takes,
    where no more is borrowed.
    """
    own = next((m for m in cohort.members if m.node == lender), None)
    if own is None:
        return {}
    due = min(wanted, max(0, own.limit - own.load))
    beyond = due - max(0, own.guaranteed - own.load)
    missing = beyond + cohort.parent.load - cohort.parent.ceiling
    if beyond <= 0 or missing <= 0:  # growth inside a guarantee asks nobody
        return {}
    borrowers, _ = _sides(cohort)
    return {n: a for n, a in shared(min(missing, sum(borrowers.values())), borrowers).items() if a}
