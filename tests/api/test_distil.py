"""`limbeck.distil` on a model and a data set of the reader's own."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import limbeck
from limbeck.core import Target, TargetWriter
from limbeck.metrics import summary
from limbeck.targets import PSKD
from limbeck.train.optimisers import SGD


class Stripes(Dataset):
    """Three classes of noisy stripes, with a random transform of its own."""

    def __init__(self, count, noise=0.5):
        self.count, self.noise = count, noise

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        label = index % 3
        image = torch.zeros(1, 6, 6)
        image[:, label::3] = 1.0
        return image + self.noise * torch.randn(1, 6, 6), label


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 3))


def distil(**changed):
    settings = {"epochs": 4, "batch_size": 16, "progress": False, "accelerator": "cpu"} | changed
    return limbeck.distil(network(), Stripes(90), Stripes(60, 0.3), **settings)


@pytest.mark.parametrize(
    "method", ["cross_entropy", "label_smoothing", "pskd", {"name": "pskd", "alpha": 0.5}, PSKD(0.3)]
)
def test_every_method_learns_the_stripes(method):
    result = distil(method=method, epochs=12)
    assert result.last["error"] < 0.1
    assert result.best["epoch"] >= 1
    assert result.folder is None
    assert result.predictions.logits.shape == (60, 3)
    again = summary(result.predictions.logits, result.predictions.labels)
    assert again["nll"] == result.last["nll"]


def test_a_teacher_may_be_a_network_or_a_run(tmp_path):
    taught = distil(method="kd", teacher=distil(method="cross_entropy", epochs=12).student, epochs=12)
    assert taught.last["error"] < 0.1
    with pytest.raises(limbeck.LimbeckError, match="needs a teacher"):
        distil(method="kd")
    with pytest.raises(limbeck.LimbeckError, match="uses no teacher"):
        distil(method="pskd", teacher=network())


class Counting(nn.Module):
    """A teacher that counts whom it is asked about."""

    def __init__(self):
        super().__init__()
        self.net, self.asked = network(), 0

    def forward(self, images):
        self.asked += len(images)
        return self.net(images)


def test_a_teachers_answers_are_kept_and_replayed(tmp_path):
    again = {"method": "kd", "view_seed": 7, "cycle": 2}
    kept = {**again, "cache": tmp_path / "cache"}
    live = distil(teacher=Counting(), **again)
    teacher = Counting()
    first = distil(teacher=teacher, **kept, folder=tmp_path / "run")
    # a look at two images before training, then 81 in each epoch of the cycle
    assert teacher.asked == 2 + 2 * 81
    second = distil(teacher=teacher, **kept)
    other = distil(teacher=teacher, **kept, seed=4)
    assert teacher.asked == 2 + 2 * 81
    assert first.last == second.last == live.last != other.last
    # where answers lie is no part of a run's identity, what they are is
    assert distil(teacher=Counting(), **again, folder=tmp_path / "run").last == first.last
    with pytest.raises(limbeck.LimbeckError, match="view_seed is 7 there and 8 here"):
        distil(teacher=teacher, **again | {"view_seed": 8}, folder=tmp_path / "run")
    with pytest.raises(limbeck.LimbeckError, match="cache_top_k is None there and 1 here"):
        distil(teacher=teacher, **kept | {"cache": tmp_path / "top"}, cache_top_k=1, folder=tmp_path / "run")
    with pytest.raises(limbeck.LimbeckError, match="holds other answers .format: float32 there, float16 here"):
        distil(teacher=teacher, **kept, cache_dtype="float16")
    with pytest.raises(limbeck.LimbeckError, match="holds other answers .view_seed: 7 there, 8 here"):
        distil(teacher=teacher, **kept | {"view_seed": 8})


class Halved(TargetWriter):
    """A method of the user's own."""

    def write(self, step):
        return [[0.5 * Target("label")] for _ in step.students]


def test_the_copy_of_tfkd_self_is_the_same_network():
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 17), nn.ReLU(), nn.Linear(17, 3))
    with pytest.raises(limbeck.LimbeckError, match="TfKDSelf: the teacher must be the same network as the student"):
        distil(method="tfkd_self", teacher=other)
    assert distil(method="tfkd_self", teacher=network()).last["error"] < 0.5


def test_a_method_of_ones_own():
    assert distil(method=Halved(), epochs=12).last["error"] < 0.1


