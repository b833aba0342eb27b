"""The encoder-decoder of machine translation (Vaswani et al., 2017), made of torch's own layers.

Layer norm behind each sum, sine positions, one embedding for source, target and the output's weights (so one vocabulary
for both languages), embeddings times √width. The defaults are fairseq's transformer_iwslt_de_en.
"""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from limbeck.core.batch import Sentences
from limbeck.errors import LimbeckError
from limbeck.models.arguments import checked

Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
# tokens whose meaning is fixed
PAD = 0


@final
class Transformer(nn.Module):
    """Tokens to logits of the next tokens.

    Args:
        classes: size of the vocabulary; token 0 is padding.
        width: of every layer's output.
        heads: of attention; they divide the width.
        layers: of the encoder, and as many of the decoder.
        inner: width within the feed-forward layers.
        dropout: of everything that torch's layers drop, and of embeddings.
        positions: the most tokens of a sentence.
    """

    @checked
    def __init__(
        self,
        classes: Size,
        width: Size = 512,
        heads: Size = 4,
        layers: Size = 6,
        inner: Size = 1024,
        dropout: Share = 0.3,
        positions: Size = 256,
    ) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise LimbeckError(f"a width of {width} cannot be cut into {heads} heads of sines and cosines: change one")
        self.positions = positions
        self.embedding = nn.Embedding(classes, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        with torch.no_grad():
            self.embedding.weight[PAD].zero_()
        self.dropout = nn.Dropout(dropout)
        down = nn.TransformerEncoderLayer(width, heads, inner, dropout, batch_first=True)
        up = nn.TransformerDecoderLayer(width, heads, inner, dropout, batch_first=True)
        # its nested tensors are for inference, and warn where they cannot be used
        self.encoder = nn.TransformerEncoder(down, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(up, layers, nn.LayerNorm(width))
        for stack in (self.encoder, self.decoder):
            for weight in stack.parameters():
                if weight.dim() > 1:
                    nn.init.xavier_uniform_(weight)  # torch copies one layer, equal weights included
        self.waves: Tensor
        self.register_buffer("waves", _waves(positions, width), persistent=False)

    def forward(self, view: Sentences) -> Float[Tensor, "units classes"]:
        """Return the logits of the real target tokens."""
        source, target, places = view
        memory, padding = self.encode(source)
        hidden = self.decode(target, memory, padding)
        # before the output's weights, so that no logits of padding are ever made
        return self.logits(hidden.flatten(0, 1).index_select(0, places))

    def encode(
        self, source: Int[Tensor, "batch source"]
    ) -> tuple[Float[Tensor, "batch source width"], Bool[Tensor, "batch source"]]:
        """Return what the decoder looks at, and where it is padding."""
        padding = source == PAD
        return self.encoder(self._embedded(source), src_key_padding_mask=padding), padding

    def decode(
        self,
        target: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source width"],
        padding: Bool[Tensor, "batch source"],
    ) -> Float[Tensor, "batch target width"]:
        """Return what the decoder makes of each token and those before it."""
        length = target.shape[1]
        # padding stands behind, where no real token looks
        future = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        hidden: Tensor = self.decoder(
            self._embedded(target),
            memory,
            tgt_mask=future,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return hidden

    def logits(self, hidden: Float[Tensor, "units width"]) -> Float[Tensor, "units classes"]:
        """Return the logits of the next token."""
        return functional.linear(hidden, self.embedding.weight)

    def _embedded(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        length = tokens.shape[1]
        if length > self.positions:
            raise LimbeckError(f"a sentence of {length} tokens is longer than the model, which reads {self.positions}")
        found = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        embedded: Tensor = self.dropout(found + self.waves[:length].to(found.dtype))
        return embedded


def _waves(positions: int, width: int) -> Float[Tensor, "positions width"]:
    """Return the sines and cosines that tell places apart."""
    place = torch.arange(positions)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], -1).flatten(1)
