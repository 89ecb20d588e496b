"""The report of a benchmark: Markdown, and a plot for what a picture says better."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.use("svg")


@dataclass
class Plot:
    """Bars by name, or lines by name of a value for each size."""

    title: str
    unit: str
    bars: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Where it is written."""
        return self.title.lower().replace(" ", "-").replace(",", "") + ".svg"

    def draw(self, folder: Path) -> None:
        """Write it as SVG."""
        figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
        if self.bars:
            axes.barh(list(self.bars), list(self.bars.values()), color="#3b6ea5")
            axes.invert_yaxis()
            axes.set_xlabel(self.unit)
            for index, value in enumerate(self.bars.values()):
                axes.text(value, index, f" {value:.0f}", va="center")
            axes.margins(x=0.1)
        for name, points in self.lines.items():
            axes.plot(list(points), list(points.values()), marker="o", label=name)
        if self.lines:
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_xlabel("actions in the plan")
            axes.set_ylabel(self.unit)
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(self.title)
        # No date, no random ids: a plot changes where its figures do.
        with mpl.rc_context({"svg.hashsalt": self.title}):
            figure.savefig(folder / self.file_name, metadata={"Date": None})
        plt.close(figure)


@dataclass
class Part:
    """A table, with notes below it."""

    title: str
    head: list[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    def row(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self.notes.append(text)

    def to_markdown(self) -> str:
        """Return the table, its notes, and references to its plots."""
        lines = [f"## {self.title}", ""]
        lines += ["| " + " | ".join(cells) + " |" for cells in (self.head, ["---"] * len(self.head), *self.rows)]
        lines += [part for note in self.notes for part in ("", note)]
        lines += [part for plot in self.plots for part in ("", f"![{plot.title}]({plot.file_name})")]
        return "\n".join(lines)


def write_report(parts: list[Part], about: str, folder: Path | None) -> str:
    """Return the report as Markdown; with a folder, write it there as README.md, with the plots beside it."""
    head = f"# Benchmarks\n\n{datetime.now(UTC):%Y-%m-%d}, {about}. `make bench` writes this."
    text = "\n\n".join([head, *(part.to_markdown() for part in parts)]) + "\n"
    if folder:
        folder.mkdir(exist_ok=True)
        (folder / "README.md").write_text(text)
        for part in parts:
            for plot in part.plots:
                plot.draw(folder)
    return text
