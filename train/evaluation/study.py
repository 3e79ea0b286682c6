"""Methods side by side on one corpus and one budget: ROC-AUC and F1 with intervals over subjects, paired differences.

AUC leads: where AUs are rare and labels wrong, a probability seldom reaches the 0.5 of the papers' F1.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from train.metrics import Float, confusion, interval, resampled_auc, resampled_f1
from train.runs.config import RunConfig, read_config
from train.runs.report import mean, per_au
from train.runs.run import OWN, PREDICTIONS, Result, made_by, read_results, read_run

WAY = "honest_selected"  # of evaluation: the linear probe, for all methods alike


class Comparison(NamedTuple):
    """One question of a study: does `with_it` do better than `without`?"""

    what: str
    with_it: str  # names of recipes
    without: str
    published: str = ""  # what the paper reports for its own data


class Study(NamedTuple):
    """A folder of recipes, and what is asked of them."""

    title: str
    folder: Path
    comparisons: tuple[Comparison, ...]


SYNTH = Study(
    "Rendered faces, DISFA's occurrence rates, one training label in ten wrong",
    Path(__file__).parents[2] / "configs" / "train" / "synth",
    (
        Comparison("WCE against what it starts from", "wce", "start"),
        Comparison("AUNCE (code) against what it starts from", "aunce_official", "start"),
        Comparison("weights w: B - A", "components_b", "components_a", "+0.9"),
        Comparison("positive sampling: C - B", "components_c", "components_b", "+2.8"),
        Comparison("negative re-weighting: D - B", "components_d", "components_b", "+3.1"),
        Comparison("all of it: E - A", "aunce_official", "components_a", "+6.0"),
        Comparison("the text's form against the code's", "aunce_paper", "aunce_official"),
        Comparison("AUNCE (code) against SimCLR", "aunce_official", "simclr"),
        Comparison("AUNCE (code) against MoCo", "aunce_official", "moco"),
        Comparison("AUNCE (code) against HCL", "aunce_official", "hcl"),
        Comparison("AUNCE (code) against SupCon", "aunce_official", "supcon"),
        Comparison("AUNCE (code) against WCE", "aunce_official", "wce", "+2.5 (Table VI, end to end)"),
    ),
)


class Entry(NamedTuple):
    """A recipe that was run, at least in part."""

    name: str
    config: RunConfig
    results: list[Result]
    auc: Float  # mean over AUs and folds with the test subjects drawn anew
    f1: Float


def entries(study: Study) -> list[Entry]:
    """The runs of a study, best first; of the folds that all of them have, so that all met the same people."""
    done = {path.stem: read_config(path) for path in sorted(study.folder.glob("*.yaml"))}
    done = {name: config for name, config in done.items() if made_by(config)}
    results = {name: [r for r in read_results(Path(c.out)) if WAY in r.scores] for name, c in done.items()}
    folds = [{result.fold for result in some} for some in results.values() if some]
    shared = set.intersection(*folds) if folds else set()
    found = []
    for name, config in done.items():
        some = [result for result in results[name] if result.fold in shared]
        if some:
            found.append(Entry(name, config, some, *_draws(Path(config.out), some)))
    return sorted(found, key=lambda entry: -mean(entry.results, WAY, "auc"))


def markdown(study: Study) -> str:
    """Every method's figures, then the questions. Methods that were not run are named; none is left out in silence."""
    runs = entries(study)
    missing = sorted({path.stem for path in study.folder.glob("*.yaml")} - {entry.name for entry in runs})
    lines = [f"### {study.title}", ""]
    if missing:
        lines += [f"Not run: {', '.join(missing)}.", ""]
    if not runs:
        return "\n".join(lines)
    aus = [*per_au(runs[0].results, WAY, "auc")]
    head = ["", "folds", "AUC", "95 %", "F1", "95 %", "accuracy", *(f"AU{int(au[2:])}, AUC" for au in aus)]
    head += ["alike", "silent", "run"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for entry in runs:
        shown = per_au(entry.results, WAY, "auc")
        cells = [
            entry.name,
            str(len(entry.results)),
            f"{mean(entry.results, WAY, 'auc'):.1f}",
            _range(entry.auc),
            f"{mean(entry.results, WAY, 'f1'):.1f}",
            _range(entry.f1),
            f"{mean(entry.results, WAY, 'accuracy'):.1f}",
            *(f"{shown[au]:.0f}" if au in shown else "" for au in aus),
            *(f"{np.mean([getattr(r, name) for r in entry.results]):.2f}" for name in ("alike", "silent")),
            read_run(Path(entry.config.out)).hash,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    always = f"{mean(runs[0].results, WAY, 'always'):.1f}"
    lines.append(
        "| " + " | ".join(["always present", "", "50.0", "", always, "", "", *("" for _ in aus), "", "", ""]) + " |"
    )
    first = max(runs, key=lambda entry: entry.config.steps)  # a control may train less
    tested = sum(result.test_frames for result in first.results)
    lines += [
        "",
        f"Linear probe, epoch chosen by training subjects set apart; {tested} test frames, their labels untouched. "
        f"{first.config.steps} steps of {first.config.batch} images, seed {first.config.seed}, "
        f"{first.results[0].device}. Intervals draw the test subjects anew; "
        "they know nothing of other folds and seeds. *alike*: mean cosine of two test frames' features of one AU; 1.00 "
        "is collapse, and what a probe then reads are traces. *silent*: share of features that are all zero.",
        "",
    ]
    own = [f"{entry.name} {mean(entry.results, OWN, 'f1'):.1f}" for entry in runs if OWN in entry.results[0].scores]
    if own:
        lines += [f"By the method's own head instead of a probe: {', '.join(own)}.", ""]
    head = ["question", "difference in AUC", "95 %", "clear of 0", "in F1", "95 %", "published, F1"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    place = {entry.name: entry for entry in runs}
    for asked in study.comparisons:
        one, other = place.get(asked.with_it), place.get(asked.without)
        if one is None or other is None:
            lines.append(f"| {asked.what} | not run | | | | | {asked.published} |")
            continue
        auc, f1 = (mean(one.results, WAY, what) - mean(other.results, WAY, what) for what in ("auc", "f1"))
        low, high = interval(one.auc - other.auc)
        clear = "yes" if low > 0 or high < 0 else "no"
        cells = [f"{auc:+.1f}", f"{low:+.1f} to {high:+.1f}", clear, f"{f1:+.1f}", _range(one.f1 - other.f1, "+")]
        lines.append("| " + " | ".join([asked.what, *cells, asked.published]) + " |")
    return "\n".join(lines)


def write_plot(study: Study, path: Path) -> None:
    """Bars of the mean AUC with intervals."""
    runs = entries(study)
    figure = Figure(figsize=(7, 0.35 * len(runs) + 1.2), layout="constrained")
    panel = figure.add_subplot()
    means = [mean(entry.results, WAY, "auc") for entry in runs]
    ends = [interval(entry.auc) for entry in runs]
    errors = np.array([[max(m - e[0], 0), max(e[1] - m, 0)] for m, e in zip(means, ends, strict=True)]).T
    panel.barh([entry.name for entry in runs], means, xerr=errors if runs else None, capsize=3)
    panel.invert_yaxis()
    panel.set(xlabel="ROC-AUC, % (95 % over subjects)", xlim=(45, None))
    panel.set_title(study.title, fontsize=9)
    figure.savefig(path, dpi=100)


def _range(draws: Float, sign: str = "") -> str:
    low, high = interval(draws)
    return f"{low:{sign}.1f} to {high:{sign}.1f}"


def _draws(out: Path, results: list[Result]) -> tuple[Float, Float]:
    auc, f1 = [], []
    for result in results:
        with np.load(out / result.fold / PREDICTIONS, allow_pickle=False) as said:
            auc.append((said[WAY], said["occurrence"], said["subject"]))
            f1.append((confusion(said[WAY], said["occurrence"]), said["subject"]))
    return resampled_auc(auc), resampled_f1(f1)
