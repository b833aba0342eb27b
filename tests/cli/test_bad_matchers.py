"""Every mistake in matchers: one plain line, exit code 2, nothing written."""

import shlex

import pytest

KD = "digits/kd stages.teacher.training.epochs=1 "
HERE = "stages.student.matchers"


def test(arguments):
    return arguments


def kd(matchers, *more):
    return " ".join([KD, shlex.quote(f"{HERE}={matchers}"), *map(shlex.quote, more)])


def alone(matchers, *more):
    return " ".join(["digits/baseline", shlex.quote(f"matchers={matchers}"), *map(shlex.quote, more)])


NO_NORM = "model={name: cnn, norm: none}"
BOTH_NO_NORM = (NO_NORM, "stages.teacher.model={name: cnn, width: 32, norm: none}")
PEERS = "peers=[{name: cnn, width: 4}]"
VISION = ("data.source={name: cifar10}", "stages.teacher.model=torchvision:resnet18")

MISTAKES = [
    (kd("[{name: at, layers: [layer3]}]"), ""),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_x(limbeck, tmp_path, arguments, expected):
    pass
