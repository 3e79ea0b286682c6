"""One person from one clip: a mean embedding, and the resting face in the scale of the AU encoder."""

import msgspec
import numpy as np

from calibration.baseline import CALM_ENROLLED, SPACING_S, Baseline, Level, estimate
from calibration.profile import Neutral
from calibration.quality import identity_weight, reliable, sharpness_weight, steady
from rtau.align import inter_ocular
from rtau.au import AUs
from rtau.config import PipelineConfig, SourceConfig
from rtau.decode import Decode
from rtau.errors import GalleryError
from rtau.faces import Faces
from rtau.identify import Identities, load_identity
from rtau.persons import MIN_WEIGHT
from rtau.pipeline import decoded
from rtau.structures import Float32

MIN_LOOKS = 4  # good views of a clip; one is enough of a photo
_CROWD = 0.1  # share of the frames with faces that may show more than one


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a clip gives."""

    embedding: Float32  # (D,) of unit length
    looks: int  # views behind the embedding
    identity_model: str  # sha256
    au_model: str  # sha256
    aus: tuple[str, ...]
    level: Level | None  # None where no view is good enough for AUs

    @property
    def neutral(self) -> Neutral | None:
        """The resting face, where the clip shows enough of it."""
        if self.level is None or self.level.state != "ready":
            return None
        rest, spread = self.level.rest.tolist(), self.level.spread.tolist()
        return Neutral(
            au_model=self.au_model,
            aus=self.aus,
            left=tuple(rest[0]),
            right=tuple(rest[1]),
            spread_left=tuple(spread[0]),
            spread_right=tuple(spread[1]),
            evidence=self.level.looks,
        )


def enrol(config: PipelineConfig, source: SourceConfig) -> Enrolment:
    """Look at the one person of a clip or photo. Raises RtauError; GalleryError when the views do not serve."""
    source = decoded(config, source)
    faces, aus = Faces(config), AUs(config)
    model = load_identity(config.persons.identity)
    identities = Identities(model, config)
    baseline = Baseline(len(aus.card.aus))
    total: Float32 | None = None
    looks, looked_s, alone, crowded, name = 0, -np.inf, 0, 0, source.path
    with Decode(source) as decode:
        name, still = decode.info.name, decode.info.time_base_s == 0
        for frame in decode:
            seen = faces(frame)
            alone, crowded = alone + (len(seen.score) == 1), crowded + (len(seen.score) > 1)
            if frame.picture is None or len(seen.score) != 1 or 0 <= frame.time_s - looked_s < SPACING_S:
                continue
            looked_s, distance = frame.time_s, inter_ocular(seen.landmarks)
            weight = identity_weight(float(distance[0]), seen.pose[0], float(seen.score[0]))
            if weight >= MIN_WEIGHT:
                aligned = identities.crop(frame.picture, seen.landmarks[0])
                weighted = weight * sharpness_weight(aligned) * identities(aligned)
                total, looks = weighted if total is None else total + weighted, looks + 1
            if reliable(distance, seen.pose, seen.score)[0] and steady(seen.pose)[0]:
                (estimates,) = aus([(frame.picture, seen)])
                baseline.see(frame.time_s, np.stack([estimates.left[0], estimates.right[0]]))
    if crowded > _CROWD * (alone + crowded):
        raise GalleryError(
            f"{name}: {crowded} of {alone + crowded} frames show several faces; enrol from a clip of one person"
        )
    if total is None or looks < (1 if still else MIN_LOOKS):
        raise GalleryError(
            f"{name}: only {looks} good views of a face, {1 if still else MIN_LOOKS} are needed; "
            "film some seconds from the front, near and in focus"
        )
    return Enrolment(
        embedding=total / np.linalg.norm(total),
        looks=looks,
        identity_model=model.artifact.card.sha256,
        au_model=aus.card.sha256,
        aus=aus.card.aus,
        level=estimate(baseline.looks, CALM_ENROLLED) if len(baseline.looks) else None,
    )
