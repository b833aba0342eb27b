"""Tables for a terminal: readable at 80 columns, and in one piece where there is no terminal."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from limbeck.report import text
from limbeck.report.compare import group, read_runs
from limbeck.report.text import comparison, print_comparison, print_figures, print_rows


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes the output a terminal of some width."""

    def of(width):
        monkeypatch.setattr(
            text, "Console", lambda **named: Console(**{**named, "width": width}, force_terminal=True, no_color=True)
        )

    return of


@pytest.fixture
def groups(finished):
    methods = ("cross_entropy", "label_smoothing", "pskd")
    runs = [
        finished(
            f"{method}{seed}",
            seed,
            {"nll": 0.1 * seed + i, "scaled_nll": 0.2, "scaled_ece": 0.1},
            recipe={"method": {"name": method}},
        )
        for i, method in enumerate(methods)
        for seed in range(3)
    ]
    return group(read_runs(runs))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_gets_several_tables_and_no_broken_cell(groups, terminal, capsys, width):
    terminal(width)
    print_comparison(groups, "last")
    shown = capsys.readouterr().out
    tables = [line for line in shown.splitlines() if line.strip()]
    assert all(cell_len(line) <= width for line in tables if line.startswith(" ") and "\x1b" not in line)
    for cell in ("10.00 ± 0.00", "0.100 ± 0.100", "20.00 ± 0.00"):
        assert cell in shown
    assert shown.count("label_smoothing ") >= 3


def test_a_pipe_gets_one_table(groups, capsys):
    print_comparison(groups, "last")
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "label_smoothing" in line and "10.00 ± 0.00" in line]
    assert row.split()[:2] == ["label_smoothing", "3"]


def test_figures_of_runs_are_told_by_run_and_weights(groups, capsys):
    print_figures(list(groups[0].runs.values())[:2])
    shown = capsys.readouterr().out
    assert "cross_entropy0, last" in shown
    assert "cross_entropy1, best" in shown


def test_words_in_brackets_are_words(capsys):
    print_rows([{"group": "views=[red] :smile: [/]", "n": "3"}], "[bold]title")
    shown = capsys.readouterr().out
    assert "views=[red] :smile: [/]" in shown
    assert "[bold]title" in shown
    print_rows([], "nothing")
    assert capsys.readouterr().out == ""


def test_the_markdown_says_what_its_numbers_are(groups):
    written = comparison(groups, "last")
    assert written.startswith("Test set, last weights: mean ± standard deviation over n seeds.\n\n| group | n | Top-1")
    assert "| label_smoothing | 3 | 10.00 ± 0.00 |" in written
    assert "Paired by seed: mean difference ± 95 % interval" in written
    assert "not corrected for their number" in written
