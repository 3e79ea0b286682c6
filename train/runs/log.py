"""What a run says of itself: `log.csv`, TensorBoard, and the learning curves as a picture."""

import csv
from pathlib import Path

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

LOG, CURVES = "log.csv", "curves.png"


class Log:
    """Lines of one fold. What an earlier process logged beyond the checkpoint's step is dropped: it comes again."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        self._rows = [row for row in read_log(folder) if row["step"] <= step]
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._folder = folder

    def write(self, row: dict[str, float]) -> None:
        """`step`, and any other named numbers. The file always holds whole lines."""
        self._rows.append(row)
        columns = list(dict.fromkeys(name for each in self._rows for name in each))
        with self._path.with_suffix(".tmp").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({name: f"{value:.9g}" for name, value in each.items()} for each in self._rows)
        self._path.with_suffix(".tmp").replace(self._path)
        for name, value in row.items():
            if name != "step":
                self._board.add_scalar(name, value, int(row["step"]))

    def draw(self) -> None:
        """Redraw the learning curves."""
        draw_curves(self._rows, self._folder / CURVES)

    def close(self) -> None:
        self._board.close()


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of `log.csv`; none when there is no such file."""
    path = folder / LOG
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """One panel a logged quantity over the steps."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("step", "epoch")))
    if not names:
        return
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    for n, name in enumerate(names):
        panel = figure.add_subplot(1, len(names), n + 1)
        shown = [row for row in rows if name in row]
        panel.plot([row["step"] for row in shown], [row[name] for row in shown])
        panel.set(xlabel="step", title=name)
    figure.savefig(path, dpi=100)
