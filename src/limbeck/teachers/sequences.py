"""Sequence-level KD: a stage that writes a teacher's translations of the training sentences, for students to learn.

Source: Kim & Rush, "Sequence-level knowledge distillation" (EMNLP 2016). The best translation that beam search finds
takes the reference's place; validation and test keep their references.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from limbeck import files
from limbeck.data.choice import Splits
from limbeck.data.text.examples import TextExamples
from limbeck.data.text.load import TextData, Translations
from limbeck.errors import LimbeckError
from limbeck.tasks.translation import Translation
from limbeck.teachers.kept import check_which
from limbeck.teachers.teacher import Inputs, TeacherChoice, load_teacher, origin
from limbeck.train.folder import held
from limbeck.train.job import Origin
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

if TYPE_CHECKING:
    from limbeck.teachers.plan import Stage

# sentences in one file: what a stop may cost
_BLOCK = 1000


class Written(NamedTuple):
    """Splits whose training targets a teacher has written.

    Attributes:
        splits: with them.
        digest: SHA-256 of what they depend on.
        by: where the teacher comes from.
    """

    splits: Splits
    digest: str
    by: Origin


def check_translations(name: str, stages: Mapping[str, Stage], seen: Sequence[str]) -> None:
    """Check that a stage learns translations of an earlier one that will have the weights.

    Args:
        name: of the stage.
        stages: of the recipe.
        seen: those before it.

    Raises:
        LimbeckError: it does not.
    """
    data = stages[name].data
    asked = data.translations if isinstance(data, TextData) else None
    if asked is None or asked.stage is None:
        return
    if asked.stage not in seen:
        raise LimbeckError(f"stage {name!r} learns translations of {asked.stage!r}, which does not come before it")
    teacher = stages[asked.stage]
    if len(teacher.networks) > 1:
        raise LimbeckError(f"stage {name!r} learns translations of {asked.stage!r}, which has several students")
    check_which(asked.which, asked.stage, teacher.training, teacher.data.validated, f"stage {name!r}")


def written(
    name: str,
    stage: Stage,
    splits: Splits,
    folders: Mapping[str, Path],
    place: Path,
    runtime: Runtime,
    display: Display,
) -> Written | None:
    """Return a stage's splits with a teacher's translations, which are written first; None where none are asked for.

    They are in `place`, under the hash of what they depend on; after a stop, the next call goes on. A collective.

    Args:
        name: of the stage.
        stage: it.
        splits: with references.
        folders: of the stages before it, by name.
        place: where stages are kept.
        runtime: devices and processes.
        display: where progress goes.

    Raises:
        LimbeckError: there is no such run, it knows another vocabulary, or another process is at work there.
    """
    asked = stage.data.translations if isinstance(stage.data, TextData) else None
    if asked is None:
        return None
    train = splits.train
    assert isinstance(train, TextExamples)
    run = folders[asked.stage] if asked.stage is not None else Path(str(asked.run))
    choice = TeacherChoice(run=str(run), which=asked.which)
    inputs = Inputs(train.classes, train.shape[0], train.mean, train.std)
    teacher = load_teacher(choice, inputs).meet(inputs, runtime.device)
    about = [teacher.fingerprint(), train.fingerprint, asked.beams, asked.penalty]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    folder = place / f"translations-{digest[:12]}"
    with held(folder, runtime, display.say):
        runtime.barrier()
        _write(folder, teacher.net, train, asked, name, runtime, display)
    lines = [line for path in _blocks(folder, train.count) for line in files.read_json(path)]
    if len(lines) != train.count:
        raise LimbeckError(f"{folder} has {len(lines)} translations of {train.count} sentences: remove it, and go on")
    told = train.text._replace(target=lines, names=(train.text.names[0], str(folder)))
    return Written(splits._replace(train=train.with_text(told)), digest, origin(choice, teacher))


def _write(
    folder: Path,
    network: nn.Module,
    train: TextExamples,
    asked: Translations,
    name: str,
    runtime: Runtime,
    display: Display,
) -> None:
    """Write the blocks that are not there, each by one process."""
    task = Translation(beams=asked.beams, penalty=asked.penalty)
    places = _blocks(folder, train.count)
    mine = [number for number in range(len(places)) if number % runtime.world == runtime.rank]
    done = sum(places[number].exists() for number in mine)
    if done < len(mine):
        with display.run(f"{name}: translations", len(mine), done, unit="block"):
            for number in mine:
                if places[number].exists():
                    continue
                rows = train.ids[number * _BLOCK : (number + 1) * _BLOCK]
                files.write(places[number], json.dumps(task.translate(network, train, rows), ensure_ascii=False))
                done += 1
                display.advance(done, {})
    runtime.barrier()


def _blocks(folder: Path, count: int) -> list[Path]:
    return [folder / f"block-{number:05d}.json" for number in range(-(-count // _BLOCK))]
