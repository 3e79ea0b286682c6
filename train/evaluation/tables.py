"""The tables of the four papers, published figures beside ours: `python -m train table NAME`."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rtau.errors import ConfigError
from train.runs.config import RunConfig, read_config
from train.runs.report import accuracy, mean, per_au
from train.runs.run import OWN, Result, made_by, read_results, read_run

_PUBLISHED = Path(__file__).parents[1] / "benchmarks" / "published"
_CONFIGS = Path(__file__).parents[2] / "configs" / "train"
_TEXT = "AUNCE, the loss as the text describes it"
AVERAGE, ACCURACY = "avg", "accuracy"
Values = dict[str, float]  # column: percent


class Row(NamedTuple):
    """One method of a table."""

    name: str
    published: Values
    config: str = ""  # our recipe, below configs/train; "" when there is none


class Ours(NamedTuple):
    """What our run of a row reached."""

    values: Values
    best_test: Values  # the paper's protocol: the best test epoch; empty where not evaluated so
    hash: str
    folds: str


class Table(NamedTuple):
    """Rows of one table; columns in the order in which they first occur."""

    title: str
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row.published))


def names() -> list[str]:
    """What `python -m train table` knows."""
    return [*_TABLES]


def read_table(name: str) -> Table:
    """A published table with our recipes beside its rows."""
    return _TABLES[name]()


def ours(row: Row) -> Ours | None:
    """What the run of a row reached; None where it was not run. The folder is the recipe's `out`."""
    if not row.config:
        return None
    recipe = read_config(_CONFIGS / row.config)
    out = Path(recipe.out)
    results = [result for result in read_results(out) if result.scores or result.expressions is not None]
    if not results:
        return None
    folds = f"{len(results)} of {_fold_count(read_run(out).config)} folds"
    folds += "" if made_by(recipe) else ", **changed recipe**"
    if not results[0].scores:
        return Ours({ACCURACY: accuracy(results)}, {}, read_run(out).hash, folds)
    way = OWN if OWN in results[0].scores else "honest_selected"
    best = "official_best_test" if "official_best_test" in results[0].scores else ""
    return Ours(_values(results, way), _values(results, best) if best else {}, read_run(out).hash, folds)


