"""Claims: what they mean, and what they are not."""

import pytest

from limbeck.core import LimbeckError
from limbeck.studies.claims import Figure, read_claim
from limbeck.studies.study import Stated

GRID = """
cells:
  baseline: {}
  pskd: {method: pskd}
  pair: {peers: [{name: cnn, width: 4}], method: dml}
axes:
  alpha: {field: method.alpha, values: [0.3, 0.8], cells: [pskd]}
  width: {narrow: {model.width: 2}, wide: {model: {width: 4}}}
seeds: 1
"""


@pytest.fixture
def claim(cells):
    grid = cells(GRID)
    return lambda text: read_claim(Stated(text), grid, "s.yaml")


def weights(read):
    return {f"{f.which}:{f.student}:{f.metric}({f.cell})": round(w, 6) for f, w in read.weights.items()}


def test_a_comparison_of_two_cells(claim):
    read = claim("error(baseline, width=wide) < error(baseline,width=narrow)")
    assert read.weights == {
        Figure("error", "last", None, "baseline,width=wide"): 1,
        Figure("error", "last", None, "baseline,width=narrow"): -1,
    }
    assert (read.sign, read.constant, read.metrics) == (-1, 0, ["error"])
    assert claim("nll(pskd) > nll(baseline)").sign == 1


def test_open_axes_are_averaged(claim):
    found = weights(claim("nll(pskd) < nll(baseline)"))
    assert sorted(found.values()) == [-0.5, -0.5, 0.25, 0.25, 0.25, 0.25]
    found = weights(claim("nll(pskd, width=wide) < 1.5"))
    assert found == {
        "last:None:nll(pskd,alpha=0.3,width=wide)": 0.5,
        "last:None:nll(pskd,alpha=0.8,width=wide)": 0.5,
    }


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("error(baseline) < 5%", -0.05),
        ("error(baseline) - .5 % < error(pskd)", -0.005),
        ("1e-2 + error(baseline) > error(pskd) + 0.03", -0.02),
        ("-0.5%+error(baseline)>error(pskd)", -0.005),
        ("error(baseline) − 0.1 < error(pskd)", -0.1),
    ],
)
def test_numbers(claim, text, constant):
    assert claim(text).constant == pytest.approx(constant)


def test_differences_factors_weights_and_students(claim):
    one, two = "width=wide", "width=narrow"
    found = weights(
        claim(f"error(baseline,{one}) - error(pskd,alpha=0.30,{one}) > 0.5*error(baseline,{two}) - error(pair,{two})"
              .replace("error(pair", "ensemble:error(pair"))
    )  # fmt: skip
    assert found == {
        "last:None:error(baseline,width=wide)": 1,
        "last:None:error(pskd,alpha=0.3,width=wide)": -1,
        "last:None:error(baseline,width=narrow)": -0.5,
        "last:ensemble:error(pair,width=narrow)": 1,
    }
    found = weights(claim("best:student-1:ece(pair,width=wide) < last:student:ece(baseline,width=wide)"))
    assert found == {"best:student-1:ece(pair,width=wide)": 1, "last:None:ece(baseline,width=wide)": -1}


def test_what_stands_on_both_sides_falls_out(claim):
    read = claim("ece(pskd) - ece(baseline) < ece(pair) - ece(baseline)".replace("ece(pair)", "student-0:ece(pair)"))
    assert not any("baseline" in figure.cell for figure in read.weights)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("error(pskdd) < error(baseline)", "there is no cell 'pskdd'; did you mean 'pskd'?"),
        ("eror(pskd) < error(baseline)", "there is no figure 'eror'; did you mean 'error'?"),
        ("error(wdth=wide) < 1", "there is no axis 'wdth'; did you mean 'width'?"),
        ("error(width=wid) < 1", "there is no width=wid; did you mean 'wide'?"),
        ("error(wide) < 1", "there is no cell 'wide'; did you mean 'width=wide'?"),
        ("error(alpha=0.4) < 1", "there is no alpha=0.4; there are: 0.3, 0.8"),
        ("error(baseline, alpha=0.3) < 1", "no cell is all of 'baseline, alpha=0.3'"),
        ("error(baseline) < error(baseline)", "both sides are the same"),
        ("1 < 2", "both sides are the same, or without any figure"),
        ("error(baseline) <= 1", "write one comparison, < or >"),
        ("error(baseline)", "write one comparison"),
        ("error(pskd) < error(baseline) < 1", "write one comparison"),
        ("error(pskd) <", "a side of the comparison is empty"),
        ("error(pskd) 3 < 1", "a + or - is missing before '3"),
        ("error(pskd) < 2 * 3", "a figure such as error(a) is missing before '3'"),
        ("error(pskd) < 2 *", "it ends too early"),
        ("error(pskd) < -", "it ends too early"),
        ("error() < 1", "there is no cell ''"),
        ("__import__('os').system('true') < 1", "cannot read \"__import__('os')"),
        ("error(pskd) < error(baseline) / 2", "cannot read '/ 2'"),
        ("error(pair) < 1", "has several students: say which, such as student-0:error(...)"),
        ("student-2:error(pair) < 1", "has no 'student-2'; did you mean 'student-1'?"),
        ("ensemble:error(pskd) < 1", "has no 'ensemble'; there are: student"),
        ("error(pskd) < 5", "the number 5 decides it whatever the runs give, for these figures are from 0 to 1: write"),
        ("ece(pskd) - error(baseline) < 1", "the number 1 decides it"),
        ("error(pskd) > -2%", "the number 0.02 decides it"),
        ("0.5*error(pskd) > 0.5", "the number 0.5 decides it"),
        ("a:b:error(pskd) < 1", "write best:, then one student:, then the figure"),
    ],
)
def test_what_is_no_claim_is_told_in_one_line(claim, text, reason):
    with pytest.raises(LimbeckError) as told:
        claim(text)
    assert reason in str(told.value)
    assert str(told.value).startswith(f"s.yaml: claim {text!r}: ")
    assert "\n" not in str(told.value)


def test_best_weights_need_a_validation_split(cells):
    grid = cells("cells: {a: {data.validation: 0}, b: {method: pskd}}\nseeds: 1\n")
    assert read_claim(Stated("error(a) < error(b)"), grid, "s.yaml")
    for text in ("best:error(a) < 1", "scaled_nll(a) < 1"):
        with pytest.raises(LimbeckError, match="the cell 'a' has no validation split"):
            read_claim(Stated(text), grid, "s.yaml")


@pytest.mark.parametrize("text", ["nll(pskd) < 5", "100*error(pskd) < 5", "error(pskd) > 0", "brier(pskd) < 1.2"])
def test_a_number_that_decides_nothing_alone_may_stand(claim, text):
    assert claim(text).weights
