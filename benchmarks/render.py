"""Milliseconds of one core for a rendered picture, stage by stage: `python -m benchmarks.render`

CPU time of this process, one thread, so that other work on the machine does not count. What is compiled or read once
is left out; a person's textures are shared out over the pictures of the person.
"""

import datetime
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import cv2

from benchmarks.machine import cpu_model
from train.synthesis import picture as picture_module
from train.synthesis import sample as sample_module
from train.synthesis.assets import assets_folder, load_head
from train.synthesis.au_sheet import DATASET
from train.synthesis.person import make_person
from train.synthesis.picture import Renderer

TARGET_MS = 30.0
_STAGES: tuple[tuple[str, ModuleType, tuple[str, ...]], ...] = (
    ("expression and scene", sample_module, ("draw", "draw_scene", "express")),
    ("rasterise: face, hair, lashes", picture_module, ("rasterise", "rasterise_cut")),
    ("shadow map", picture_module, ("depth_map", "orthographic")),
    ("lines that follow the expression", picture_module, ("skin_height",)),
    ("shade", picture_module, ("shade",)),
    ("background", sample_module, ("backdrop",)),
    ("what is in front", sample_module, ("cover",)),
    ("compose and expose", sample_module, ("compose",)),
    ("sensor and JPEG", sample_module, ("develop",)),
)

Function = Callable[..., Any]


@click.command()
@click.option("--persons", type=click.IntRange(1), default=8, show_default=True)
@click.option("--pictures", type=click.IntRange(1), default=24, show_default=True, help="Of each person.")
@click.option("--size", type=click.IntRange(64, 1024), default=224, show_default=True, help="Pixels.")
@click.option("--assets", type=click.Path(path_type=Path), help="Folder with ict_face/ and makehuman_cc0/.")
def main(persons: int, pictures: int, size: int, assets: Path | None) -> None:
    """Measure and print a table."""
    cv2.setNumThreads(1)
    try:
        renderer = Renderer(load_head(assets or assets_folder()))
    except OSError as error:
        raise click.ClickException(str(error)) from error
    sample_module.render(renderer, make_person(renderer.head, DATASET, 0), 0, size)  # compile
    people = [make_person(renderer.head, DATASET, 0)]
    started = time.process_time()
    people = [make_person(renderer.head, DATASET, number) for number in range(persons)]
    of_person = (time.process_time() - started) / persons / pictures
    whole = _per_picture(renderer, people, pictures, size)
    spent = _watched(lambda: _per_picture(renderer, people, pictures, size))
    stages = {name: seconds / persons / pictures for name, seconds in spent.items()}
    stages["the rest: blend, normals, landmarks, map"] = max(whole - sum(stages.values()), 0.0)
    stages[f"the person's textures, shared by {pictures} pictures"] = of_person
    total_ms = 1e3 * (whole + of_person)
    reached = "reached" if total_ms < TARGET_MS else "**not reached**"
    click.echo(
        f"Measured {datetime.date.today().isoformat()} by `python -m benchmarks.render` on one core of an "
        f"{platform.machine()} CPU ({cpu_model()}, {os.cpu_count()} cores), {size} px, {persons} people, "
        f"{pictures} pictures each, CPU time.\n\n| stage | ms a picture |\n|---|---|"
    )
    for name, seconds in stages.items():
        click.echo(f"| {name} | {1e3 * seconds:.1f} |")
    click.echo(f"| **all** (target: under {TARGET_MS:.0f}, {reached}) | **{total_ms:.1f}** |")


def _per_picture(renderer: Renderer, people: list[Any], pictures: int, size: int) -> float:
    started = time.process_time()
    for person in people:
        for number in range(pictures):
            sample_module.render(renderer, person, number, size)
    return (time.process_time() - started) / len(people) / pictures


def _watched(run: Callable[[], object]) -> dict[str, float]:
    """CPU seconds of each stage during a run."""
    spent: dict[str, float] = defaultdict(float)

    def timed(stage: str, function: Function) -> Function:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[stage] += time.process_time() - started

        return call

    originals = [(module, name, getattr(module, name)) for _, module, names in _STAGES for name in names]
    try:
        for stage, module, names in _STAGES:
            for name in names:
                setattr(module, name, timed(stage, getattr(module, name)))
        run()
    finally:
        for module, name, function in originals:
            setattr(module, name, function)
    return spent


if __name__ == "__main__":
    main()
