"""From looks to names: enough evidence, hysteresis, one track a person, and a gallery that changes."""

from calibration.gallery import Index
from calibration.recognise import AT_ONCE, LEAVE, Recogniser
from tests.calibration.made_up import direction, person

ALICE, BOB = direction(1), direction(2)
ACCEPT = 0.6


def recogniser() -> Recogniser[str]:
    return Recogniser(Index([person("alice", ALICE), person("bob", BOB)]), ACCEPT)


def see(
    who: Recogniser[str], track: str, cosine: float, count: int = 1, start_s: float = 0.0, near: object = ALICE
) -> None:
    """Looks of one track at this cosine to a person; alike among themselves."""
    for i in range(count):
        who.look(track, start_s + 0.3 * i, direction(99, near, cosine), 1.0)  # type: ignore[arg-type]


def name(who: Recogniser[str], track: str) -> str | None:
    found = who.person(track)
    return None if found is None else found.name


def test_unknown_then_candidate_then_person() -> None:
    who = recogniser()
    assert who.state("t") == "unknown"
    see(who, "t", ACCEPT + 0.05, 2)
    assert (who.state("t"), name(who, "t")) == ("candidate", None)
    see(who, "t", ACCEPT + 0.05)
    assert (who.state("t"), name(who, "t")) == ("person", "alice")


def test_one_look_is_enough_when_there_is_no_doubt() -> None:
    who = recogniser()
    see(who, "t", ACCEPT + AT_ONCE + 0.02)
    assert name(who, "t") == "alice"


def test_a_stranger_stays_unknown() -> None:
    who = recogniser()
    see(who, "t", ACCEPT - 0.05, 30)
    assert (who.state("t"), name(who, "t")) == ("unknown", None)


def test_somebody_between_two_persons_is_neither() -> None:
    twin = direction(3, ALICE, 0.97)
    who: Recogniser[str] = Recogniser(Index([person("alice", ALICE), person("twin", twin)]), ACCEPT)
    for i in range(10):
        who.look("t", 0.3 * i, (ALICE + twin) / 2.0 / 0.9924, 1.0)
    assert (who.state("t"), name(who, "t")) == ("candidate", None)


def test_a_name_survives_bad_looks_but_not_another_face() -> None:
    who = recogniser()
    see(who, "t", 0.8, 5)
    see(who, "t", ACCEPT - 0.05, 4, start_s=10)
    assert name(who, "t") == "alice"
    see(who, "t", ACCEPT - LEAVE - 0.3, 30, start_s=20)
    assert name(who, "t") is None


def test_two_tracks_are_never_one_person() -> None:
    who = recogniser()
    see(who, "left", 0.75, 5)
    see(who, "right", 0.76, 5)
    assert (name(who, "left"), name(who, "right")) == ("alice", None)
    see(who, "third", 0.9, 5)  # clearly more like her: the first was wrong
    assert (name(who, "left"), name(who, "third")) == (None, "alice")
    see(who, "left", 0.9, 5, start_s=30, near=BOB)
    see(who, "left", 0.9, 30, start_s=60, near=BOB)
    assert name(who, "left") == "bob"


def test_whoever_leaves_frees_the_name() -> None:
    who = recogniser()
    see(who, "first", 0.75, 5)
    who.gone("first")
    see(who, "second", 0.7, 5, start_s=20)
    assert name(who, "second") == "alice"


def test_looks_are_few_and_fewer_when_all_is_known() -> None:
    who = recogniser()
    assert who.wants("t", 0.0)
    see(who, "t", 0.65)
    assert not who.wants("t", 0.1)
    assert who.wants("t", 0.4)
    see(who, "t", 0.75, 3, start_s=0.4)
    assert not who.wants("t", 3.0)
    assert who.wants("t", 7.0)
    see(who, "stranger", 0.1, 20)
    assert not who.wants("stranger", 7.0)
    assert who.wants("stranger", 8.0)
    assert who.wants("t", 0.2)  # the clock of the source began anew
    assert not Recogniser(Index([]), ACCEPT).wants("t", 0.0)


def test_a_person_that_is_forgotten_loses_the_name_at_once_and_a_new_one_gets_it() -> None:
    who = recogniser()
    see(who, "t", 0.8, 5)
    who.replace(Index([person("bob", BOB)]))
    assert name(who, "t") is None
    who.replace(Index([person("bob", BOB), person("ada", ALICE)]))
    assert name(who, "t") == "ada"
    who.replace(Index([]))
    assert (name(who, "t"), who.state("t")) == (None, "unknown")
