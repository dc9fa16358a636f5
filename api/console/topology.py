"""The extranet as a picture: routers from the core to the edges, sessions, a mark for each segment. Pure.

Called by: ``api.console.extranet``. Must not: read the database.

Levels stand side by side, the core on the left: a province has more counties than a screen has width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from api.console import show
from api.texts import names
from broker.delivery.segments import ExtranetMap, Segment
from broker.extranet.checks import sessions_of, top_router
from broker.extranet.fabric import vrfs_of
from broker.extranet.schema import Access, Router, Session

WIDTH, HEAD, LANE, MARK, STEP, PAD = 272, 48, 20, 15, 18, 10
"""Of the picture, in its own units: a router's box and its head, a zone's line, a mark and the way to the next."""
ACROSS, DOWN, EDGE = 72, 16, 8
IN_A_ROW = (WIDTH - 2 * PAD) // STEP
MOST = 4 * IN_A_ROW
"""So many marks a zone and router; more are a number, and rows of the table."""
_UNIT = 12
"""Arrow keys go by whole numbers: positions divided by this."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One segment."""

    x: int
    y: int
    segment: Segment
    title: str
    url: str

    @property
    def row(self) -> int:
        return self.y // _UNIT

    @property
    def column(self) -> int:
        return self.x // _UNIT


@dataclass(frozen=True, slots=True)
class Lane:
    """A zone's segments on one router; ``more`` are not drawn."""

    y: int
    zone: str
    count: int
    more: int
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Box:
    """One router."""

    x: int
    y: int
    height: int
    router: Router
    tables: int
    clouds: str
    url: str
    lanes: Sequence[Lane]
    silent: bool = False
    """The last audit heard nothing from it."""

    @property
    def row(self) -> int:
        return self.y // _UNIT

    @property
    def column(self) -> int:
        return self.x // _UNIT


@dataclass(frozen=True, slots=True)
class Line:
    """The sessions of a pair of neighbours. ``state``: up, down (one of them at least), lost (an end), or unknown."""

    path: str
    title: str
    state: str


@dataclass(slots=True)
class Picture:
    """What the template draws."""

    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    width: int = 0
    height: int = 0
    box_width: int = WIDTH
    head: int = HEAD
    mark: int = MARK
    pad: int = PAD


def url_of(router: str) -> str:
    """The page with one router's segments in the table."""
    return f"/extranet?router={router}"


def draw(found: ExtranetMap) -> Picture:
    """Each router beside the one above it; below its name the segments that are attached there, by zone."""
    picture = Picture()
    below: dict[str, list[str]] = {}
    for session in found.topology.sessions:
        below.setdefault(session.upper, []).append(session.lower)
    by_router: dict[str, list[Segment]] = {}
    for segment in found.segments:
        by_router.setdefault(segment.router, []).append(segment)
    routers = {r.name: r for r in found.topology.routers}

    def place(name: str, x: int, y: int) -> int:
        """Draw a router and all below it; returns the height they take."""
        box = _box(found, routers[name], by_router.get(name, []), (x, y))
        picture.boxes.append(box)
        picture.width = max(picture.width, x + WIDTH + EDGE)
        height = 0
        for lower in below.get(name, []):
            height += place(lower, x + WIDTH + ACROSS, y + height)
        return max(box.height + DOWN, height)

    picture.height = place(top_router(found.topology), EDGE, EDGE) - DOWN + 2 * EDGE
    picture.lines = list(_lines(found, {box.router.name: box for box in picture.boxes}))
    return picture


def _box(found: ExtranetMap, router: Router, segments: Sequence[Segment], at: tuple[int, int]) -> Box:
    x, y = at
    lanes, top = [], y + HEAD
    zones = {v.zone for v in found.topology.vrfs}
    for zone in (z for z in names.ZONES if z in zones):
        inside = [s for s in segments if s.zone == zone]
        if not inside:
            continue
        marks = [_mark(s, x + PAD + n % IN_A_ROW * STEP, top + LANE + n // IN_A_ROW * STEP) for n, s in _first(inside)]
        lanes.append(Lane(top, zone, len(inside), len(inside) - len(marks), marks))
        top += LANE + -(-len(marks) // IN_A_ROW) * STEP
    seen = {v.name for v in found.vrfs}
    return Box(
        x=x,
        y=y,
        height=top - y + (PAD // 2 if lanes else 0),
        router=router,
        tables=sum(v in seen for v in vrfs_of(found.topology, router.name)),
        clouds="、".join(found.clouds.get(a.sub_cloud, a.sub_cloud) for a in _access(found, router.name)),
        url=url_of(router.name),
        lanes=lanes,
        silent=router.name in found.looks and found.looks[router.name].silent,
    )


def _first(inside: Sequence[Segment]) -> Iterator[tuple[int, Segment]]:
    return enumerate(inside[:MOST])


def _access(found: ExtranetMap, router: str) -> Iterator[Access]:
    return (a for a in found.topology.access if a.router == router)


def _mark(segment: Segment, x: int, y: int) -> Mark:
    parts = (
        segment.prefix,
        segment.name,
        segment.unit_name,
        segment.vrf,
        show.word(segment.standing.value, "standing_segment"),
    )
    url = f"{url_of(segment.router)}#{segment.number}"
    return Mark(x, y, segment, " · ".join(part for part in parts if part), url)


def _lines(found: ExtranetMap, boxes: Mapping[str, Box]) -> Iterator[Line]:
    seen = {v.name for v in found.vrfs}
    for session in found.topology.sessions:
        upper, lower = boxes[session.upper], boxes[session.lower]
        begin, middle = upper.x + WIDTH, upper.x + WIDTH + ACROSS // 2
        path = f"M{begin} {upper.y + HEAD // 2}H{middle}V{lower.y + HEAD // 2}H{lower.x}"
        tables = [v for v in sessions_of(found.topology, session) if v in seen]
        state, down = heard(found, session, seen)
        said = f"{show.word(state, 'session')}{'：' if down else ''}{'、'.join(down)}"
        title = f"{upper.router.title} — {lower.router.title}：{'、'.join(tables)}（{said}）"
        yield Line(path, title, state)


def heard(found: ExtranetMap, session: Session, seen: set[str]) -> tuple[str, list[str]]:
    """What the last audit heard of a pair's sessions, from either end; of tables the actor may see.

    Where one end was silent and the other lost all of them, that is one thing: a router that does not answer.
    """
    ends = ((session.upper, session.lower), (session.lower, session.upper))
    looked = [(found.looks[name], other) for name, other in ends if name in found.looks]
    told = [(look, other) for look, other in looked if not look.silent]
    down = {vrf for look, other in told for vrf, name, _ in look.down if name == other}
    if len(told) < len(looked) and (not told or down >= set(sessions_of(found.topology, session))):
        return "lost", []
    down &= seen
    return "down" if down else "up" if told else "unknown", sorted(down)
