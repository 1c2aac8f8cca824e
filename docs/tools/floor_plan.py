"""Draw the floor plan from the real imports: the house from the ground up, and who uses whom.

make floor-plan      or      .venv/bin/python -m docs.tools.floor_plan

An arrow stands where no way through other rooms leads; the table below it holds every import. The
same code gives the same bytes; a test fails when the drawing is not what the code would draw now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from docs.tools.house import (
    FLOORS,
    STAGES,
    TOP,
    floor_of,
    package_edges,
    package_of,
    reach,
    read_modules,
)

TARGET = Path(__file__).resolve().parents[1] / "pictures" / "floor-plan.svg"
WIDTH = 1060
"""Of the drawing, px."""
MARGIN = 20
ROOM_WIDTH, ROOM_HEIGHT = 85, 60
WIDE_ROOM = 124
"""Width of a room on a floor with at most ``FEW`` of them."""
FEW = 6
PITCH = 94
"""From floor to floor, px."""
PASSAGE = 10
"""Width of the gap that lets arrows pass a floor, px."""
GAP = 8
SWEEPS = 60
"""Times that the order on each floor follows its neighbours', up and down."""
STRAIGHT = 12
"""How much more a gap keeps to the gap below or above than to a room."""
CENTRED = 2
"""How much a room keeps to the middle of the house, beside each of its neighbours."""
HEAD = 64
"""Height of the title, px."""
CELL = 17
LABELS = 166
"""Width of the table's labels of rows, and height of those of columns, px."""
SIZES = ((10, 6.0), (5, 4.6), (2, 3.4), (1, 2.2))
"""From so many imports on, the radius of a dot of the table, px."""
ROUND = 100
"""Lines are told to the nearest so many: the drawing changes when the house does."""
COLOURED = {"base", "roi", "cache", "data", "classifier"}
"""Packages with a colour of their own; the others have the application's, ``app``."""
STYLE = """
  :root { --paper: #ffffff; --ink: #1f2933; --faint: #6b7785; --line: #8793a1; --floor: #eef1f4;
    --base: #d9dee4; --roi: #cdeedd; --cache: #d3eef0; --data: #fbeecb; --classifier: #dbe4fb;
    --app: #f6dfec; }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #14181d; --ink: #e8ecf1; --faint: #9aa7b5; --line: #7f8c9b; --floor: #1e242b;
      --base: #39424c; --roi: #1f4a37; --cache: #1b474c; --data: #524319; --classifier: #293b6b;
      --app: #56304a; } }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
    fill: var(--ink); font-size: 11px; }
  .title { font-size: 20px; font-weight: 600; }
  .name { font-size: 11.5px; font-weight: 600; }
  .faint { fill: var(--faint); }
  .small { fill: var(--faint); font-size: 10px; }
  .room { stroke: var(--line); stroke-width: 1; }
  .way { fill: none; stroke: var(--line); stroke-opacity: 0.75; }
  .grid { stroke: var(--floor); stroke-width: 1; }
  .dot { fill: var(--ink); }
""".strip("\n")


@dataclass(frozen=True, slots=True)
class Room:
    """A package, or (``is_passage``) the gap through which arrows to it pass a floor."""

    package: str
    floor: int
    is_passage: bool = False

    @property
    def width(self) -> int:
        """Width in px."""
        if self.is_passage:
            return PASSAGE
        return WIDE_ROOM if len(FLOORS[self.floor]) <= FEW else ROOM_WIDTH


Way = tuple[Room, Room]


