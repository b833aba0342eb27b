"""Two processes equal one on sentences: PS-KD's bank of tokens, the figures, the translations."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

WORDS = {"de": "null eins zwei drei vier fünf", "en": "zero one two three four five"}


def trained(place, devices, text):
    folder = place / str(devices)
    recipe = place / "recipe.yaml"
    recipe.write_text(
        f"""
task: {{name: translation, beams: 2}}
data:
  source: {{name: text, root: {text}, source: de, target: en}}
  tokenizer: {{vocabulary: 300}}
  longest: 32
model: {{name: transformer, width: 16, heads: 2, layers: 1, inner: 16, dropout: 0.0}}
method: {{name: pskd, top_k: 4}}
optimiser: {{name: sgd, lr: 0.5, momentum: 0.0}}
training: {{epochs: 3, batch_size: 120, accumulate: 2}}
"""
    )
    command = [sys.executable, "-m", "limbeck", "train", str(recipe), "--accelerator", "cpu", "--devices", str(devices)]
    done = subprocess.run(
        [*command, "--folder", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return load_file(folder / "student.safetensors"), lines, (folder / "translations.txt").read_text()


def test_two_processes_equal_one(tmp_path):
    text, chance = tmp_path / "text", random.Random(0)
    text.mkdir()
    for split, count in {"train": 60, "valid": 5, "test": 5}.items():
        rows = [[chance.randrange(6) for _ in range(chance.randint(1, 6))] for _ in range(count)]
        for language, words in WORDS.items():
            lines = [" ".join(words.split()[one] for one in row) for row in rows]
            (text / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    (one, logged, said), (two, also, told) = (trained(tmp_path, devices, text) for devices in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    for a, b in zip(logged, also, strict=True):
        assert b == pytest.approx(a, rel=1e-4)
    assert len(said.splitlines()) == len(told.splitlines()) == 5
