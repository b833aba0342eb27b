"""Training at a scale, by the command line."""

import json

import yaml


def test_every_digits_recipe_trains_at_tiny_and_its_folder_repeats_it(done, tmp_path):
    for row in ("tfkd_self", "tfkd_reg", "cskd", "rekd", "dekd"):
        ran = done("train", f"digits/{row}", "scale=tiny", "--folder", f"runs/{row}")
        assert ran.err
        written = yaml.safe_load((tmp_path / f"runs/{row}/recipe.yaml").read_text())
        assert "scale" not in written
        again = done("train", f"runs/{row}/recipe.yaml", "--folder", f"runs/{row}")
        assert (again.err, again.out.splitlines()[:-1]) == ("", ran.out.splitlines()[:-1])
    assert len((tmp_path / "runs/dekd/metrics.jsonl").read_text().splitlines()) == 4
    poor = [
        path for path in (tmp_path / "runs/stages").iterdir()
        if len((path / "metrics.jsonl").read_text().splitlines()) == 1
    ]  # fmt: skip
    assert len(poor) == 1, "De-KD's teacher stopped after one epoch"
    assert len(list((tmp_path / "runs/stages").iterdir())) == 2, "Tf-KD self and Re-KD have the same teacher"


def test_overrides_at_a_scale_are_in_the_resolved_recipe(done, tmp_path):
    done("train", "digits/baseline", "scale=tiny", "training.epochs=2", "--folder", "run")
    written = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert (written["training"]["epochs"], written["data"]["examples"], written["model"]["width"]) == (2, 300, 4)
    assert json.loads((tmp_path / "run/results.json").read_text())["students"]["student"]["last"]
