"""Detection on the command line: two runs, their evaluation, comparison and page; mistakes in a line."""

import json

import pytest
import yaml


@pytest.fixture
def written(detection, tmp_path):
    """Return a function that writes a recipe of detection, changed, and returns its name."""

    def write(name="boxes.yaml", kind="faster_rcnn", **change):
        tree = detection(kind) | {"training": {"epochs": 1, "batch_size": 4}} | change
        (tmp_path / name).write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))
        return name

    return write


def test_detectors_are_trained_evaluated_and_compared(done, refused, written, tmp_path):
    recipe = written()
    for name, fields in {"one": (), "two": ("seed=1",), "smoothed": ("method=label_smoothing",)}.items():
        ran = done("train", recipe, *fields, "--folder", f"runs/{name}", "--accelerator", "cpu")
        assert "AP50 %" in ran.out
    told = json.loads((tmp_path / "runs" / "one" / "detections.json").read_text())
    assert {"image_id", "file_name", "category", "category_id", "bbox", "score"} == set(told[0])
    assert all(0 <= one["score"] <= 1 and len(one["bbox"]) == 4 for one in told)
    ran = done("evaluate", "runs/one", "--accelerator", "cpu")
    results = json.loads((tmp_path / "runs" / "one" / "results.json").read_text())
    shown = f"{100 * results['students']['student']['last']['voc_map']:.2f}"
    assert shown in ran.out
    page = (tmp_path / "runs" / "one" / "report.html").read_text()
    assert "AP50" in page
    assert shown in page
    ran = done("compare", "runs/one", "runs/two", "runs/smoothed")
    table = (tmp_path / "comparison.md").read_text()
    assert [row.split("|")[2].strip() for row in table.splitlines() if row.startswith(("| cross", "| label"))] == [
        "2",
        "1",
    ]
    # what looks at how images are classified says so
    for what in ("confusion", "cka", "capacity", "noise"):
        assert "runs/one classifies no images" in refused("analyze", "runs/one", "--what", what)


def test_a_search_chooses_by_images_alone(refused, written, tmp_path):
    recipe = written()
    said = refused("tune", recipe, "optimiser.lr=0.001..0.1:log", "--accelerator", "cpu")
    assert said == "boxes.yaml: a search chooses by how images are classified, and task is detection"
    assert not (tmp_path / "tune").exists()


def test_detectors_are_listed_with_the_layers_of_any(done):
    listed = done("list", "models").out
    for name in ("faster_rcnn", "retinanet", "ssdlite"):
        assert f"{name} " in listed
    assert "finds things in pictures, on a classifier's stages; for task: detection" in listed
    shown = done("show", "faster_rcnn").out
    assert "parameters at 10 classes" in shown
    assert "on the backbone resnet18; for task: detection" in shown
    assert "anchor = 8.0" in shown
    shown = done("list", "layers", "{name: faster_rcnn, backbone: cnn, stages: 2}", "--size", "64").out
    assert "fpn.layer_blocks.0" in shown
    assert "body.layers.layer1.relu" in shown


MISTAKES = [
    ({"data": {"source": "digits"}}, "data.source has no boxes: choose voc or coco, or set task to another"),
    ({"model": "faster_rcnn"}, "model 'faster_rcnn' needs a backbone: set model.backbone to a classifier's name"),
    (
        {"model": {"name": "faster_rcnn", "backbone": {"name": "ssdlite", "backbone": "cnn"}}},
        "model 'faster_rcnn': its backbone 'ssdlite' is no classifier: choose one",
    ),
    ({"method": "pskd"}, "PSKD remembers each example, and boxes are chosen anew each time: set memory to model"),
    (
        {"model": {"name": "retinanet", "backbone": "cnn"}, "method": "kd", "teacher": {"run": "missing"}},
        "Hinton has targets for a distribution over classes, and retinanet's scores are none: take faster_rcnn or",
    ),
    ({"model": {"name": "faster_rcnn", "backbone": "cnn", "widht": 8}}, "model 'faster_rcnn' has no option 'widht'"),
    ({"model": {"name": "faster_rcnn", "backbone": "timm:vit_tiny_patch16_224"}}, "the backbone has no feature stages"),
    ({"backbone": {"run": "missing"}}, "missing has no results.json: it is no run, or not a finished one"),
    ({"teacher": {"run": "missing"}, "method": "kd"}, "missing has no results.json"),
    ({"training": {"epochs": 1, "batch_size": 9}}, "batch_size 9 is larger than the 8 training examples"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES, ids=[said[:40] for _, said in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(refused, written, tmp_path, change, said):
    if "timm" in str(change):
        pytest.importorskip("timm")
    recipe = written(**change)
    assert said in refused("train", recipe, "--folder", "run", "--accelerator", "cpu")
    assert [path.name for path in tmp_path.iterdir()] == [recipe]