def find_ways(edges: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Return the imports without those that a way through other packages stands for."""
    direct: defaultdict[str, set[str]] = defaultdict(set)
    for one, other in edges:
        direct[one].add(other)
    reached = {p: reach(direct, p) for floor in FLOORS for p in floor}
    return {
        (one, other): count
        for (one, other), count in edges.items()
        if not any(other in reached[third] for third in direct[one] if third != other)
    }


def lead_ways(edges: Mapping[tuple[str, str], int]) -> dict[Way, int]:
    """Return the pieces of all ways, each from one floor to the next, with their imports.

    Ways to the same package share the gaps through the floors between.
    """
    pieces: Counter[Way] = Counter()
    for (one, other), count in sorted(edges.items()):
        top, ground = floor_of(one), floor_of(other)
        gaps = (Room(other, floor, is_passage=True) for floor in range(top - 1, ground, -1))
        for piece in pairwise((Room(one, top), *gaps, Room(other, ground))):
            pieces[piece] += count
    return dict(pieces)


def place_rooms(ways: Mapping[Way, int]) -> dict[Room, float]:
    """Return the middle of each room and gap in px, so that ways are short and seldom cross."""
    near: defaultdict[Room, list[Room]] = defaultdict(list)
    for one, other in ways:
        near[one].append(other)
        near[other].append(one)
    floors = [[Room(package, i) for package in floor] for i, floor in enumerate(FLOORS)]
    for room in sorted(near, key=lambda room: (room.floor, room.package)):
        if room.is_passage:
            floors[room.floor].append(room)
    middles: dict[Room, float] = {}
    for floor in floors:
        _settle(floor, middles, {})
    for sweep in range(SWEEPS):
        for floor in floors if sweep % 2 == 0 else reversed(floors):
            wished = {room: _wish(room, near[room], middles) for room in floor}
            floor.sort(key=wished.__getitem__)
            _settle(floor, middles, wished)
    return middles


def _wish(room: Room, near: Sequence[Room], middles: Mapping[Room, float]) -> float:
    pulls = [
        (middles[other], STRAIGHT if room.is_passage and other.is_passage else 1) for other in near
    ]
    if not room.is_passage:
        pulls.append((WIDTH / 2, CENTRED))
    return sum(middle * pull for middle, pull in pulls) / sum(pull for _, pull in pulls)


def _settle(floor: Sequence[Room], middles: dict[Room, float], wished: dict[Room, float]) -> None:
    """Place a floor's rooms in this order, as near to their wishes as they fit side by side."""
    starts, left = [], 0.0
    for room in floor:
        starts.append(left + room.width / 2)
        left += room.width + GAP
    length = left - GAP
    # Where each would like the floor to begin; neighbours that collide agree on their mean.
    groups: list[list[float]] = []
    for room, start in zip(floor, starts, strict=True):
        groups.append([wished.get(room, WIDTH / 2 - length / 2 + start) - start, 1])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            (one, n), (other, m) = groups[-2:]
            groups[-2:] = [[(one * n + other * m) / (n + m), n + m]]
    shifts = [shift for shift, count in groups for _ in range(int(count))]
    for room, start, shift in zip(floor, starts, shifts, strict=True):
        middles[room] = start + min(max(shift, MARGIN), WIDTH - MARGIN - length)


def render() -> str:
    """Return the drawing."""
    edges = package_edges()
    height = HEAD + len(FLOORS) * PITCH
    table = HEAD + LABELS + CELL * sum(map(len, FLOORS))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + table + MARGIN}" '
        f'role="img" aria-label="The packages of roi-cls, floor by floor, and who imports whom">',
        f"<style>\n{STYLE}\n</style>",
        '<rect width="100%" height="100%" fill="var(--paper)"/>',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.5 8 4 0 7.5z" '
        'fill="var(--line)"/></marker>',
        *_title(MARGIN + 18, "The house", "A package imports what stands below it. An arrow is "
                "left out where other arrows lead there; the thicker, the more imports."),
        *_house(edges),
        *_title(height + 38, "Who imports whom", "A row imports the columns with a dot. Left of "
                "the diagonal there is none: no package imports one that stands level or higher."),
        f'<g transform="translate({MARGIN} {height + HEAD})">',
        *_table(edges),
        "</g>",
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _title(y: int, title: str, words: str) -> Iterator[str]:
    yield f'<text class="title" x="{MARGIN}" y="{y}">{title}</text>'
    yield f'<text class="faint" x="{MARGIN}" y="{y + 19}">{words}</text>'


def _house(edges: Mapping[tuple[str, str], int]) -> Iterator[str]:
    ways = lead_ways(find_ways(edges))
    middles = place_rooms(ways)
    for floor in range(len(FLOORS)):
        y = _top(floor) + ROOM_HEIGHT + 0.5
        yield f'<path class="grid" d="M{MARGIN} {y}H{WIDTH - MARGIN}"/>'
    for (one, other), count in sorted(ways.items(), key=lambda item: _key(item[0])):
        yield _way(one, other, middles, count)
    modules, lines = Counter[str](), Counter[str]()
    for name, module in read_modules().items():
        modules[package_of(name)] += 1
        lines[package_of(name)] += module.lines
    for room, middle in sorted(middles.items(), key=lambda item: _key((item[0],))):
        if not room.is_passage:
            yield from _room(room, middle, modules[room.package], lines[room.package])


