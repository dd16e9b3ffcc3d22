"""Tables and figures of the document, as Markdown and SVG."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which the colour-blind can tell apart."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats get two decimals."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def share(part: float, whole: float) -> str:
    """`0.95 (19 of 20)`, or a dash where there is nothing to be right about."""
    return f"{part / whole:.2f} ({part:.0f} of {whole:.0f})" if whole else "-"


def section(title: str, *, paper: str, ours: str, shown: str) -> str:
    """One experiment: what the paper reports, then what came out here and how, then the table or figure."""
    return f"## {title}\n\n**The paper.** {paper}\n\n**Here.** {ours}\n\n{shown}"


def panels(titles: Sequence[str], *, across: str, up: str, width: float = 3.2) -> tuple[Figure, list[Axes]]:
    """Empty panels side by side that share their upward axis; the labels of axes name units."""
    figure = Figure(figsize=(width * len(titles), 2.8), layout="constrained")
    axes = list(figure.subplots(1, len(titles), sharey=True, squeeze=False)[0])
    for place, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(across)
        axis.grid(visible=True, linewidth=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if place == 0:
            axis.set_ylabel(up)
    return figure, axes


def lines(axis: Axes, across: Sequence[float], series: Mapping[str, Sequence[float]]) -> None:
    """One line with its own colour and mark for each name."""
    for place, (name, values) in enumerate(series.items()):
        colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
        axis.plot(across, values, label=name, color=colour, marker=mark, markersize=4, linewidth=1.2)


def saved(figure: Figure, folder: Path, name: str, *, alt: str) -> str:
    """Writes `folder/figures/<name>.svg`, the same bytes for the same figure, and gives the Markdown that shows it."""
    path = folder / "figures" / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure.savefig(path, metadata={"Date": None})
    return f"![{alt}](figures/{name}.svg)\n"


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
