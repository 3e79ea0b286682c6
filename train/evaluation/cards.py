"""The cards of the shipped models as one page: `python -m train cards --write docs/models.md`."""

from typing import get_args

from rtau.models import Artifact, Role, load_artifact


def report() -> str:
    """Markdown: one section a model, then the training sources of all."""
    artifacts = [load_artifact("default", role) for role in get_args(Role)]
    sources = {source.name: source for artifact in artifacts for source in artifact.card.trained_on}
    lines = [line for artifact in artifacts for line in _section(artifact)]
    lines += ["### Training sources", "", "| source | licence | origin | used for | models |", "|---|---|---|---|---|"]
    for name, source in sources.items():
        users = ", ".join(a.card.role for a in artifacts if name in {each.name for each in a.card.trained_on})
        lines.append(f"| {name} | {source.licence} | {source.origin} | {source.used_for} | {users} |")
    return "\n".join(lines)


def _section(artifact: Artifact) -> list[str]:
    card = artifact.card
    size = sum(path.stat().st_size for path in artifact.folder.iterdir()) / 1e6
    lines = [
        f"### {card.role}: {card.name} {card.version}",
        "",
        f"{size:.1f} MB, input {card.input_size} px, licence {card.licence}, sha256 `{card.sha256[:16]}…`  ",
        f"remade by `{card.command}` ({card.trained})",
        "",
        *(f"- {name}: {meaning}" for name, meaning in card.outputs.items()),
        "",
        "What it cannot do:",
        "",
        *(f"- {limit}" for limit in card.limits),
        "",
    ]
    if card.evaluation:
        lines += ["What the pipeline reaches with it on material that no training saw:", ""]
        lines += [*(f"- {what}: {value}" for what, value in card.evaluation.items()), "", "Of its training:", ""]
    groups: dict[str, dict[str, float]] = {}
    for name, value in card.metrics.items():
        group, _, au = name.rpartition("_")
        if au.startswith("AU"):
            groups.setdefault(au, {})[group] = value
        else:
            lines.append(f"- {name.replace('_', ' ')}: {value:g}")
    columns = list(dict.fromkeys(group for values in groups.values() for group in values))
    if columns:
        lines += ["| AU | " + " | ".join(column.replace("_", " ") for column in columns) + " |"]
        lines += ["|---" * (len(columns) + 1) + "|"]
        for au, values in groups.items():
            cells = (f"{values[column]:.2f}" if column in values else "" for column in columns)
            lines.append(f"| {au} | " + " | ".join(cells) + " |")
    return [*lines, ""]
