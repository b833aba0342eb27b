"""Which layers of two networks are compared: those that are named, or the ends of their stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limbeck.core.layers import Layer, Layers, layer_at
from limbeck.core.matcher import Pair
from limbeck.errors import LimbeckError


def paired(
    student: Layers,
    teacher: Layers,
    named: Sequence[str] | None,
    teacher_named: Sequence[str] | None,
    default: Callable[[Layers], Sequence[Layer]],
) -> list[Pair]:
    """Return the layers to compare.

    Stages are compared in their order where both networks have as many, else those with maps of one size. Where only
    the student's layers are named, they are the teacher's too, if it has all of them. Of a network with one convolution
    nothing is found: it is likely a transformer, whose only map is of patches of which nothing is known yet.

    Args:
        student: all layers.
        teacher: all layers.
        named: the student's, or None.
        teacher_named: the teacher's, or None.
        default: what is taken where nothing is named.

    Raises:
        LimbeckError: there is no such layer, or none that fits; says which.
    """
    own = _found(student, default) if named is None else [layer_at(student, path, "the student") for path in named]
    if teacher_named is not None:
        theirs: Sequence[Layer] = [layer_at(teacher, path, "the teacher") for path in teacher_named]
    elif named is not None and all(path in teacher for path in named):
        theirs = [layer_at(teacher, path, "the teacher") for path in named]
    else:
        theirs = _found(teacher, default)
    if len(own) == len(theirs) and own:
        return [Pair(*both) for both in zip(own, theirs, strict=True)]
    if named is None and teacher_named is None:
        by_size = {layer.shape[1:]: layer for layer in theirs}
        if alike := [Pair(layer, by_size[layer.shape[1:]]) for layer in own if layer.shape[1:] in by_size]:
            return alike
    raise LimbeckError(
        f"{_listed('student', own)} and {_listed('teacher', theirs)} do not pair: name as many of both, in order"
    )


def _found(layers: Layers, default: Callable[[Layers], Sequence[Layer]]) -> Sequence[Layer]:
    return default(layers) if sum(layer.convolution for layer in layers.values()) > 1 else []


def _listed(whose: str, layers: Sequence[Layer]) -> str:
    found = ", ".join(f"{layer.path} [{'×'.join(map(str, layer.shape))}]" for layer in layers)
    return f"the {whose}'s layers ({found or 'none that fits'})"
