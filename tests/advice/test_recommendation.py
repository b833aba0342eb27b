"""From the final to the recommendation, its words, its recipe and its page."""

import json

import pytest

from limbeck.advice.candidates import BASELINE
from limbeck.recipes.read import plan, read_recipe
from limbeck.report.advice import advice_report, headline, next_steps, verdict_in_words
from limbeck.report.advice_page import advice_values, write_advice
from limbeck.report.advice_plan import detectable, plan_in_words
from limbeck.studies.make import prepare
from limbeck.studies.verdict import achieved
from limbeck.train.progress import Display

THREE = "label_smoothing,pskd,tfkd_reg"


@pytest.fixture
def judged(copied, held):
    """Return a function that lays figures over those of the final, and returns the advice that is then given.

    It takes what the challenger's error is more than the baseline's, by seed.
    """

    def again(*differences):
        runs = sorted((copied / "final/runs").glob("*/results.json"))
        base = [path for path in runs if path.parent.name.startswith(BASELINE)]
        ours = [path for path in runs if path not in base]
        for one, other, difference in zip(base, ours, differences, strict=True):
            for path, error in ((one, 0.4), (other, 0.4 + difference)):
                results = json.loads(path.read_text())
                results["students"]["student"]["last"]["error"] = error
                path.write_text(json.dumps(results))
        return held(methods=THREE)

    return again


def test_a_supported_claim_is_recommended(judged):
    advice = judged(-0.1, -0.1001)
    assert advice.judged.verdict.decision == "supported"
    assert advice.recommended == advice.challenger != BASELINE
    write_advice(advice)
    student = read_recipe(str(advice.folder / "recipe.yaml")).student
    final = next(cell for cell in advice.final.cells if cell.name == advice.challenger)
    assert student == plan(final.plans[2].plain("student"), "t", ["seed=0"]).student
    assert headline(advice).startswith(f"Recommended: train it with {advice.challenger} (")
    words = verdict_in_words(advice)
    assert (
        "against cross_entropy on the test set: Top-1 error % 10.00 lower (95 % interval of the difference -10."
        in words
    )
    assert "2 seeds" in words
    assert words.endswith("is supported at the 5% level.")
    assert len(next_steps(advice)) == 1


@pytest.mark.parametrize(
    ("differences", "decision", "side"),
    [((-0.1, 0.02), "undecided", "lower"), ((0.1, 0.1001), "contradicted", "higher")],
)
def test_any_other_claim_is_plain_training(judged, differences, decision, side):
    advice = judged(*differences)
    assert advice.judged.verdict.decision == decision
    assert advice.recommended == BASELINE
    write_advice(advice)
    assert type(read_recipe(str(advice.folder / "recipe.yaml")).student.method).__name__ == "CrossEntropy"
    assert headline(advice) == "Recommended: train it plainly (cross-entropy on the labels)."
    words = verdict_in_words(advice)
    assert f" {side} (95 % interval of the difference " in words
    assert decision in words
    assert ("more seeds would decide it with 80 % power" in words) == (decision == "undecided")
    assert len(next_steps(advice)) == (2 if decision == "undecided" else 1)


def test_the_final_is_a_study_that_goes_on_as_one(judged):
    advice = judged(-0.1, 0.02)
    path = advice.folder / "final.yaml"
    path.write_text(path.read_text().replace("seeds: [2, 3]", "seeds: [2, 3, 4]"))
    again = prepare(str(path), advice.folder / "final", [], None, "cpu", "limbeck study")
    assert again.study.seeds == [2, 3, 4]
    assert again.course(Display(silent=True)).trainings == 2  # seed 4 of both


def test_the_report_says_what_was_done_and_what_cannot_be_told(judged):
    advice = judged(-0.1, 0.02)
    write_advice(advice)
    text = (advice.folder / "report.md").read_text()
    for said in (
        "# How to train cnn (width 2) on digits", "## The final, on the test set", "## Cost",
        "rung 1: 1 epoch, 1 seed", "rung 2: 2 epochs, 1 seed", "| cskd | not asked for |",
        "the test set of 797 is for the final alone", "Nothing was tuned", "limbeck train ",
        "Not among the candidates: ONE", "planned: 37s of the 41s allowed; its trainings took",
    ):  # fmt: skip
        assert said in text, said
    page = (advice.folder / "report.html").read_text()
    for said in ("Recommended: train it plainly", "How the challenger was chosen", "What this cannot tell"):
        assert said in page, said
    assert (advice.folder / "final/report.html").exists()
    values = json.loads((advice.folder / "advice.json").read_text())
    assert values == json.loads(json.dumps(advice_values(advice)))
    assert values["verdict"]["verdict"] == "undecided"
    assert len(values["rungs"]) == 2
    assert advice_report(advice) == text


def test_how_large_a_difference_can_be_decided():
    for seeds in (2, 3, 5, 10):
        found = detectable(seeds)
        assert achieved(found, seeds, 0.05) == pytest.approx(0.8, abs=1e-3)
    assert detectable(3) > detectable(4) > detectable(30)


def test_the_plan_says_what_its_numbers_can_tell(judged):
    lines = plan_in_words(judged(-0.1, 0.02).planned)
    assert "100 held out to choose by, of which one is 1 points of error" in lines[1]
    assert lines[2].startswith("2 seeds in the final decide, with 80 % power, a difference of")
