"""FT's and IE-KD's small networks, layer by layer."""

import math

import pytest
import torch
from torch import nn

from limbeck.matching import AutoEncoder, Coder, Paraphraser, Translator, natural_split, reconstruction_loss


def kinds(module):
    return [type(layer).__name__ for layer in module]


def test_the_paraphraser_and_the_translator_are_the_authors(drawn):
    paraphraser, translator = Paraphraser(64, 32), Translator(16, 32)
    assert kinds(paraphraser.encoder) == ["Conv2d", "LeakyReLU"] * 3
    assert kinds(paraphraser.decoder) == ["ConvTranspose2d", "LeakyReLU"] * 3
    features = drawn(2, 64, 8, 8).float()
    assert paraphraser.encoder(features).shape == (2, 32, 8, 8)
    assert paraphraser(features).shape == features.shape
    assert translator(drawn(2, 16, 8, 8).float()).shape == (2, 32, 8, 8)
    # weights and biases of 64 -> 64 -> 32 -> 32 and 32 -> 32 -> 64 -> 64
    encoder = 9 * (64 * 64 + 64 * 32 + 32 * 32) + 64 + 32 + 32
    decoder = 9 * (32 * 32 + 32 * 64 + 64 * 64) + 32 + 64 + 64
    assert sum(p.numel() for p in paraphraser.parameters()) == encoder + decoder
    slopes = {layer.negative_slope for layer in paraphraser.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_the_benchmarks_translator_has_batch_norm():
    assert kinds(Translator(16, 32, batch_norm=True).encoder) == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3
    assert Translator(16, 32, batch_norm=True).encoder[0].bias is not None


def test_reconstruction_errors(drawn):
    rebuilt, features = drawn(2, 2, 2, 2), drawn(2, 2, 2, 2, seed=1)
    pairs = list(zip(rebuilt.flatten().tolist(), features.flatten().tolist(), strict=True))
    assert float(reconstruction_loss(rebuilt, features)) == pytest.approx(sum(abs(a - b) for a, b in pairs) / 16)
    squared = sum((a - b) ** 2 for a, b in pairs) / 16
    assert float(reconstruction_loss(rebuilt, features, power=2)) == pytest.approx(squared)


def test_the_coders_are_the_authors(drawn):
    auto_encoder, half = AutoEncoder(64, 32), Coder(32, 32)
    kinds = [type(layer).__name__ for layer in auto_encoder.encoder]
    assert kinds == ["LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3]

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(auto_encoder) == 129_600
    assert count(auto_encoder.encoder) == 64_768
    assert count(half) == 27_840
    features = drawn(2, 64, 8, 8).float()
    before = features.clone()
    assert auto_encoder.encoder(features).shape == (2, 32, 8, 8)
    assert auto_encoder(features).shape == features.shape
    assert half(features[:, natural_split(64).explore]).shape == (2, 32, 8, 8)
    assert torch.equal(features, before)


def test_the_coders_start_as_the_authors():
    torch.manual_seed(0)
    convs = [module for module in Coder(64, 32).modules() if isinstance(module, nn.Conv2d)]
    for conv in convs:
        assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * conv.out_channels)), rel=0.03)
        assert conv.bias is None


def test_an_auto_encoder_learns_to_rebuild(drawn):
    torch.manual_seed(0)
    features = drawn(16, 8, 4, 4).float().relu()
    auto_encoder = AutoEncoder(8, 4)
    optimiser = torch.optim.SGD(auto_encoder.parameters(), 0.1, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = reconstruction_loss(auto_encoder(features), features)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