def markdown(table: Table) -> str:
    """Each method's published line; where there is a run of ours, its line and the difference below."""
    columns = table.columns
    lines = [f"### {table.title}", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in table.rows:
        lines.append(_line(row.name, row.published, columns))
        if not row.config:
            continue
        found = ours(row)
        if found is None:
            lines.append(_line(f"ours: not run (`configs/train/{row.config}`)", {}, columns))
            continue
        lines.append(_line(f"ours, run {found.hash}, {found.folds}", found.values, columns))
        lines.append(_line("difference", _over_published(found.values, row), columns, sign="+"))
        if found.best_test:
            lines.append(_line("ours, best test epoch", found.best_test, columns))
            difference = _over_published(found.best_test, row)
            lines.append(_line("difference, by the paper's protocol", difference, columns, sign="+"))
    return "\n".join(lines)


def _over_published(values: Values, row: Row) -> Values:
    return {column: value - row.published[column] for column, value in values.items() if column in row.published}


def write_csv(table: Table, path: Path) -> None:
    """Long form: method, column, published, ours, difference, ours at the best test epoch (the paper's), run."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "column", "published", "ours", "difference", "best_test", "run"])
        for row in table.rows:
            found = ours(row)
            for column in table.columns:
                published = row.published.get(column)
                own = found.values.get(column) if found else None
                best = found.best_test.get(column) if found else None
                both = own - published if own is not None and published is not None else None
                cells = ["" if x is None else f"{x:.2f}" for x in (published, own, both, best)]
                writer.writerow([row.name, column, *cells, found.hash if found else ""])


def write_plot(table: Table, path: Path) -> None:
    """Bars of the average (or the only) F1: published, and ours where run."""
    key = AVERAGE if AVERAGE in table.columns else table.columns[0]
    rows = [row for row in table.rows if key in row.published or row.config]
    place = np.arange(len(rows))
    figure = Figure(figsize=(7, 0.32 * len(rows) + 1.2), layout="constrained")
    panel = figure.add_subplot()
    panel.barh(place - 0.2, [row.published.get(key, 0.0) for row in rows], 0.4, label="published", color="0.6")
    own = [ours(row) for row in rows]
    panel.barh(place + 0.2, [each.values[key] if each else 0.0 for each in own], 0.4, label="ours", color="C0")
    panel.set_yticks(place, [row.name for row in rows])
    panel.invert_yaxis()
    panel.set(xlabel="F1, %", title=table.title)
    panel.legend(loc="lower right")
    figure.savefig(path, dpi=100)


def _line(name: str, values: Values, columns: list[str], sign: str = "") -> str:
    return f"| {name} | " + " | ".join(f"{values[c]:{sign}.1f}" if c in values else "" for c in columns) + " |"


def _values(results: list[Result], way: str) -> Values:
    values = {f"AU{int(au[2:])}": value for au, value in per_au(results, way, "f1").items()}
    return {**values, AVERAGE: mean(results, way, "f1"), ACCURACY: mean(results, way, "accuracy")}


def _fold_count(config: RunConfig) -> int:
    counts = {"bp4d-3fold": 3, "disfa-3fold": 3, "bp4dplus-4fold": 4, "split": 1, "all": 1}
    protocol = config.data.protocol
    return counts.get(protocol) or int(protocol.rpartition("-")[2])


def _read(file: str) -> list[dict[str, str]]:
    path = _PUBLISHED / file
    try:
        with path.open(newline="", encoding="utf-8") as text:
            return list(csv.DictReader(text))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _comparison(title: str, file: str, recipes: dict[str, str]) -> Callable[[], Table]:
    """Tables II-V: methods by AUs. `recipes` names our configs by method, published or not."""

    def table() -> Table:
        found: dict[str, Values] = {}
        for line in _read(file):
            found.setdefault(line["method"], {})
            if line["f1"]:
                found[line["method"]][line["au"]] = float(line["f1"])
        found |= {name: {} for name in recipes if name not in found}
        return Table(title, [Row(name, values, recipes.get(name, "")) for name, values in found.items()])

    return table


def _losses() -> Table:
    recipes = {
        ("ResNet18", "WCE"): "aunce/table6_resnet18_wce.yaml",
        ("ResNet18", "AUNCE"): "aunce/table6_resnet18_aunce.yaml",
        ("ResNet50", "WCE"): "aunce/table6_resnet50_wce.yaml",
        ("ResNet50", "AUNCE"): "aunce/table6_resnet50_aunce.yaml",
        ("MEGraph (one stage)", "WCE"): "aunce/table6_megraph_wce.yaml",
        ("MEGraph (one stage)", "AUNCE"): "aunce/bp4d.yaml",
    }
    rows = []
    for line in _read("aunce_table6_loss_ablation.csv"):
        values = {column: float(line[key]) for column, key in ((AVERAGE, "f1"), (ACCURACY, "accuracy")) if line[key]}
        key = (line["backbone"], line["loss"])
        rows.append(Row(f"{key[0]}, {key[1]}", values, recipes.get(key, "")))
    return Table("Table VI: losses, BP4D", rows)


def _components() -> Table:
    found: dict[str, tuple[str, Values]] = {}
    for line in _read("aunce_table7_component_ablation.csv"):
        parts = [("w_i", "w"), ("positive_sampling", "PS"), ("negative_reweighting", "NS")]
        name = " + ".join(["BL", *(short for column, short in parts if line[column] == "1")])
        _, values = found.setdefault(line["model"], (f"{line['model']}: {name}", {}))
        if line["f1"]:
            values[line["au"]] = float(line["f1"])
        if line["accuracy"]:
            values[ACCURACY] = float(line["accuracy"])
    recipes = {model: f"aunce/table7_{model.lower()}.yaml" for model in "ABCD"} | {"E": "aunce/bp4d.yaml"}
    return Table(
        "Table VII: components, BP4D", [Row(name, values, recipes[model]) for model, (name, values) in found.items()]
    )


def _positives() -> Table:
    rows = []
    for line in _read("aunce_table8_positive_sampling.csv"):
        kinds = ("p1_highest_similarity", "p2_self_augmentation", "p3_mixture", "p4_lowest_similarity")
        shares = [float(line[kind]) for kind in kinds]
        recipe = "aunce/table8_" + "_".join(f"{round(100 * share):d}" for share in shares) + ".yaml"
        own = "aunce/bp4d.yaml" if shares == [0.15, 0.15, 0.7, 0] else recipe
        name = "p = " + " / ".join(f"{share:g}" for share in shares)
        rows.append(Row(name, {AVERAGE: float(line["f1_avg"])}, own))
    return Table("Table VIII: most similar / other view / mixture / least similar, BP4D", rows)


def _clp() -> Table:
    """CLP's seed is an abstract; its figures are those that AUNCE's Tables II-IV give."""
    rows = []
    for dataset, file, recipe in (
        ("BP4D", "aunce_table2_bp4d.csv", "clp/bp4d.yaml"),
        ("DISFA", "aunce_table3_disfa.csv", "clp/disfa.yaml"),
        ("GFT", "aunce_table4_gft.csv", "clp/gft.yaml"),
    ):
        values = {line["au"]: float(line["f1"]) for line in _read(file) if line["method"] == "CLP" and line["f1"]}
        rows.append(Row(dataset, values, recipe))
    return Table("CLP: linear probe, F1", rows)


def _clef() -> Table:
    """The benchmark page of CLEF: mean F1 of AUs, accuracy of expressions. It shows some data sets twice."""
    rows, columns = [], {"f1_avg": AVERAGE, "accuracy": ACCURACY, "top1_accuracy": ACCURACY}
    recipes = {
        "RAF-DB (test)": "clef/rafdb.yaml",
        "AffectNet 7-way (test)": "clef/affectnet7.yaml",
        "AffectNet 8-way (test)": "clef/affectnet8.yaml",
        "FERPlus basic emotion (test)": "clef/ferplus.yaml",
        "BP4D": "clef/bp4d.yaml",
        "DISFA (test)": "clef/disfa.yaml",
    }
    for line in _read("clef_benchmarks.csv"):
        if line["dataset"] in recipes and line["metric"] in columns:
            values = {columns[line["metric"]]: float(line["value_percent"])}
            rows.append(Row(line["dataset"], values, recipes[line["dataset"]]))
    return Table("CLEF: benchmarks", rows)


_TABLES: dict[str, Callable[[], Table]] = {
    "table2": _comparison(
        "Table II: BP4D",
        "aunce_table2_bp4d.csv",
        {
            "AUNCE": "aunce/bp4d.yaml",
            _TEXT: "aunce/bp4d_paper.yaml",
            "CLP": "clp/bp4d.yaml",
            "CLEF": "clef/bp4d.yaml",
        },
    ),
    "table3": _comparison(
        "Table III: DISFA",
        "aunce_table3_disfa.csv",
        {
            "AUNCE": "aunce/disfa.yaml",
            _TEXT: "aunce/disfa_paper.yaml",
            "CLP": "clp/disfa.yaml",
            "CLEF": "clef/disfa.yaml",
        },
    ),
    "table4": _comparison("Table IV: GFT", "aunce_table4_gft.csv", {"AUNCE": "aunce/gft.yaml", "CLP": "clp/gft.yaml"}),
    "table5": _comparison("Table V: Aff-Wild2", "aunce_table5_affwild2.csv", {"AUNCE": "aunce/affwild2.yaml"}),
    "clile-bp4d": _comparison("CL-ILE's poster: BP4D", "clile_bp4d.csv", {"CL-ILE": "clile/bp4d.yaml"}),
    "clile-disfa": _comparison("CL-ILE's poster: DISFA", "clile_disfa.csv", {"CL-ILE": "clile/disfa.yaml"}),
    "clp": _clp,
    "clef": _clef,
    "clef-bp4dplus": _comparison(
        "CLEF: BP4D+, a secondary source", "clef_bp4dplus_secondary.csv", {"CLEF": "clef/bp4dplus.yaml"}
    ),
    "table6": _losses,
    "table7": _components,
    "table8": _positives,
}
