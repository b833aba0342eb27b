"""Every matcher of the table passes the suite that is shipped for users' own, in several settings."""

import copy

import pytest

from limbeck.core import Constant, Linear, Until
from limbeck.matching import MATCHERS, AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul
from limbeck.testing import MatcherSuite

PEERS = FactorTransfer(between="peers", coder="autoencoder", weight=5.0)
SETTINGS = {
    "fitnet": FitNet(),
    "fitnet, half": FitNet(weight=Linear(2.0), form="half", layer="layer2", teacher_layer="layer2"),
    "at": AttentionTransfer(),
    "at, sum": AttentionTransfer(weight=Constant(3.0), layers=("layer1", "layer2"), form="sum"),
    "ft": FactorTransfer(),
    "ft, l2": FactorTransfer(distance="l2", weight=5.0),
    "ft, cosine, autoencoder": FactorTransfer(distance="cosine", coder="autoencoder", factors=3, weight=5.0),
    "ft, collapsed, batch norm": FactorTransfer(
        factor="collapsed", batch_norm=True, coder_error=2, distance="l2", form="size_free"
    ),
    "od, measured": Overhaul(margin="measured", stages=(0.5, 1.0, 2.0)),
    "od, batch statistics": Overhaul(batch_statistics=True),
    "ie, ft": InheritExplore(FactorTransfer(coder="autoencoder"), 0.5),
    "ie, ft, cosine": InheritExplore(FactorTransfer(distance="cosine"), 0.25, "random", 3, explore=2.0),
    "ie, at": InheritExplore(AttentionTransfer(), split="random", inherit=Until(1.0, 2)),
    "ie, at between peers": InheritExplore(AttentionTransfer(between="peers")),
    "ie, ft between peers": InheritExplore(PEERS),
    "ie, fitnet between peers": InheritExplore(FitNet(between="peers"), 0.75),
    "ie, od": InheritExplore(Overhaul(margin="measured", batch_statistics=True)),
    "ie, all explore": InheritExplore(FactorTransfer(), 0.0),
}


# one root over the whole batch; statistics of the batch
UNEVEN = {"ft, l2", "od, batch statistics", "ie, od"}


class TestMatchers(MatcherSuite):
    @pytest.fixture(autouse=True, params=SETTINGS)
    def setting(self, request):
        self.matcher, self.averages = SETTINGS[request.param], request.param not in UNEVEN

    def make(self):
        return copy.deepcopy(self.matcher)


def test_every_matcher_is_tested_here():
    assert {type(matcher) for matcher in SETTINGS.values()} == set(MATCHERS.values())
    wrapped = {type(matcher.matcher) for matcher in SETTINGS.values() if isinstance(matcher, InheritExplore)}
    assert wrapped == set(MATCHERS.values()) - {InheritExplore}
