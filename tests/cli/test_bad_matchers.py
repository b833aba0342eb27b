"""Every mistake in a recipe's matchers: one plain line, exit code 2, nothing written."""

import shlex

import pytest

WIDE = "stages.teacher.model={name: cnn, width: 6, norm: none}"
ONE = "stages.student.method={name: one, branches: 2, split: layer2}"
PEERS = "peers=[{name: cnn, width: 4}]"


def kd(matchers, *more):
    """KD beside matchers, from a teacher that is trained first."""
    return shlex.join(["digits/kd", f"stages.student.matchers={matchers}", *more])


def alone(matchers, *more):
    """No teacher."""
    return shlex.join(["digits/baseline", f"matchers={matchers}", *more])


MISTAKES = [
    # names, fields, types
    (kd("at"), "digits/kd, stage 'student': matchers: must be a list; it is 'at'"),
    (kd("{name: at}"), "matchers: must be a list; it is {'name': 'at'}"),
    (kd("null"), "matchers: must be a list; it is None"),
    (kd("[att]"), "matchers.0: unknown name 'att'; did you mean 'at'?"),
    (kd("[null]"), "matchers.0: give a name (at, fitnet, ft, ie, od), or a mapping with 'name' and fields; not None"),
    (kd("[{layers: [layer1]}]"), "matchers.0: give a name (at, fitnet, ft, ie, od)"),
    (kd("[ft, {name: at, wieght: 1}]"), "unknown key 'wieght' in matchers.1; did you mean 'weight'?"),
    (kd("[{name: at, weight: -1}]"), "matchers.0.weight: must be at least 0; it is -1"),
    (kd("[{name: at, weight: one}]"), "matchers.0.weight: must be a number; it is 'one'"),
    (kd("[{name: at, weight: {name: until, value: 3}}]"), "matchers.0.weight.epoch is missing"),
    (kd("[{name: at, weight: {name: untl, value: 3, epoch: 1}}]"), "unknown name 'untl'; did you mean 'until'?"),
    (kd("[{name: at, layers: layer1}]"), "matchers.0.layers: must be a list; it is 'layer1'"),
    (kd("[{name: at, layers: [1]}]"), "matchers.0.layers.0: must be a text; it is 1"),
    (kd("[{name: fitnet, layers: [layer1]}]"), "unknown key 'layers' in matchers.0; did you mean 'layer'?"),
    (kd("[{name: od, between: peers}]"), "unknown key 'between' in matchers.0; there are: batch_statistics, layers"),
    (kd("[{name: od, margin: 3}]"), "matchers.0.margin: must be 'batch_norm' or 'measured'; it is 3"),
    (kd("[{name: od, stages: [1, 2, 0]}]"), "matchers.0.stages.2: must be more than 0; it is 0"),
    (kd("[{name: ft, distance: l3}]"), "matchers.0.distance: must be 'l1', 'l2' or 'cosine'; it is 'l3'"),
    (kd("[{name: ft, factors: 0}]"), "matchers.0.factors: must be at least 1; it is 0"),
    (kd("[ie]"), "matchers.0.matcher is missing"),
    (kd("[{name: ie, matcher: {name: ie, matcher: at}}]"), "matchers.0.matcher: unknown name 'ie'; there are: at,"),
    (kd("[{name: ie, matcher: [at]}]"), "matchers.0.matcher: give a name (at, fitnet, ft, od)"),
    (kd("[{name: ie, matcher: {name: ft, ratee: 1}}]"), "unknown key 'ratee' in matchers.0.matcher; did you mean"),
    (kd("[{name: ie, matcher: at, layers: [layer1]}]"), "unknown key 'layers' in matchers.0; there are: explore, inhe"),
    (kd("[{name: ie, matcher: ft, ratio: 1.5}]"), "matchers.0.ratio: must be at most 1; it is 1.5"),
    (kd("[{name: ie, matcher: ft, split: relation}]"), "matchers.0.split: must be 'natural' or 'random'"),
    (
        shlex.join(["digits/baseline", "matcher=[at]"]),
        "digits/baseline: unknown key 'matcher'; did you mean 'matchers'?",
    ),
    # layers
    (
        kd("[{name: at, layers: [layer3]}]"),
        "the student has no layer 'layer3' that puts out a tensor; did you mean 'lay",
    ),
    (kd("[{name: at, teacher_layers: [a, b, c]}]"), "the teacher has no layer 'a' that puts out a tensor"),
    (
        kd("[{name: at, layers: [flatten]}]"),
        "layer 'flatten' of the student puts out 32 numbers for an image, not a map",
    ),
    (kd("[{name: fitnet, layer: head}]"), "layer 'head' of the student puts out 10 numbers"),
    (
        kd("[{name: at, teacher_layers: [layer1.0.relu]}]", "stages.teacher.model=torchvision:resnet18"),
        "layer 'layer1.0.relu' of the teacher runs 2 times in a forward pass, and which one is meant is not clear",
    ),
    (kd("[{name: at, layers: []}]"), "the student's layers (none that fits) and the teacher's layers (none that fits)"),
    (
        kd("[{name: at, layers: [layer1], teacher_layers: [stem, layer2]}]"),
        "the student's layers (layer1 [16×4×4]) and the teacher's layers (stem [32×8×8], layer2 [128×2×2]) do not pair",
    ),
    (kd("[{name: fitnet, layer: layer2, teacher_layer: stem}]"), "no regressor leads from maps of 2x2 to 8x8"),
    (kd("[od]", WIDE), "OD reads its margin from the batch norm before layer 'stem.conv' of the teacher, and there is"),
    (kd("[{name: ie, matcher: od}]", WIDE), "and there is none: set margin to measured"),
    (kd("[{name: od, layers: [layer1]}]"), "layer 'layer1' does not go through a ReLU, and OD takes features before"),
    (kd("[{name: od, stages: [1, 2]}]"), "stages gives 2 weights to 3 layers: give one to each"),
    (kd("[{name: ie, matcher: {name: od, stages: [1]}}]"), "stages gives 1 weights to 3 layers: give one to each"),
    (kd("[{name: ft, rate: 0}]"), "a rate of 0.0 leaves no factor of 128 channels: take a larger rate"),
    (kd("[{name: ie, matcher: ft, ratio: 0.001}]"), "a ratio of 0.001 leaves one part of 32 channels empty"),
    (
        kd("[{name: ie, matcher: at}]", "stages.student.model.width=1"),
        "a layer of one channel cannot be spli",
    ),
    # with what they do not go together
    (alone("[at]"), "digits/baseline: a matcher needs a teacher: give teacher.run, teacher.weights or teacher.stage"),
    (alone("[at]", PEERS), "digits/baseline: a matcher needs a teacher"),
    (alone("[{name: at, between: peers}]"), "a matcher between peers needs at least two students: set peers"),
    (alone("[{name: ie, matcher: {name: at, between: peers}}]"), "a matcher between peers needs at least two students"),
    (alone("[{name: fitnet, between: peers, layer: layer7}]", PEERS), "the student has no layer 'layer7'"),
    (
        alone("[{name: ft, between: peers}]", PEERS),
        "between peers an auto-encoder learns beside the students: set coder",
    ),
    (
        alone("[{name: at, between: peers}]", "method={name: one, branches: 2, split: layer2}"),
        "ONE makes its students of one network, and matchers compare several: leave them out",
    ),
    (kd("[at]", ONE), "ONE makes its students of one network, and matchers compare several: leave them out"),
    (
        kd("[at]", "stages.student.teacher.cache=x", "data.view_seed=1", "data.cycle=1"),
        "teacher.cache records answers, and matchers look at layers: leave it out, or the matchers",
    ),
    (shlex.join(["digits/kd", "matchers=[at]"]), "write stages.student.matchers=[at] for one stage alone"),
    (alone("[at]", "teacher.run=missing"), "missing has no results.json: it is no run, or not a finished one"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_a_mistake_is_one_plain_line_and_nothing_is_written(refused, tmp_path, arguments, expected):
    assert expected in refused("train", *shlex.split(arguments), "--accelerator", "cpu")
    assert not list(tmp_path.iterdir())


def test_layers_of_a_finished_run_are_checked_before_training(refused, tiny, tmp_path):
    tiny("digits/baseline", "--folder", "runs/teacher")
    few = ("data.examples=60", "data.validation=100", "training.batch_size=30", "--folder", "runs/student")
    said = refused(
        "train", "digits/baseline", *few, "teacher.run=runs/teacher", "matchers=[{name: at, teacher_layers: [layer5]}]"
    )
    assert "the teacher has no layer 'layer5' that puts out a tensor; did you mean 'layer2'?" in said
    assert not (tmp_path / "runs/student/checkpoints").exists()
