"""What an indexed corpus should hold, as published, beside what it holds. Differences are shown, not judged."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from train.data.corpora.expressions import EXPRESSION
from train.data.corpora.index import PART, Corpus


class Published(NamedTuple):
    """Figures of the literature; empty or 0 where none is known."""

    frames: int
    subjects: int
    source: str
    parts: dict[str, int]  # frames of each part
    rates: dict[str, float]  # occurrence of each AU in per cent, AUNCE Table I


def _rates(aus: str, values: str) -> dict[str, float]:
    return {f"AU{int(au):02d}": float(value) for au, value in zip(aus.split(), values.split(), strict=True)}


PUBLISHED: dict[str, Published] = {
    "BP4D": Published(
        146_847,
        41,
        "MEGraph's and AUNCE's lists",
        {},
        _rates("1 2 4 6 7 10 12 14 15 17 23 24", "21.1 17.1 20.3 46.2 54.9 59.4 56.2 46.6 16.9 34.4 16.5 15.2"),
    ),
    "BP4D+": Published(197_756, 140, "FMAE-IAT", {}, {}),
    "DISFA": Published(
        130_814,
        27,
        "MEGraph's and AUNCE's lists",
        {},
        _rates("1 2 4 6 9 12 25 26", "5.0 4.0 15.0 8.1 4.3 13.2 27.8 8.9"),
    ),
    "DISFA+": Published(0, 9, "py-feat", {}, {}),
    "GFT": Published(
        0,
        96,
        "AUNCE, about",
        {"train": 108_000, "test": 24_600},
        _rates("1 2 4 6 10 12 14 15 23 24", "3.7 13.5 3.7 28.3 24.6 29.3 3.1 10.7 25.0 14.1"),
    ),
    "Aff-Wild2": Published(
        0,
        0,
        "AUNCE, about",
        {"train": 1_390_000, "test": 440_000},
        _rates("1 2 4 6 7 10 12 15 23 24 25 26", "11.9 5.1 16.0 26.5 39.9 34.5 24.3 2.8 3.1 2.8 62.8 7.6"),
    ),
    "RAF-DB": Published(0, 0, "RAF-DB", {"train": 12_271, "test": 3_068}, {}),
    "AffectNet": Published(0, 0, "AffectNet-8, reduced release", {"train": 287_651, "test": 3_999}, {}),
    "FERPlus": Published(
        0, 0, "FER2013, before faceless and undecided", {"train": 28_709, "validation": 3_589, "test": 3_589}, {}
    ),
}
_NOTHING = Published(0, 0, "", {}, {})


def report(corpus: Corpus, problems: list[str], notes: list[str], alignment: str) -> str:
    """Markdown: counts and rates beside the published ones, notes, and every problem by name."""
    published = PUBLISHED.get(corpus.name, _NOTHING)
    lines = [f"# {corpus.name}", "", f"Faces: {alignment}", ""]
    lines += ["| | here | published | difference |", "|---|---|---|---|"]
    lines.append(_row("frames", len(corpus.paths), published.frames))
    lines.append(_row("subjects", len(np.unique(corpus.subject)), published.subjects))
    if PART in corpus.text:
        counts = Counter(corpus.text[PART].tolist())
        names = [*published.parts, *sorted(counts.keys() - published.parts.keys())]
        lines += [_row(f"frames to {name}", counts[name], published.parts.get(name, 0)) for name in names]
    if EXPRESSION in corpus.text:
        lines += [_row(word, count, 0) for word, count in sorted(Counter(corpus.text[EXPRESSION].tolist()).items())]
    if published.source:
        lines += ["", f"Published counts: {published.source}."]
    if corpus.aus:
        lines += ["", *_rate_table(corpus, published)]
    lines += ["", "## Notes", "", *(f"- {note}" for note in notes or ["none"])]
    return "\n".join([*lines, "", f"## Problems: {len(problems)}", "", *(f"- {problem}" for problem in problems), ""])


def _rate_table(corpus: Corpus, published: Published) -> list[str]:
    """Table I of AUNCE counts what is trained on: of corpora with a partition, the training part."""
    train = corpus.text[PART] == "train" if PART in corpus.text else np.ones(len(corpus.paths), bool)
    lines = ["| | occurrence % | AUNCE Table I | difference | unknown % |", "|---|---|---|---|---|"]
    for a, au in enumerate(corpus.aus):
        labels = corpus.occurrence[train, a]
        known = labels[labels >= 0]
        here = 100 * float((known == 1).mean()) if len(known) else float("nan")
        unknown = 100 * float((labels < 0).mean()) if len(labels) else float("nan")
        wanted = published.rates.get(au)
        cells = ("", "") if wanted is None else (f"{wanted:.1f}", f"{here - wanted:+.1f}")
        lines.append(f"| {au} | {here:.1f} | {cells[0]} | {cells[1]} | {unknown:.1f} |")
    return lines


def _row(name: str, here: int, published: int) -> str:
    cells = (f"{published:,}", f"{here - published:+,}") if published else ("", "")
    return f"| {name} | {here:,} | {cells[0]} | {cells[1]} |"
