"""The verdicts as a chart: an SVG file that needs nothing but a browser. Pure.

Two kinds of goals have a panel each: ratios that are to be reached, and bounds that are to be kept,
these as a part of the bound. A bar's colour is not needed to read it: the verdict is written beside
it. The colours are two of Okabe and Ito's, which the colour-blind tell apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final

from bench.report import number
from bench.verdicts import Verdict

WIDTH: Final = 1080
_LEFT: Final = 24
_BARS_AT: Final = 380
_BARS_WIDTH: Final = 300
_FIGURES_AT: Final = _BARS_AT + _BARS_WIDTH + 16
_VERDICT_AT: Final = WIDTH - _LEFT
_ROW: Final = 26
_BAR: Final = 14
_LONGEST_BAR: Final = 2.0
"""Of a panel, in ratios: what is beyond it is cut off, and says so."""

_MET: Final = "#0072b2"
_NOT_MET: Final = "#d55e00"
_NO_GOAL: Final = "#8c8c8c"
_INK: Final = "#1a1a1a"
_FAINT: Final = "#595959"
_GRID: Final = "#d9d9d9"
_FONT: Final = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    length: float
    goal: float | None
    figures: str
    bound: str
    is_met: bool | None
    word: str


def chart(title: str, subtitle: Sequence[str], found: Sequence[Verdict]) -> str:
    """The text of the SVG file."""
    shown = [verdict for verdict in found if _is_ratio(verdict) or _is_bound(verdict)]
    parts = [_text(_LEFT, 38, title, size=19, weight="bold")]
    y = 60
    for line in subtitle:
        parts.append(_text(_LEFT, y, line, size=12, fill=_FAINT))
        y += 18
    y += 8
    parts += _legend(y)
    y += 22
    for heading, members in groupby(shown, _panel):
        bars = [_ratio_bar(v) if _is_ratio(v) else _bound_bar(v) for v in members]
        lines, y = _panel_of(heading, bars, y)
        parts += lines
    height = y + 8
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
            f'width="{WIDTH}" height="{height}" role="img" font-family="{_FONT}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        )
    )


def in_panels(found: Iterable[Verdict]) -> list[Verdict]:
    """The same in the order of their panels."""
    return sorted(found, key=lambda verdict: _PANELS.index(_panel(verdict)))


_PANELS: Final = (
    "Rates over HTTP, as a ratio to the reference: longer is better",
    "Rates with 10,000,000 events in the table, as a ratio to 100,000: longer is better",
    "Rates over HTTP, as a ratio to another store in its own process: longer is better",
    "Latency and memory, as a part of what is allowed: shorter is better",
    "",
)


def _panel(verdict: Verdict) -> str:
    if _is_bound(verdict):
        return _PANELS[3]
    if not _is_ratio(verdict):
        return _PANELS[4]
    if verdict.work == "size":
        return _PANELS[1]
    return _PANELS[2] if verdict.figure.startswith("beside ") else _PANELS[0]


def _is_ratio(verdict: Verdict) -> bool:
    """Something to be reached; or a rate for which nothing is wanted."""
    goal = verdict.goal
    return verdict.ratio is not None and (goal is None or (goal.of_ratio and goal.sign == "≥"))


def _is_bound(verdict: Verdict) -> bool:
    return verdict.goal is not None and verdict.goal.sign in "<≤"


def _ratio_bar(verdict: Verdict) -> _Bar:
    assert verdict.ratio is not None
    assert verdict.reference is not None
    figures = f"{number(verdict.value)} / {number(verdict.reference)} {verdict.unit}"
    return _Bar(
        verdict.label,
        verdict.ratio,
        None if verdict.goal is None else verdict.goal.bound,
        f"{verdict.ratio:.2f} = {figures}",
        "" if verdict.goal is None else f"{verdict.goal.sign} {verdict.goal.bound:g}",
        verdict.is_met,
        verdict.word,
    )


def _bound_bar(verdict: Verdict) -> _Bar:
    goal = verdict.goal
    assert goal is not None
    compared = goal.compared(verdict.value, verdict.reference)
    unit = "" if goal.of_ratio else f" {verdict.unit}"
    figure = f"{compared:.2f}" if goal.of_ratio else number(compared)
    return _Bar(
        verdict.label,
        compared / goal.bound,
        1.0,
        f"{figure}{unit}",
        f"{goal.sign} {goal.bound:g}{unit}",
        verdict.is_met,
        verdict.word,
    )


def _panel_of(heading: str, bars: Sequence[_Bar], top: int) -> tuple[list[str], int]:
    """Its lines, and where it ends."""
    longest = max(1.0, *(max(bar.length, bar.goal or 0.0) for bar in bars))
    longest = min(longest * 1.05, _LONGEST_BAR)
    step = 0.25 if longest <= 1.3 else 0.5
    bottom = top + 34 + len(bars) * _ROW
    parts = [_text(_LEFT, top + 18, heading, size=13, weight="bold")]
    for index in range(int(longest / step) + 1):
        x = _x(index * step, longest)
        parts.append(_line(x, top + 30, bottom, _GRID, 1))
        parts.append(_text(x, bottom + 13, f"{index * step:g}", size=10, fill=_FAINT, at="middle"))
    for index, bar in enumerate(bars):
        parts += _row(bar, longest, top + 32 + index * _ROW)
    return parts, bottom + 28


def _row(bar: _Bar, longest: float, top: int) -> list[str]:
    colour = {True: _MET, False: _NOT_MET, None: _NO_GOAL}[bar.is_met]
    base, end = top + 18, _x(min(bar.length, longest), longest)
    shape = f'x="{_BARS_AT}" y="{top + 6}" width="{end - _BARS_AT:.1f}" height="{_BAR}"'
    parts = [
        _text(_BARS_AT - 12, base, bar.label, size=12, at="end"),
        f'<rect {shape} fill="{colour}"/>',
    ]
    if bar.length > longest:
        parts.append(
            f'<path d="M {end:.1f} {top + 3} l 8 10 l -8 10 z" fill="{colour}"/>',
        )
    if bar.goal is not None:
        # White around it: it is seen upon a bar too.
        x = _x(min(bar.goal, longest), longest)
        parts.append(_line(x, top + 1, top + _ROW - 1, "#ffffff", 6))
        parts.append(_line(x, top + 1, top + _ROW - 1, _INK, 2.5))
    weight = "bold" if bar.is_met is False else "normal"
    parts.append(_text(_FIGURES_AT, base, bar.figures, size=12))
    parts.append(_text(_VERDICT_AT - 84, base, bar.bound, size=12, fill=_FAINT, at="end"))
    parts.append(_text(_VERDICT_AT, base, bar.word, size=12, fill=colour, weight=weight, at="end"))
    return parts


def _legend(y: int) -> list[str]:
    parts = []
    for x, colour, text in (
        (_LEFT, _MET, "goal met"),
        (_LEFT + 104, _NOT_MET, "goal not met"),
        (_LEFT + 232, _NO_GOAL, "no goal set"),
    ):
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="10" fill="{colour}"/>')
        parts.append(_text(x + 20, y + 10, text, size=12, fill=_FAINT))
    parts.append(_line(_LEFT + 360, y - 3, y + 13, _INK, 2.5))
    parts.append(_text(_LEFT + 370, y + 10, "goal", size=12, fill=_FAINT))
    busy = "? others kept the machine busy meanwhile"
    parts.append(_text(_LEFT + 440, y + 10, busy, size=12, fill=_FAINT))
    return parts


def _x(length: float, longest: float) -> float:
    return _BARS_AT + length / longest * _BARS_WIDTH


def _line(x: float, top: float, bottom: float, colour: str, width: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    fill: str = _INK,
    weight: str = "normal",
    at: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{at}">{escape(text)}</text>'
    )
