"""What a card says of a model, as a user reads it."""

from rtau.models import load_artifact
from train.evaluation.cards import report
from train.evaluation.figure import Figure


def test_a_verdict_names_the_target_and_whether_it_was_reached() -> None:
    assert Figure("AUC", "0.91", ">= 0.95", False).verdict == "0.91 (target >= 0.95: not reached)"
    assert Figure("AUC", "0.97", ">= 0.95", True).verdict == "0.97 (target >= 0.95: reached)"
    assert Figure("photos", "96").verdict == "96"


def test_every_shipped_card_tells_what_the_pipeline_reaches_with_it() -> None:
    page = report()
    for role in ("detector", "landmarks", "au", "identity"):
        card = load_artifact("default", role).card
        assert card.evaluation
        for what, value in card.evaluation.items():
            assert f"- {what}: {value}" in page
