"""Rendered faces (docs/renders.md) as a corpus: exact labels, exact landmarks, any number of subjects."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtau.facs import AU_COLUMNS, OCCURRENCE_INTENSITY
from train.data.corpora.build import Reading
from train.data.corpora.index import Corpus, CorpusError
from train.synthesis.activities import ACTIVITIES
from train.synthesis.shards import RenderConfig, read_shards

NAME = "synth"


def read(root: Path) -> Reading:
    """The shards of a folder made by `python -m train render`.

    Intensity is that of the stronger side, unknown where one side is covered; an AU that shows on one side is present
    whatever covers the other. The three splits hold different people. Pictures of a sequence follow each other; of
    activities every clip is a session, described in the column `activity`.
    """
    try:
        header = msgspec.yaml.decode((root / "dataset.yaml").read_bytes())
        config = msgspec.convert(
            {name: header[name] for name in RenderConfig.__struct_fields__ if name in header}, RenderConfig
        )
        shards = [(shard.path.stem, shard.labels) for shard in read_shards(root)]
    except (OSError, msgspec.ValidationError) as error:
        raise CorpusError(f"{root}: no rendered faces: {error}") from error
    paths, points = list[str](), dict[str, NDArray[np.float32]]()
    for stem, labels in shards:
        people = zip(labels["person"].tolist(), labels["number"].tolist(), strict=True)
        own = [f"{stem}.tar#{who:06d}_{n:04d}.jpg" for who, n in people]
        points |= dict(zip(own, labels["landmarks"][..., :2].astype(np.float32), strict=True))
        paths += own
    person, number, left, right = (
        np.concatenate([labels[name] for _, labels in shards]) for name in ("person", "number", "au_left", "au_right")
    )
    intensity = np.maximum(left, right).astype(np.float32)  # NaN where one side is
    shows = np.nan_to_num(np.fmax(left, right).astype(np.float32)) >= OCCURRENCE_INTENSITY
    session = np.full(len(paths), "sequence" if config.sequences else "stills")
    frame, text = number.astype(np.int64), dict[str, NDArray[np.str_]]()
    if config.activities:
        clip, frame = np.divmod(frame, config.pictures // len(ACTIVITIES))
        session = np.array([f"activity{k + 1}" for k in clip.tolist()])
        text = {"activity": np.array([ACTIVITIES[k].text for k in clip.tolist()])}
    corpus = Corpus(
        name=NAME,
        aus=AU_COLUMNS,
        paths=paths,
        root=root,
        subject=np.array([f"{NAME}:{config.split}_{who:06d}" for who in person.tolist()]),
        session=session,
        frame=frame,
        occurrence=np.where(shows, 1, np.where(np.isnan(intensity), -1, 0)).astype(np.int8),
        intensity=intensity,
        text=text,
    )
    wanted = config.persons * config.pictures
    problems = [f"{wanted - len(paths)} of {wanted} pictures are not rendered yet"] if len(paths) < wanted else []
    return Reading(corpus, problems, [], cut="given", follows=config.sequences or config.activities, points=points)
