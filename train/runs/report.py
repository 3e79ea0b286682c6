"""What a finished run reached, as lines of text."""

from pathlib import Path

import numpy as np

from train.runs.run import Result, read_results, read_run


def mean(results: list[Result], way: str, score: str) -> float:
    """Over AUs, then over folds, in percent; NaN where nothing was evaluated so. AUs without a value do not count."""
    values = [[x for x in result.scores[way][score] if x is not None] for result in results if way in result.scores]
    return float(np.mean([np.mean(each) for each in values if each])) if any(values) else float("nan")


def per_au(results: list[Result], way: str, score: str) -> dict[str, float]:
    """AU: mean over folds in percent, of the AUs that have a value in every fold."""
    found = [
        dict(zip(result.aus, result.scores[way][score], strict=True)) for result in results if way in result.scores
    ]
    if not found:
        return {}
    columns = {au: [each[au] for each in found] for au in found[0]}
    return {au: float(np.mean([x for x in own if x is not None])) for au, own in columns.items() if None not in own}


def lines(out: Path) -> list[str]:
    """One line a way of evaluation."""
    run, results = read_run(out), read_results(out)
    ways = dict.fromkeys(way for result in results for way in result.scores)
    head = f"{out}: run {run.hash}, {', '.join(result.fold for result in results)}"
    return (
        [head]
        + [
            f"  {way}: F1 {mean(results, way, 'f1'):.1f}, accuracy {mean(results, way, 'accuracy'):.1f}, "
            f"AUC {mean(results, way, 'auc'):.1f}"
            for way in ways
        ]
        + [f"  expressions: accuracy {accuracy(results):.2f}"] * any(r.expressions is not None for r in results)
    )


def accuracy(results: list[Result]) -> float:
    """Of expressions, mean over folds in percent; NaN where nothing was evaluated so."""
    values = [result.expressions for result in results if result.expressions is not None]
    return float(np.mean(values)) if values else float("nan")
