"""Machine translation: a unit is a target token.

Each token is told from the source and the target's tokens before it, as they stand in the reference. Padding is no
unit: the network makes no logits of it, so every method sees tokens as it sees images, and sums are divided by their
number over all micro-batches and processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck import files
from limbeck.core.batch import Batch, Output, Units, View
from limbeck.core.cohort import Cohort
from limbeck.core.config import Count, NonNegative, configurable
from limbeck.data.examples import Examples
from limbeck.data.text.examples import TextExamples
from limbeck.data.text.load import TextData
from limbeck.data.text.tokens import BEGIN, END, FILE, PAD
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.metrics.sums import bin_sums, calibration_error
from limbeck.metrics.translation import bleu, chrf, require_sacrebleu, words_of
from limbeck.models import task_of
from limbeck.models.table import find_builder
from limbeck.tasks.beams import search
from limbeck.tasks.task import DIVERGED, EvaluatedTask, Setting

# sentences that are searched, or read, at a time
_TOGETHER = 50
_BINS = 15


@runtime_checkable
class Translator(Protocol):
    """A network that translates, in the steps that a search takes one by one."""

    positions: int

    def encode(self, source: Int[Tensor, "batch source"]) -> tuple[Tensor, Bool[Tensor, "batch source"]]:
        """Return what the decoder looks at, and where it is padding."""
        ...

    def decode(
        self, target: Int[Tensor, "batch target"], memory: Tensor, padding: Bool[Tensor, "batch source"]
    ) -> Float[Tensor, "batch target width"]:
        """Return what the decoder makes of each token and those before it."""
        ...

    def logits(self, hidden: Float[Tensor, "units width"]) -> Float[Tensor, "units classes"]:
        """Return the logits of the next token."""
        ...


class Said(NamedTuple):
    """What a network says of a split: of each target token, and, where it was asked to, in its own words.

    Attributes:
        ids: of tokens, int64 [N].
        labels: the reference's tokens, int64 [N].
        nll: of these, in nats, float32 [N].
        told: the most probable tokens, int64 [N].
        confidence: their probabilities, float32 [N].
        sentences: numbers of sentences, int64 [M].
        translations: of these.
        references: of these.
        language: code of the target language.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    nll: NDArray[np.float32]
    told: NDArray[np.int64]
    confidence: NDArray[np.float32]
    sentences: NDArray[np.int64]
    translations: tuple[str, ...]
    references: tuple[str, ...]
    language: str


