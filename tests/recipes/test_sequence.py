"""Chains and generations: stages that nobody has to copy by hand."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.models import build_model
from limbeck.recipes import read_recipe
from limbeck.recipes.parse import parse
from limbeck.recipes.read import plan
from limbeck.report.catalogue import describe
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime
from limbeck.train.weights import fingerprint, load_weights, read_weights

BASE = {
    "data": {"source": "digits", "examples": 100, "validation": 100},
    "method": {"name": "kd", "alpha": 0.5, "temperature": 2.0},
    "training": {"epochs": 2, "batch_size": 50},
}
CHAIN = {**BASE, "chain": [{"name": "cnn", "width": 8}, {"name": "cnn", "width": 4}, {"name": "cnn", "width": 2}]}
BORN_AGAIN = {**BASE, "model": {"name": "cnn", "width": 2}, "generations": 3}


def by_hand(models, names):
    first = {"model": models[0], "method": "cross_entropy"}
    rest = [{"model": model, "teacher": {"stage": before}} for before, model in zip(names, models[1:], strict=False)]
    return {**BASE, "stages": dict(zip(names, [first, *rest], strict=True))}


def test_a_chain_is_the_stages_that_one_would_write():
    names = ["teacher", "assistant", "student"]
    assert plan(CHAIN, "here") == plan(by_hand(CHAIN["chain"], names), "here")
    four = plan({**BASE, "chain": ["resnet110", "resnet56", "resnet20", "resnet8"]}, "here")
    assert list(four.stages) == ["teacher", "assistant-1", "assistant-2", "student"]
    assert [stage.model.name for stage in four.stages.values()] == ["resnet110", "resnet56", "resnet20", "resnet8"]
    two = plan({**BASE, "chain": ["resnet20", "resnet8"]}, "here")
    assert list(two.stages) == ["teacher", "student"]


def test_generations_are_one_network_from_other_seeds():
    found = plan(BORN_AGAIN, "here", ["seed=7"])
    assert list(found.stages) == ["generation-1", "generation-2", "generation-3"]
    assert [stage.seed for stage in found.stages.values()] == [2007, 1007, 7]
    assert len({stage.model.name for stage in found.stages.values()}) == 1
    assert [stage.teacher and stage.teacher.stage for stage in found.stages.values()] == [
        None, "generation-1", "generation-2",
    ]  # fmt: skip
    assert [type(stage.method).__name__ for stage in found.stages.values()] == ["CrossEntropy", "Hinton", "Hinton"]


def test_a_scale_leaves_the_generations_their_seeds():
    found = plan(BORN_AGAIN, "here", ["seed=7", "scale=tiny", "training.epochs=3"])
    assert [(stage.seed, stage.training.epochs) for stage in found.stages.values()] == [(2007, 3), (1007, 3), (7, 3)]
    assert list(plan(CHAIN, "here", ["scale=tiny"]).stages) == ["teacher", "assistant", "student"]


def test_overrides_reach_the_sequence_and_its_links():
    found = plan(CHAIN, "here", ["chain=[resnet20, resnet14, resnet8]", "stages.assistant.training.epochs=1"])
    assert [stage.model.name for stage in found.stages.values()] == ["resnet20", "resnet14", "resnet8"]
    assert [stage.training.epochs for stage in found.stages.values()] == [2, 1, 2]
    assert len(plan(BORN_AGAIN, "here", ["generations=5"]).stages) == 5
    assert list(plan({**CHAIN, "model": "resnet8"}, "here", ["chain=null", "method=pskd"]).stages) == ["student"]
    which = plan(CHAIN, "here", ["teacher.which=best"])
    assert [stage.teacher and stage.teacher.which for stage in which.stages.values()] == [None, "best", "best"]
    own = {**CHAIN, "stages": {"student": {"method": {"alpha": 0.1}}}}
    assert [getattr(stage.method, "alpha", None) for stage in plan(own, "here").stages.values()] == [None, 0.5, 0.1]


def test_a_chain_of_widths_takes_the_recipe_s_network():
    tree = {**BASE, "model": {"name": "cnn", "norm": "none"}, "chain": [{"width": 8}, {"width": 4}]}
    assert [stage.model.options for stage in plan(tree, "here").stages.values()] == [
        {"norm": "none", "width": 8}, {"norm": "none", "width": 4},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "overrides", "reason"),
    [
        (CHAIN, ["chain=[cnn]"], "chain is a list of two networks or more"),
        (CHAIN, ["chain=resnet20"], "chain is a list of two networks or more"),
        (CHAIN, ["chain=[resnet20, resnet88]"], "model 'resnet88' is unknown"),
        (CHAIN, ["generations=3"], "chain and generations are two ways to write a sequence: give one of them"),
        (CHAIN, ["stages.asistant.seed=1"], "there is no stage 'asistant'; did you mean 'assistant'"),
        ({**CHAIN, "peers": ["cnn"]}, [], "the links of a chain are one network each: leave peers out"),
        (CHAIN, ["chain.0=resnet8"], r"override 'chain\.0=resnet8': write chain=… whole"),
        (CHAIN, ["chian=[a, b]"], "unknown key 'chian'; did you mean 'chain'"),
        ({**CHAIN, "stages": {"assistent": {}}}, [], "the chain has no link 'assistent'; did you mean 'assistant'"),
        ({**CHAIN, "teacher": {"run": "x"}}, [], r"in a chain each link teaches the next: leave teacher\.run out"),
        (BORN_AGAIN, ["generations=1"], "generations is a whole number of at least 2; it is 1"),
        (BORN_AGAIN, ["generations=many"], "generations is a whole number of at least 2; it is 'many'"),
        (BORN_AGAIN, ["seed=x"], "seed: must be a whole number; it is 'x'"),
    ],
)
def test_a_sequence_that_is_none_is_one_line(tree, overrides, reason):
    with pytest.raises(LimbeckError, match=reason) as told:
        plan(tree, "here", overrides)
    assert "\n" not in str(told.value)


def run(tree, folder, *overrides):
    with Display(silent=True) as display:
        return plan(tree, "here", overrides).run(folder, Runtime("cpu", 1, 1), display)


def test_a_chain_with_unequal_classes_is_one_line(tmp_path):
    with pytest.raises(
        LimbeckError, match=r"stage 'assistant' learns 10 classes, its teacher 'teacher' 5, or others: give both"
    ) as told:
        run(CHAIN, tmp_path / "run", "stages.teacher.data.classes=5")
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_generations_are_trained_in_their_order(tmp_path):
    run(BORN_AGAIN, tmp_path / "three")
    names = {path.name.rpartition("-")[0] for path in (tmp_path / "stages").iterdir()}
    assert names == {"generation-1", "generation-2"}
    resolved = parse((tmp_path / "three" / "recipe.yaml").read_text(), "recipe.yaml")
    assert list(resolved["stages"]) == ["generation-1", "generation-2", "generation-3"]
    assert plan(resolved, "again") == plan(BORN_AGAIN, "here")


def test_in_a_chain_only_links_of_one_network_have_seeds_of_their_own():
    found = plan({**BASE, "seed": 3, "chain": ["resnet20", "resnet8", "resnet20", "resnet8"]}, "here")
    assert [stage.seed for stage in found.stages.values()] == [1003, 1003, 3, 3]
    own = {**BASE, "chain": ["resnet8", "resnet8"], "stages": {"teacher": {"seed": 5}}}
    assert [stage.seed for stage in plan(own, "here").stages.values()] == [5, 0]


def test_a_chain_is_shown_with_the_stages_that_it_stands_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chain.yaml").write_text("data: {source: digits}\nmethod: kd\nchain: [resnet20, resnet14, resnet8]\n")
    text = describe("chain.yaml")
    said = parse("\n".join(line.removeprefix("# ") for line in text.splitlines()[4:]), "shown")
    assert text.splitlines()[3] == "# chain stands for:"
    assert said["stages"]["assistant"] == {"model": "resnet14", "teacher": {"stage": "teacher"}}
    assert parse(text, "whole") == parse((tmp_path / "chain.yaml").read_text(), "file")
    assert read_recipe("chain.yaml").stages.keys() == said["stages"].keys()


def test_fingerprints_tell_generations_apart(tmp_path):
    found = plan(BORN_AGAIN, "here")
    run(BORN_AGAIN, tmp_path / "run")
    places = [*sorted((tmp_path / "stages").iterdir()), tmp_path / "run"]
    known = set()
    for place in places:
        network = build_model(found.student.model, 10, 1)
        load_weights(network, read_weights(place / "student.safetensors")[0], str(place))
        known.add(fingerprint(network))
    assert len(known) == 3
