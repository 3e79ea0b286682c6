"""Print a table of `rtau process` in the terminal: `python tools/show_table.py aus.csv`."""

import csv
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtau.facs import CATALOGUE

_WIDTH = 8  # characters of a bar at intensity 5


def bar(intensity: float) -> Text:
    """Intensity 0-5 as a bar; bright where the AU is present."""
    filled = round(intensity / 5 * _WIDTH)
    style = "bold yellow" if intensity >= 1 else "dim"
    return Text("█" * filled + "·" * (_WIDTH - filled) + f" {intensity:.1f}", style)


def shown(rows: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    """At most `count` rows, evenly spread."""
    step = max((len(rows) - 1) / max(count - 1, 1), 1)
    return [rows[round(i * step)] for i in range(min(count, len(rows)))]


@click.command()
@click.argument("path", metavar="CSV", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(1), default=12, show_default=True, help="Rows to print.")
@click.option("--aus", type=click.IntRange(1), default=6, show_default=True, help="AUs to print, the liveliest ones.")
def main(path: Path, rows: int, aus: int) -> None:
    """Print some rows of CSV, evenly spread over time."""
    with path.open(encoding="utf-8") as file:
        data = list(csv.DictReader(file))
    faces = [row for row in data if row.get("track_id")]
    estimated = [au for au in CATALOGUE if faces and faces[0].get(f"{au.column}_r")]

    def liveliness(column: str) -> float:
        return max(float(row[f"{column}_r"]) for row in faces)

    chosen = sorted(sorted(estimated, key=lambda au: -liveliness(au.column))[:aus])
    table = Table(title=f"{path.name}: {len(data)} rows, {len(estimated)} Action Units, intensity 0-5")
    for name in ("time s", "track", "box", "pitch\nyaw roll"):
        table.add_column(name, justify="right", no_wrap=True)
    for au in chosen:
        table.add_column(f"{au.column}\n" + au.name.replace(" ", "\n"), no_wrap=True)
    for row in shown(data, rows):
        if not row.get("track_id"):
            table.add_row(f"{float(row['pts_s']):.2f}", row.get("reason", ""))
            continue
        box = " ".join(f"{float(row[name]):.0f}" for name in ("x0", "y0", "x1", "y1"))
        pose = " ".join(f"{float(row[name]):.0f}°" for name in ("pitch_deg", "yaw_deg", "roll_deg"))
        bars = [bar(float(row[f"{au.column}_r"])) for au in chosen]
        table.add_row(f"{float(row['pts_s']):.2f}", row["track_id"], box, pose, *bars)
    console = Console()
    console.width = max(console.width, 150)
    console.print(table)


if __name__ == "__main__":
    main()
