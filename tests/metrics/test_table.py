from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import limbeck.metrics
from limbeck.errors import LimbeckError
from limbeck.metrics import FIGURES, accuracy, aurc, brier, confidences, eaurc, ece, figure, nll, summary


@pytest.mark.parametrize("bins", [10, 15])
def test_summary_equals_the_single_functions(golden, oracle, bins):
    probs = oracle.softmax(golden.logits)
    ranking = confidences(probs, golden.labels)
    expected = {
        "error": 1 - accuracy(probs, golden.labels),
        "top5_error": 1 - accuracy(probs, golden.labels, top=5),
        "nll": nll(golden.logits, golden.labels),
        "brier": brier(probs, golden.labels),
        "ece": ece(probs, golden.labels, bins),
        "aurc": aurc(*ranking),
        "eaurc": eaurc(*ranking),
    }
    for convert in (np.asarray, torch.from_numpy):
        values = summary(convert(golden.logits), convert(golden.labels), bins=bins)
        assert values == pytest.approx(expected, abs=1e-13)
        assert all(type(value) is float for value in values.values())


@pytest.mark.usefixtures("tiny_blocks")
def test_summary_in_blocks(few):
    values = summary(few.logits, few.labels)
    assert values["nll"] == pytest.approx(nll(few.logits, few.labels), abs=1e-13)
    assert values["brier"] == pytest.approx(brier(few.probs, few.labels), abs=1e-13)
    assert values["ece"] == pytest.approx(ece(few.probs, few.labels), abs=1e-13)


def test_keys_are_the_figures_in_their_order(few):
    assert list(summary(few.logits, few.labels)) == [each.key for each in FIGURES]


@pytest.mark.parametrize(("classes", "present"), [(5, False), (6, True)])
def test_top_5_error_needs_more_than_five_classes(classes, present):
    logits = np.arange(classes, dtype=float)[None]
    assert ("top5_error" in summary(logits, np.array([0]))) is present


def test_saturated_logits_keep_their_order():
    # In float32 both confidences are 1 and tie; in float64 the surer answer is the right one.
    logits = np.array([[30.0, 0.0], [20.0, 0.0]], dtype=np.float32)
    assert summary(logits, np.array([0, 1]))["aurc"] == 0.25
    assert summary(1e4 * logits, np.array([0, 1]))["aurc"] == 0.5


def test_summary_refuses_bad_input():
    with pytest.raises(LimbeckError, match="bins is 0"):
        summary(np.zeros((1, 2)), np.array([0]), bins=0)
    with pytest.raises(LimbeckError, match=r"label of row 0 is 2 but must lie in 0\.\.1"):
        summary(np.zeros((1, 2)), np.array([2]))


def test_figures_print_what_their_names_say():
    shown = {each.name: each.show(0.12345) for each in FIGURES}
    assert shown == {
        "Top-1 error %": "12.35",
        "Top-5 error %": "12.35",
        "NLL": "0.123",
        "Brier": "0.123",
        "ECE %": "12.35",
        "AURC x1000": "123.45",
        "E-AURC x1000": "123.45",
    }
    assert all(each.lower_is_better for each in FIGURES)


def test_a_figure_is_found_by_its_key():
    assert figure("ece").name == "ECE %"
    with pytest.raises(LimbeckError, match="there is no figure 'eec'; did you mean 'ece'"):
        figure("eec")


def test_figures_load_without_torch():
    code = "import sys, limbeck.metrics.figures; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_loads_and_type_checkers_see_the_same_list():
    tree = ast.parse(Path(limbeck.metrics.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(seen) == dir(limbeck.metrics)
    for name, home in seen.items():
        assert getattr(limbeck.metrics, name) is getattr(sys.modules[home], name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = limbeck.metrics.nothing
