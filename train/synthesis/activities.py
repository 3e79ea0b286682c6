"""What rendered people do: programmes of expressions with a description, as the tasks of BP4D elicit emotions.

Which Action Units an activity brings out is our choice, after the emotions that BP4D's tasks aim at. A description is
true of a clip and coarse about its frames: an activity shows its own combinations in 60 % of its expressions and
anything else in the others, with rest between.
"""

from typing import NamedTuple

from numpy.random import Generator

from train.synthesis.expression import Drawn, draw, draw_levels

_OWN = 0.6
_LOST = 0.12  # share of a combination's AUs that do not show


class Activity(NamedTuple):
    text: str
    combinations: tuple[tuple[int, ...], ...]

    def draw(self, rng: Generator) -> Drawn:
        """One expression."""
        if rng.random() > _OWN:
            return draw(rng)
        members = self.combinations[int(rng.integers(len(self.combinations)))]
        return draw_levels(rng, tuple(au for au in members if rng.random() > _LOST))


ACTIVITIES: tuple[Activity, ...] = (
    Activity("hear a joke", ((6, 12), (6, 12, 25), (6, 7, 12, 25, 26), (12, 25))),
    Activity("watch a sad documentary", ((1, 4), (1, 4, 15), (1, 4, 15, 17), (15, 17))),
    Activity("sudden burst of sound", ((1, 2, 5), (1, 2, 5, 25, 26), (1, 2, 25, 26), (5, 25))),
    Activity("sing a silly song", ((12, 14), (12, 17), (14, 24), (12, 18))),
    Activity("anticipate a physical threat", ((1, 2, 4, 5, 20, 25), (1, 4, 5, 20, 26), (1, 2, 4), (20, 25))),
    Activity("hand in ice water", ((4, 6, 7, 43), (4, 6, 7, 10, 25), (4, 7, 20), (7, 9))),
    Activity("harsh insults", ((4, 5, 7, 23), (4, 7, 24), (4, 7, 17, 24), (17, 23))),
    Activity("unpleasant smell", ((9, 10), (4, 9, 10), (9, 10, 17), (9, 10, 15))),
)
