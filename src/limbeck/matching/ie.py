"""IE-KD: some channels inherit the teacher's features, the others explore away from them (Huang et al., CVPR 2021).

Equation
    L = H(y, p) + λ_inh L_inh + λ_exp L_exp,   L_inh = D(u_inh, u_T),   L_exp = -D(u_exp, u_T)
    u = F / ‖F‖₂ of the compact features F: of the teacher's features, and of each part of the student's channels

| symbol | here |
|---|---|
| inh, exp | a `Split` of the student's channels, natural or random |
| D, u | of the wrapped matcher: with `FactorTransfer(coder="autoencoder")` the paper's |
| F_T | by the encoder of an `AutoEncoder` (`limbeck.matching.coders`), trained to rebuild the teacher's, then frozen |
| F_inh, F_exp | a `Coder` each, likewise, trained with the student |
| L_inh, L_exp | `gap`, `exploration` of the wrapped matcher, of its own copy for each part |
| λ | `inherit` and `explore`, times the wrapped matcher's weight: 1 in the released code; 50 is said to be best |

Fidelity
    As in the authors' code, which covers FT's features only: the last stage after ReLU, half of the channels (the first
    half, or a permutation drawn once), the coders, unit length per example, the sign of the exploration inside the
    loss, and with cosine the mean of |cos|, which seeks what is orthogonal, not what is opposite. There the roles of
    teacher and student are named the other way round; here they are the paper's. The paper's text was not at hand.
    Ours: other ratios, the ascending order of the indices within a part, "size_free", a gradient of 0 where l2 has its
    kink, and no decoders on the student's side, which got no gradient. How the paper explores with AT and OD is not
    known: here AT's maps take the place of u, OD and FitNet explore with the student's features at the teacher's
    length, and every layer that the wrapped matcher compares is split. λ = 1 with the mean form changes next to
    nothing: the log's gradient shares show it. IE-DML's code was never published: `between: peers` lets each student
    inherit from and explore away from every other, beside DML's targets (`method: dml`, whose `updates` say whether
    they step together or in turn).

Limits
    λ = 0 is the method without it; ratio 1 is the wrapped matcher, ratio 0 exploration alone; λ_exp = 0 is the wrapped
    matcher on the channels that inherit. The exploration is bounded: for factors of D elements by
    -2 / √D in the mean form, -2 in the size-free form, 0 for |cos|; for AT by -2 per example and layer in the sum form;
    for FitNet and OD, whose own distance, subtracted, would have no bound, by what the teacher's length gives.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from limbeck.core.batch import Clock
from limbeck.core.config import Fraction, Index, Named, configurable_module
from limbeck.core.layers import Layers
from limbeck.core.matcher import Between, Coding, Explorable, Matcher, Pair, Term
from limbeck.core.schedules import WeightOverTime, at
from limbeck.errors import LimbeckError
from limbeck.matching.attention import AttentionTransfer
from limbeck.matching.factors import FactorTransfer
from limbeck.matching.fitnet import FitNet
from limbeck.matching.overhaul import Overhaul

WRAPPED: dict[str, type[Any]] = {"fitnet": FitNet, "at": AttentionTransfer, "ft": FactorTransfer, "od": Overhaul}


class Split(NamedTuple):
    """The two parts of the student's channels, disjoint and together all of them.

    Attributes:
        inherit: indices, ascending; empty at ratio 0.
        explore: the others, ascending; empty at ratio 1.
    """

    inherit: Int64[Tensor, " inherit"]
    explore: Int64[Tensor, " explore"]


def natural_split(channels: int, ratio: float = 0.5) -> Split:
    """Let the first of the channels inherit and the others explore.

    Args:
        channels: how many the student's layer has.
        ratio: the share that inherits, in [0, 1], rounded down to whole channels.

    Raises:
        LimbeckError: a ratio outside [0, 1], or one inside it that leaves a part empty.
    """
    return _cut(torch.arange(channels), ratio)


def random_split(channels: int, ratio: float = 0.5, seed: int = 0) -> Split:
    """As `natural_split`, of a permutation that depends on the seed and on `channels` alone."""
    return _cut(torch.randperm(channels, generator=torch.Generator().manual_seed(seed)), ratio)


def _cut(order: Int64[Tensor, " channels"], ratio: float) -> Split:
    if not 0 <= ratio <= 1:
        raise LimbeckError(f"the ratio of channels that inherit is {ratio} but must lie in [0, 1]")
    if 0 < ratio < 1 and len(order) < 2:
        raise LimbeckError("a layer of one channel cannot be split: choose another layer")
    # a share such as 0.29 of 100 falls just below its whole number
    inherit = int(len(order) * ratio + 1e-9)
    if 0 < ratio < 1 and not 0 < inherit < len(order):
        raise LimbeckError(
            f"a ratio of {ratio} leaves one part of {len(order)} channels empty: choose one nearer to 0.5"
        )
    return Split(order[:inherit].sort().values, order[inherit:].sort().values)


@configurable_module
@final
class InheritExplore(Matcher):
    """Let a part of the student's channels approach the teacher, and the other part leave it.

    Attributes:
        matcher: what is inherited, and explored away from; one of your own is an `Explorable`.
        ratio: the share of channels that inherits.
        split: the first channels inherit, or random ones.
        split_seed: of the random split.
        inherit: λ_inh, times the wrapped matcher's weight; a number or a schedule.
        explore: λ_exp, likewise.
    """

    matcher: Annotated[Explorable, Named(WRAPPED, own=Explorable)]
    ratio: Fraction = 0.5
    split: Literal["natural", "random"] = "natural"
    split_seed: Index = 0
    inherit: WeightOverTime = 1.0
    explore: WeightOverTime = 1.0

    def __post_init__(self) -> None:
        if self.split == "natural" and self.split_seed:
            raise ValueError("split_seed is of a random split: set split to random, or leave it out")
        for part, empty in (("explore", 1.0), ("inherit", 0.0)):
            if self.ratio == empty and getattr(self, part) not in {0.0, 1.0}:
                raise ValueError(f"a ratio of {self.ratio:g} leaves no channel that it could weigh: leave {part} out")

    @property
    def term(self) -> str:  # type: ignore[override]
        """The wrapped matcher's, with the part's name after it."""
        return self.matcher.term

    @property
    def between(self) -> Between:  # type: ignore[override]
        """As the wrapped matcher."""
        return self.matcher.between

    @property
    def batch_statistics(self) -> bool:  # type: ignore[override]
        """As the wrapped matcher."""
        return self.matcher.batch_statistics

    def choose(self, student: Layers, teacher: Layers) -> Sequence[Pair]:
        """Return what the wrapped matcher chooses."""
        return self.matcher.choose(student, teacher)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Split each of the student's layers, and prepare a matcher for either part that has channels."""
        splits = [self._split(pair.student.shape[0]) for pair in pairs]
        for i, split in enumerate(splits):
            self.register_buffer(f"inherit_channels_{i}", split.inherit)
            self.register_buffer(f"explore_channels_{i}", split.explore)
        self.parts = nn.ModuleDict()
        for name in ("inherit", "explore"):
            widths = [len(getattr(split, name)) for split in splits]
            if not all(widths):
                continue
            part = copy.deepcopy(self.matcher)
            part.prepare([_narrowed(pair, width) for pair, width in zip(pairs, widths, strict=True)])
            if len(self.parts):
                part.join(self.parts["inherit"])
            self.parts[name] = part

    def _split(self, channels: int) -> Split:
        if self.split == "random":
            return random_split(channels, self.ratio, self.split_seed)
        return natural_split(channels, self.ratio)

    def look_at_teacher(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch ..."]:
        """Return what the wrapped matcher keeps of the teacher's features."""
        return self._first.look_at_teacher(features)

    def coding(self) -> Coding | None:
        """Return what the wrapped matcher wants to learn first."""
        return self._first.coding()

    def take(self, encoder: nn.Module) -> None:
        """Give it to the wrapped matchers."""
        self._first.take(encoder)

    @property
    def surveys(self) -> bool:  # type: ignore[override]
        """As the wrapped matcher."""
        return self.matcher.surveys

    def survey(self, teacher: Sequence[Tensor]) -> Tensor:
        """Return the wrapped matcher's sums."""
        return self._first.survey(teacher)

    def settle(self, sums: Tensor) -> None:
        """Give them to the wrapped matchers."""
        for part in self._parts.values():
            part.settle(sums)

    @property
    def _parts(self) -> dict[str, Explorable]:
        return {name: part for name, part in self.parts.items() if isinstance(part, Explorable)}

    @property
    def _first(self) -> Explorable:
        return next(iter(self._parts.values()))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], clock: Clock) -> Mapping[str, Term]:
        """Return the terms of both parts."""
        understood, further = self._first.understand(teacher)
        weight, found = at(self.matcher.weight, clock), dict(further)
        for name, part in self._parts.items():
            inherits, natural = name == "inherit", self.split == "natural"
            channels = [self.get_buffer(f"{name}_channels_{i}") for i in range(len(student))]
            own = [part.look(_part(one, c, natural, inherits)) for one, c in zip(student, channels, strict=True)]
            distance = part.gap(own, understood) if inherits else part.exploration(own, understood)
            share = at(self.inherit if inherits else self.explore, clock)
            found[f"{self.term}/{name}"] = Term(share * weight, distance)
        return found


def _narrowed(pair: Pair, channels: int) -> Pair:
    return pair._replace(student=pair.student._replace(shape=(channels, *pair.student.shape[1:])))


def _part(
    features: Float[Tensor, "batch channels height width"], channels: Int64[Tensor, " part"], natural: bool, first: bool
) -> Float[Tensor, "batch part height width"]:
    """Return some channels; the first or the last ones without a copy."""
    if not natural:
        return features.index_select(1, channels)
    return features.narrow(1, 0 if first else features.shape[1] - len(channels), len(channels))
