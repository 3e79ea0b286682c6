"""Rendered faces on disk: shards of pictures with their labels, an index, and a sheet of each shard to look at.

A shard NNNNN holds `NNNNN.tar` (pictures `PERSON_NUMBER.jpg`, maps `PERSON_NUMBER.png`), `NNNNN.npz` (all labels as
arrays) and `NNNNN_sheet.jpg`. All pictures of a person are in one shard. A shard appears whole or not at all, so that a
run that was cut off goes on where it stopped.
"""

import io
import multiprocessing
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtau.facs import AU_COLUMNS
from train.synthesis.activities import ACTIVITIES
from train.synthesis.assets import load_head
from train.synthesis.person import make_person
from train.synthesis.picture import Renderer
from train.synthesis.sample import Sample, render
from train.synthesis.sequence import activities, sequence

Split = Literal["train", "validation", "test"]
SPLIT_SEEDS: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}  # no person is in two splits
VERSION = 4  # of the renderer: raised when the same seed gives another picture


class RenderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to render."""

    out: str
    split: Split
    persons: int
    pictures: int  # of each person
    persons_a_shard: int = 32
    size: int = 256
    sequences: bool = False  # pictures of a person are frames of one sequence, 30 a second
    activities: bool = False  # pictures of a person are frames of a clip of each activity, 5 a second


class Plan(NamedTuple):
    config: RenderConfig
    assets: Path
    shard: int


def render_all(config: RenderConfig, assets: Path, workers: int, progress: Callable[[int, int, float], None]) -> None:
    """Render what is missing; `progress(shards done, shards, pictures a second)`."""
    if config.sequences and config.activities:
        raise ValueError("pictures are frames of sequences or of activities, not of both")
    if config.activities and config.pictures % len(ACTIVITIES):
        raise ValueError(f"pictures must be a multiple of the {len(ACTIVITIES)} activities, got {config.pictures}")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    header = out / "dataset.yaml"
    wanted = msgspec.to_builtins(config) | {"version": VERSION, "head_sha256": load_head(assets).sha256}
    if header.exists():
        there = msgspec.yaml.decode(header.read_bytes())
        grows = there["persons"] < config.persons and there["persons"] % config.persons_a_shard == 0  # by whole shards
        if there | ({"persons": config.persons} if grows else {}) != wanted:
            raise FileExistsError(f"{header}: other settings were used for this folder; choose another or delete it")
    header.write_bytes(msgspec.yaml.encode(wanted))
    count = -(-config.persons // config.persons_a_shard)
    missing = [Plan(config, assets, n) for n in range(count) if not (out / f"{n:05d}.npz").exists()]
    started, context = time.perf_counter(), multiprocessing.get_context("spawn")
    with context.Pool(min(workers, max(len(missing), 1)), _prepare) as pool:
        for done, pictures in enumerate(pool.imap_unordered(_render_shard, missing), 1):
            rate = done * pictures / (time.perf_counter() - started)
            progress(count - len(missing) + done, count, rate)
    _write_index(out)


class Shard(NamedTuple):
    path: Path  # of its npz
    labels: dict[str, NDArray[np.generic]]  # arrays of all fields of Sample but the files
    jpegs: list[bytes]


def read_shards(folder: Path) -> Iterator[Shard]:
    """The shards of a folder, in order. Raises FileNotFoundError when there is none."""
    paths = sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9].npz"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no rendered faces; make them with `python -m train render`")
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            labels = {name: data[name] for name in data.files}
        with tarfile.open(path.with_suffix(".tar")) as archive:
            pictures = [archive.extractfile(m) for m in archive.getmembers() if m.name.endswith(".jpg")]
            yield Shard(path, labels, [file.read() for file in pictures if file is not None])


def _prepare() -> None:
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


_RENDERERS: dict[Path, Renderer] = {}


def _render_shard(plan: Plan) -> int:
    config = plan.config
    if plan.assets not in _RENDERERS:
        _RENDERERS[plan.assets] = Renderer(load_head(plan.assets))
    renderer = _RENDERERS[plan.assets]
    first = plan.shard * config.persons_a_shard
    samples: list[Sample] = []
    for number in range(first, min(first + config.persons_a_shard, config.persons)):
        person = make_person(renderer.head, SPLIT_SEEDS[config.split], number)
        if config.activities:
            samples += activities(renderer, person, config.pictures // len(ACTIVITIES), config.size)
        elif config.sequences:
            samples += sequence(renderer, person, config.pictures, config.size)
        else:
            samples += [render(renderer, person, k, config.size) for k in range(config.pictures)]
    _write_shard(Path(config.out), plan.shard, samples)
    return len(samples)


def _write_shard(out: Path, shard: int, samples: list[Sample]) -> None:
    """The npz is renamed last: while it is missing the shard does not exist."""
    tar, npz = out / f"{shard:05d}.tar", out / f"{shard:05d}.npz"
    with tarfile.open(tar.with_suffix(".tar.tmp"), "w") as archive:
        for sample in samples:
            for data, suffix in ((sample.jpeg, "jpg"), (sample.labels, "png")):
                member = tarfile.TarInfo(f"{sample.person:06d}_{sample.number:04d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    tar.with_suffix(".tar.tmp").replace(tar)
    _contact_sheet(out / f"{shard:05d}_sheet.jpg", samples)
    fields = [name for name in Sample._fields if name not in ("jpeg", "labels")]
    arrays = {name: np.array([getattr(sample, name) for sample in samples]) for name in fields}
    with npz.with_suffix(".npz.tmp").open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    npz.with_suffix(".npz.tmp").replace(npz)


def _contact_sheet(path: Path, samples: list[Sample]) -> None:
    """48 pictures of the shard with their strongest Action Units."""
    tiles = []
    for i in np.linspace(0, len(samples) - 1, 48).astype(int):
        sample = samples[i]
        image = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        tile = np.ascontiguousarray(cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA))
        strongest = np.nan_to_num(np.maximum(sample.au_left, sample.au_right))
        names = [f"{AU_COLUMNS[a][2:]}:{strongest[a]:.0f}" for a in np.argsort(-strongest)[:5] if strongest[a] >= 0.5]
        cv2.rectangle(tile, (0, 146), (160, 160), (0, 0, 0), -1)
        cv2.putText(tile, " ".join(names), (3, 156), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    rows = [np.concatenate(tiles[r : r + 8], axis=1) for r in range(0, 48, 8)]
    cv2.imwrite(str(path), np.concatenate(rows))


def _write_index(out: Path) -> None:
    """`index.parquet`: one row a picture with every scalar and Action Unit, so that choosing never opens a tar."""
    tables = []
    for path in sorted(out.glob("[0-9][0-9][0-9][0-9][0-9].npz")):
        with np.load(path, allow_pickle=False) as data:
            columns: dict[str, object] = {"shard": np.full(len(data["person"]), int(path.stem))}
            columns |= {name: data[name] for name in data.files if data[name].ndim == 1}
            for side in ("left", "right"):
                for a, column in enumerate(AU_COLUMNS):
                    columns[f"{column}_{side[0]}"] = data[f"au_{side}"][:, a]
            for k, name in enumerate(("pitch", "yaw", "roll")):
                columns[name] = data["pose"][:, k]
            tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), out / "index.parquet.tmp")
    (out / "index.parquet.tmp").replace(out / "index.parquet")