def test_peers_learn_together(tmp_path):
    torch.manual_seed(5)
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    general = {"name": "kdcl", "ensemble": "general"}
    result = distil(method=general, peers=[other], held_out=9, epochs=12, folder=tmp_path)
    assert result.peers[0].student is other
    assert result.peers[0].last["error"] < 0.1
    every = [torch.from_numpy(one.predictions.logits).double() for one in (result, *result.peers)]
    labels = torch.from_numpy(result.predictions.labels)
    together = nn.functional.nll_loss((every[0].softmax(1) / 2 + every[1].softmax(1) / 2).log(), labels)
    assert result.ensemble["nll"] == pytest.approx(together.item(), rel=1e-4)
    assert distil(method="cross_entropy").ensemble is None


def test_one_of_several_students_teaches(tmp_path):
    torch.manual_seed(5)
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    distil(method="dml", peers=[other], epochs=1, folder=tmp_path / "pair")
    with pytest.raises(limbeck.LimbeckError, match="has 2 students: choose one"):
        distil(method="kd", teacher=tmp_path / "pair")
    # of a network of one's own a folder does not know how to build it
    with pytest.raises(limbeck.LimbeckError, match=r"student-1\.safetensors is of a network of your own"):
        distil(method="kd", teacher=tmp_path / "pair" / "student-1")


def test_a_run_is_kept_continued_and_equal_with_and_without_workers(tmp_path):
    kept = distil(folder=tmp_path / "run")
    assert (kept.folder / "student.safetensors").exists()
    again = distil(folder=tmp_path / "run")
    assert again.last == kept.last
    assert torch.equal(again.student[1].weight, kept.student[1].weight)
    assert torch.equal(distil().student[1].weight, kept.student[1].weight)
    assert torch.equal(distil(workers=1).student[1].weight, kept.student[1].weight)
    with pytest.raises(limbeck.LimbeckError, match=r"holds another run .*seed is 0 there and 1 here"):
        distil(folder=tmp_path / "run", seed=1)


def test_a_validation_set_of_its_own_or_none():
    assert distil(validation=0).best is None
    assert distil(validation=30).best is not None
    assert distil(validation=Stripes(30)).best is not None


def test_optimiser_schedule_and_training_are_read_as_in_a_recipe():
    result = distil(
        optimiser={"name": "adamw", "lr": 0.01}, schedule="constant", training={"clip": 1.0, "ema": 0.5}, epochs=12
    )
    assert result.last["error"] < 0.1
    assert distil(optimiser=SGD(0.05)).last.keys() == result.last.keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "pskdd"}, "did you mean 'pskd'"),
        ({"method": {"name": "pskd", "alpha": 2.0}}, "method.alpha"),
        ({"epochs": -1}, "training.epochs"),
        ({"training": {"clips": 1.0}}, "did you mean 'clip'"),
        ({"batch_size": 500}, "larger than the 81 training examples"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"cycle": 0}, "cycle: must be at least 1; it is 0"),
        ({"cache": "answers", "cycle": 2}, "set view_seed and cycle"),
        ({"cache": "answers", "view_seed": 2}, "set view_seed and cycle"),
        ({"cache_top_k": 3}, "set cache too"),
        ({"method": "dml"}, "DML teaches at least 2 students together: give the others"),
        ({"method": "dml", "peers": [network()]}, "student-0 and student-1 have the same weights"),
        ({"method": "one"}, "ONE makes its students of a network by name: write a recipe"),
        ({"method": {"name": "kdcl", "ensemble": "general"}}, "by examples that none learns from: give held_out="),
        ({"held_out": -1}, "held_out is a share or a number of training examples, not -1"),
        ({"cache": "answers", "view_seed": 0, "cycle": 2}, "give teacher= as well, or leave cache out"),
    ],
)
def test_wrong_arguments_get_one_clear_line(changed, message):
    with pytest.raises(limbeck.LimbeckError, match=message) as caught:
        distil(**changed)
    assert "\n" not in str(caught.value)


def test_a_network_with_too_few_outputs_is_named():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with pytest.raises(limbeck.LimbeckError, match="2 logits .* 3 classes"):
        limbeck.distil(net, Stripes(30), Stripes(30), epochs=1, batch_size=10, progress=False, accelerator="cpu")