@configurable
class Translation(EvaluatedTask):
    """The task of translating sentences.

    Attributes:
        beams: of the search; 1 is greedy.
        penalty: of length: the power of its length by which a translation's log probability is divided.
        chunk: at most so many tokens have their targets at a time, which bounds the memory that a large vocabulary
            takes; null takes all of a micro-batch together. The result is the same up to rounding.
    """

    name: ClassVar[str] = "translation"

    beams: Count = 5
    penalty: NonNegative = 1.0
    chunk: Count | None = 512

    def units(self, output: Output, batch: Batch) -> Units:
        """Return one unit per target token.

        Raises:
            LimbeckError: the logits are not [U, K].
        """
        logits = output.logits
        if logits.ndim != 2 or len(logits) != len(batch.labels):
            raise LimbeckError(
                f"the network returned logits of shape {list(logits.shape)}; translation needs "
                f"[{len(batch.labels)}, tokens]"
            )
        return Units(logits, batch.labels, batch.ids)

    def check(self, setting: Setting) -> None:
        """Refuse what is for images, and languages that BLEU does not know."""
        data, method = setting.data, setting.method
        if not isinstance(data, TextData):
            raise ValueError("data.source has no aligned sentences: choose text or multi30k, or set task to another")
        for network in setting.networks:
            if task_of(network) != self.name:
                raise ValueError(f"model: {network.name!r} reads images, and task is translation: choose transformer")
            reads = network.options.get("positions", _default(network.name, "positions"))
            if isinstance(reads, int) and reads < data.longest:
                raise ValueError(
                    f"data.longest is {data.longest}, and the model reads {reads} tokens: lower it, or raise "
                    "model.positions"
                )
        name = type(method).__name__
        wrong = {
            "matchers compare maps of images": bool(setting.matchers),
            f"method: {name} pairs examples of one class, which sentences have none of": method.needs.siblings,
            f"method: {name} makes its students of one network for images": method.needs.copies > 1,
            f"method: {name} asks about held-out images": method.needs.held_out,
            "teacher.cache records answers to images": setting.cached,
            "training.trace sorts images": setting.traced,
            f"training.shuffle {setting.shuffled} keeps images on their processes": setting.shuffled != "global",
        }
        if found := [why for why, holds in wrong.items() if holds]:
            raise ValueError(f"{found[0]}, and task is translation: leave it out, or choose another")
        words_of(data.source.target)

    def trial(self, examples: Examples, device: torch.device) -> tuple[View, str]:
        """Return two sentences of the split."""
        require_sacrebleu()
        batch = next(iter(_text(examples).in_order(2)))
        return batch.views[0], "sentences"

    def answers(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Said]:
        """Return what each network says of each target token."""
        return [self._said(network, _text(examples), rank, world) for network in _networks(cohort)]

    def tested(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Said]:
        """Return that, and each network's translations."""
        text = _text(examples)
        rows = text.ids[(text.count * rank) // world : (text.count * (rank + 1)) // world]
        references = tuple(text.text.target[row] for row in rows)
        return [
            self._said(network, text, rank, world)._replace(
                sentences=rows, translations=tuple(self.translate(network, text, rows)), references=references
            )
            for network in _networks(cohort)
        ]

    @torch.no_grad()
    def translate(self, network: nn.Module, text: TextExamples, rows: NDArray[np.int64]) -> list[str]:
        """Return the best translations that are found of these sentences.

        Args:
            network: a `Translator`; it is left in eval mode.
            text: the sentences.
            rows: their numbers.
        """
        assert isinstance(network, Translator)
        network.eval()
        found: dict[int, list[int]] = {}
        by_length = rows[np.argsort(text.lengths[0][rows], kind="stable")]
        for start in range(0, len(rows), _TOGETHER):
            part = by_length[start : start + _TOGETHER]
            source = text.sources(part)
            memory, padding = network.encode(source)

            def ask(
                beginnings: Tensor,
                of: Tensor,
                network: Translator = network,
                memory: Tensor = memory,
                padding: Tensor = padding,
            ) -> Tensor:
                hidden = network.decode(beginnings, memory[of], padding[of])
                return network.logits(hidden[:, -1]).float().log_softmax(-1)

            most = torch.from_numpy(np.minimum(2 * text.lengths[0][part] + 10, text.shape[2])).to(source.device)
            best = search(
                ask, most, beams=self.beams, penalty=self.penalty, begin=BEGIN, end=END, never=(PAD, BEGIN)
            ).tokens[:, 0]
            found |= dict(zip(part.tolist(), best.tolist(), strict=True))
        return text.tokens.decode(found[row] for row in rows.tolist())

    @torch.no_grad()
    def _said(self, network: nn.Module, text: TextExamples, rank: int, world: int) -> Said:
        columns: list[list[NDArray[Any]]] = [[], [], [], [], []]
        network.eval()
        for batch in text.in_order(_TOGETHER, rank, world):
            output = network(batch.views[0])
            said = (output.logits if isinstance(output, Output) else output).float().log_softmax(-1)
            top, best = said.max(1)
            loss = -said.gather(1, batch.labels[:, None])[:, 0]
            for column, values in zip(columns, (batch.ids, batch.labels, loss, best, top.exp()), strict=True):
                column.append(values.cpu().numpy())
        ids, labels, nll, told, sure = (np.concatenate(column) for column in columns)
        return Said(ids, labels, nll, told, sure, np.empty(0, np.int64), (), (), text.languages[1])

    def joined(self, shares: Sequence[Said]) -> Said:
        """Return what was said of all sentences, in their order."""
        joined = shares[0]
        for share in shares[1:]:
            joined = Said._make(_behind(one, other) for one, other in zip(joined, share, strict=True))
        if not np.isfinite(joined.nll).all():
            raise NonFiniteLossError(DIVERGED)
        return joined

    def scores(self, said: Said) -> dict[str, float]:
        """Return NLL and error of the tokens."""
        return {"nll": float(said.nll.mean(dtype=np.float64)), "error": float((said.told != said.labels).mean())}

    def figures(self, said: Said, held_out: Said | None = None) -> dict[str, float]:
        """Return BLEU and chrF of the translations, and error, NLL and ECE of the tokens."""
        words = {
            "bleu": bleu(said.translations, said.references, said.language).value,
            "chrf": chrf(said.translations, said.references).value,
        }
        sure, right = torch.from_numpy(said.confidence), torch.from_numpy(said.told == said.labels)
        ece = float(calibration_error(bin_sums(sure.double(), right, _BINS)))
        return {**words, **dict(reversed(self.scores(said).items())), "ece": ece}

    def arrays(self, said: Said) -> dict[str, NDArray[Any]]:
        """Return what was said of each token."""
        columns: dict[str, NDArray[Any]] = {name: getattr(said, name) for name in Said._fields[:5]}
        return columns

    def keep(self, folder: Path, examples: Examples) -> None:
        """Write the vocabulary."""
        files.write(folder / FILE, _text(examples).tokens.text)

    def write(self, folder: Path, student: str, said: Said, examples: Examples) -> None:
        """Write the translations, one in each line."""
        tail = student.removeprefix("student")
        files.write(folder / f"translations{tail}.txt", "".join(f"{line}\n" for line in _lines(said.translations)))

    def notes(self, examples: Examples) -> dict[str, str]:
        """Return how BLEU and chrF are reckoned."""
        text = _text(examples)
        references = text.text.target
        scores = {"bleu": bleu(references, references, text.languages[1]), "chrf": chrf(references, references)}
        return {name: score.signature for name, score in scores.items()}


def _behind(one: Any, other: Any) -> Any:
    """Return a column of one share with that of the next behind it."""
    if isinstance(one, str):
        return one
    return np.concatenate([one, other]) if isinstance(one, np.ndarray) else one + other


def _lines(sentences: Sequence[str]) -> Iterator[str]:
    """Return sentences without line ends within them."""
    return (" ".join(sentence.split()) for sentence in sentences)


def _networks(cohort: Cohort) -> Iterator[nn.Module]:
    """Return each network in eval mode; the mode is restored afterwards."""
    training = cohort.training
    cohort.eval()
    for index in range(len(cohort.names)):
        yield cohort.alone(index)
    cohort.train(training)


def _text(examples: Examples) -> TextExamples:
    assert isinstance(examples, TextExamples)
    return examples


def _default(model: str, option: str) -> Any:
    import inspect

    known = inspect.signature(find_builder(model).build).parameters
    return known[option].default if option in known else None
