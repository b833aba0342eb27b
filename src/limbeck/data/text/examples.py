"""Aligned sentences as batches of tokens. A unit is a target token: it is what ids, labels and totals count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray

from limbeck.core.batch import Batch, Sentences
from limbeck.data.examples import Round
from limbeck.data.order import chunks, permutation, share, steps_of
from limbeck.data.text.sources import Pairs
from limbeck.data.text.tokens import BEGIN, END, PAD, Tokens
from limbeck.errors import LimbeckError


class Ragged:
    """Rows of different length, one behind the other.

    Args:
        rows: token numbers.
        end: a token behind each row, or None.
    """

    def __init__(self, rows: Sequence[Sequence[int]], end: int | None) -> None:
        more = [] if end is None else [end]
        self.lengths = np.array([len(row) + len(more) for row in rows], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.flat = np.array([token for row in rows for token in (*row, *more)], np.int64)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in `flat` the tokens of these rows are, row by row."""
        lengths = self.lengths[rows]
        before = np.cumsum(lengths) - lengths
        found: NDArray[np.int64] = np.repeat(self.starts[rows] - before, lengths) + np.arange(lengths.sum())
        return found

    def padded(self, rows: NDArray[np.int64]) -> tuple[Int64[np.ndarray, "rows longest"], NDArray[np.bool_]]:
        """Return these rows with padding behind, and where it is not."""
        lengths = self.lengths[rows]
        real = np.arange(lengths.max())[None] < lengths[:, None]
        found = np.full(real.shape, PAD, np.int64)
        found[real] = self.flat[self.places(rows)]
        return found, real


class TextExamples:
    """A split of aligned sentences. See `Examples`; what it says of examples holds for sentences, but units are tokens.

    Batches hold target tokens, `batch_size` at most, give or take a sentence, and sentences of like length, so that
    little is padding; they come in random order. `id_space` counts target tokens: a token's id is its place in the
    whole split. There are no random views: several views of a sentence are equal.

    Attributes:
        text: the sentences as they were read.
        tokens: the vocabulary.
        languages: codes of source and target.

    Args:
        text: aligned sentences.
        tokens: the vocabulary.
        languages: codes of source and target.
        longest: the most tokens of a sentence, with its end.
        device: where batches go.
    """

    def __init__(
        self, text: Pairs, tokens: Tokens, languages: tuple[str, str], longest: int, device: torch.device | str
    ) -> None:
        self.text, self.tokens, self.languages = text, tokens, languages
        # a network's own translation may take more tokens when it is cut anew
        self._source, self._target = (
            Ragged([one[: longest - 1] for one in tokens.encode(side)], END) for side in (text.source, text.target)
        )
        self._device = torch.device(device)
        self.classes = tokens.pieces
        # as of images with one channel, which nobody normalises
        self.shape = (1, 1, longest)
        self.mean: tuple[float, ...] = (0.0,)
        self.std: tuple[float, ...] = (1.0,)
        self.count = len(text.source)
        self.id_space = len(self._target.flat)
        self.ids = np.arange(self.count)
        self.labels = np.zeros(self.count, np.int64)
        digest = hashlib.sha256(f"{tokens.fingerprint} {languages}".encode())
        for rows in (self._source, self._target):
            digest.update(rows.lengths.tobytes() + rows.flat.tobytes())
        self.fingerprint = digest.hexdigest()

    @property
    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many tokens each source and each target has, with its end."""
        return self._source.lengths, self._target.lengths

    def with_text(self, text: Pairs) -> TextExamples:
        """Return other sentences of the same languages, in the same vocabulary; targets too long to read are cut."""
        return TextExamples(text, self.tokens, self.languages, self.shape[2], self._device)

    def sources(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the source tokens of sentences, int64 [B, S], on the device."""
        return torch.from_numpy(self._source.padded(rows)[0]).to(self._device)

    def steps(self, batch_size: int) -> int:
        """Return the number of steps of an epoch, given the target tokens of a step."""
        return steps_of(self.id_space, batch_size)

    def epoch(
        self,
        epoch: int,
        *,
        batch_size: int,
        seed: int,
        views: int = 1,
        siblings: bool = False,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        start: int = 0,
        shards: Sequence[int] = (),
    ) -> Iterator[Round]:
        """Iterate over the steps of an epoch, as `Examples.epoch` says, but `batch_size` counts target tokens.

        Raises:
            LimbeckError: a batch has fewer sentences than there are processes and micro-batches; siblings or shards
                are asked for, which sentences have none of.
        """
        if siblings or shards:
            raise LimbeckError(
                "sentences have no classes and no shards: choose another method, and training.shuffle global"
            )
        if not 0 <= start <= self.steps(batch_size):
            raise LimbeckError(
                f"can't resume at step {start} of an epoch of {self.steps(batch_size)} steps: "
                "restore the batch_size and the data of the interrupted run"
            )
        batches = self._batches(epoch, batch_size, seed)
        least = min(map(len, batches))
        if least < world * parts:
            raise LimbeckError(
                f"a batch of {batch_size} target tokens has {least} long sentence(s) and can't serve {world} "
                f"process(es) with {parts} micro-batch(es) each: use fewer of them, or a larger batch_size"
            )
        return self._rounds(batches[start:], views, rank, world, parts)

    def in_order(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Iterate over this process's share of the sentences, `batch_size` at a time, for evaluation."""
        for piece in chunks(self.count, batch_size, rank, world):
            yield self._batch(self.ids[piece], 1)

    def _batches(self, epoch: int, batch_size: int, seed: int) -> list[NDArray[np.int64]]:
        """Return the sentences of each batch, in the order of use: a pure function of its arguments."""
        shuffled = permutation(seed, epoch, self.count)
        source, target = (lengths[shuffled] for lengths in self.lengths)
        ordered = shuffled[np.lexsort((source, target))]  # stable: among equal lengths, chance decides
        lengths = self.lengths[1][ordered]
        steps = self.steps(batch_size)
        # as many batches in every epoch: each ends where its share of all tokens does
        number = (np.cumsum(lengths) - lengths) * steps // self.id_space
        batches = np.split(ordered, np.searchsorted(number, np.arange(1, steps)))
        return [batches[i] for i in permutation(seed, epoch, steps, shard=1)]

    def _rounds(
        self, batches: Sequence[NDArray[np.int64]], views: int, rank: int, world: int, parts: int
    ) -> Iterator[Round]:
        for batch in batches:
            mine = share(batch, rank, world, parts)
            total = int(self.lengths[1][batch].sum())
            yield Round(tuple(self._batch(part, views) for part in mine), total)

    def _batch(self, rows: NDArray[np.int64], views: int) -> Batch:
        target, real = self._target.padded(rows)
        before = np.full_like(target, BEGIN)
        before[:, 1:] = target[:, :-1]
        columns = self._source.padded(rows)[0], before, np.flatnonzero(real), self._target.places(rows), target[real]
        source, inputs, places, ids, labels = (self._moved(column) for column in columns)
        return Batch(ids, (Sentences(source, inputs, places),) * views, labels)

    def _moved(self, column: NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(column)
        if self._device.type == "cuda":  # nobody waits for what was pinned
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)