def _key(rooms: Sequence[Room]) -> list[tuple[int, str, bool]]:
    return [(room.floor, room.package, room.is_passage) for room in rooms]


def _top(floor: int) -> int:
    return HEAD + (len(FLOORS) - 1 - floor) * PITCH + (PITCH - ROOM_HEIGHT) // 2


def _way(one: Room, other: Room, middles: Mapping[Room, float], count: int) -> str:
    x, end = middles[one], middles[other]
    y, ground = _top(one.floor) + ROOM_HEIGHT, _top(other.floor)
    half = (y + ground) / 2
    straight = f"M{x:.1f} {y - ROOM_HEIGHT}V{y}" if one.is_passage else f"M{x:.1f} {y}"
    tip = "" if other.is_passage else ' marker-end="url(#tip)"'
    width = 1 + min(count, 40) ** 0.5 / 2
    curve = f"C{x:.1f} {half} {end:.1f} {half} {end:.1f} {ground}"
    return f'<path class="way" stroke-width="{width:.1f}" d="{straight}{curve}"{tip}/>'


def _room(room: Room, middle: float, modules: int, lines: int) -> Iterator[str]:
    left, top = middle - room.width / 2, _top(room.floor)
    within, _, name = room.package.rpartition(".")
    first = room.package.partition(".")[0]
    folder = within or ("" if first in STAGES else TOP)
    about = max(ROUND, round(lines / ROUND) * ROUND)
    yield (
        f'<rect class="room" x="{left:.1f}" y="{top}" width="{room.width}" '
        f'height="{ROOM_HEIGHT}" rx="3" fill="var(--{_kind(room.package)})"/>'
    )
    for y, look, text in (
        (13, "small", folder),
        (28, "name", name),
        (41, "words", f"{modules} module{'s' * (modules != 1)}"),
        (54, "faint", f"{about:,} lines"),
    ):
        yield (
            f'<text class="{look}" x="{middle:.1f}" y="{top + y}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )


def _kind(package: str) -> str:
    first = package.partition(".")[0]
    return first if first in COLOURED else "app"


def _table(edges: Mapping[tuple[str, str], int]) -> Iterator[str]:
    order = [package for floor in reversed(FLOORS) for package in floor]
    size = len(order) * CELL
    for i, package in enumerate(order):
        begin, middle = LABELS + i * CELL, LABELS + i * CELL + CELL / 2
        center = begin + CELL / 2
        yield f'<text x="{LABELS - 8}" y="{center + 4}" text-anchor="end">{package}</text>'
        yield (
            f'<text transform="translate({middle + 4} {LABELS - 8}) rotate(-90)">{package}</text>'
            f'<path class="grid" d="M{LABELS} {begin}h{size}M{begin} {LABELS}v{size}"/>'
            f'<rect x="{begin}" y="{begin}" width="{CELL}" height="{CELL}" '
            f'fill="var(--{_kind(package)})"/>'
        )
    place = {package: LABELS + i * CELL + CELL / 2 for i, package in enumerate(order)}
    for (one, other), count in sorted(edges.items()):
        radius = next(radius for least, radius in SIZES if count >= least)
        yield f'<circle class="dot" cx="{place[other]}" cy="{place[one]}" r="{radius}"/>'
    yield from _legend(LABELS + size + 2 * CELL)


def _legend(x: int) -> Iterator[str]:
    words = {1: "one import", 2: "2 to 4", 5: "5 to 9", 10: "10 and more"}
    for i, (least, radius) in enumerate(reversed(SIZES)):
        y = LABELS + CELL / 2 + i * 1.3 * CELL
        yield f'<circle class="dot" cx="{x}" cy="{y}" r="{radius}"/>'
        yield f'<text x="{x + CELL}" y="{y + 4}">{words[least]}</text>'


def main() -> None:
    """Write the drawing."""
    TARGET.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
