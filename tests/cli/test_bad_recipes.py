"""Every mistake in a recipe or an override: one plain line, exit code 2, nothing written."""

import shlex

import pytest

MISTAKES = [
    # unknown keys and names, with the nearest
    ("digits/baseline trainin.epochs=3", "digits/baseline: unknown key 'trainin'; did you mean 'training'?"),
    ("digits/baseline training.epoch=3", "unknown key 'epoch' in training; did you mean 'epochs'?"),
    ("digits/kd stages.student.teacher.stag=teacher", "digits/kd, stage 'student': unknown key 'stag' in teacher"),
    ("digits/kd stages.student.teachr.stage=teacher", "unknown key 'teachr'; did you mean 'teacher'?"),
    ("digits/kd stages.studnt.seed=1", "there is no stage 'studnt'; did you mean 'student'?"),
    ("digits/pskd method.alpa=0.3", "unknown key 'alpa' in method; did you mean 'alpha'?"),
    ("digits/baseline data.source.root=x", "unknown key 'root' in data.source; there are none"),
    ("digits/baseline 'data.views=[flip, {name: pad_crop, paddin: 2}]'", "unknown key 'paddin' in data.views.1"),
    ("digits/kd 'method.alpha={name: until, value: 0.5, epochs: 3}'", "unknown key 'epochs' in method.alpha"),
    ("digits/baseline method=pskdd", "method: unknown name 'pskdd'; did you mean 'pskd'?"),
    ("digits/baseline method.name=pskdd", "method: unknown name 'pskdd'; did you mean 'pskd'?"),
    ("digits/kd 'method.alpha={name: untill, value: 0.5, epoch: 3}'", "unknown name 'untill'; did you mean 'until'?"),
    ("digits/baseline optimiser=adam", "optimiser: unknown name 'adam'; did you mean 'adamw'?"),
    ("digits/baseline schedule=cosin", "schedule: unknown name 'cosin'; did you mean 'cosine'?"),
    ("digits/baseline data.source=mnits", "data.source: unknown name 'mnits'; did you mean 'mnist'?"),
    ("digits/baseline data.views=[flop]", "data.views.0: unknown name 'flop'; did you mean 'flip'?"),
    ("digits/baseline data.mix=mixip", "data.mix: unknown name 'mixip'; did you mean 'mixup'?"),
    ("digits/baseline model=cnnn", "model 'cnnn' is unknown; did you mean 'cnn'?"),
    ("digits/baseline model.wdth=3", "model 'cnn' has no option 'wdth'; did you mean 'width'?"),
    ("digits/baseline model=torchvision:resnet1", "torchvision has no model 'resnet1'; did you mean 'resnet18'?"),
    ("digits/baselin", "there is no recipe 'digits/baselin'; did you mean 'digits/baseline'?"),
    ("digits/zzz", "there is no recipe 'digits/zzz'; see limbeck list recipes"),
    ("digits", "digits is a table: name one of its rows, such as digits/baseline (also: label_smoothing, tfkd_self,"),
    ("zzz", "there is no recipe 'zzz'; see limbeck list recipes"),
    ("missing.yaml", "there is no recipe file missing.yaml"),
    ("missing.yaml/row", "there is no recipe file missing.yaml"),
    ("digits/kd scale=smal", "digits/kd: scale 'smal' is unknown; did you mean 'small'?"),
    ("digits/kd scale=[tiny]", "digits/kd: scale ['tiny'] is unknown"),
    ("digits/kd networks=[cnnn]", "model 'cnnn' is unknown; did you mean 'cnn'?"),
    ("digits/kd networks=cnn", "digits/kd: networks is a list of networks"),
    ("digits/baseline rows.x=1", "unknown key 'rows'"),
    (".", "there is no recipe '.'"),
    # wrong types
    ("digits/pskd method.alpha=ten", "digits/pskd: method.alpha: must be a number; it is 'ten'"),
    ("digits/pskd method.alpha=true", "method.alpha: must be a number; it is True"),
    ("digits/pskd method.alpha=", "method.alpha: must be a number; it is None"),
    ("digits/kd method.alpha=half", "method.alpha: must be a number; it is 'half'"),
    ("digits/baseline training.epochs=ten", "training.epochs: must be a whole number; it is 'ten'"),
    ("digits/baseline training.epochs=true", "training.epochs: must be a whole number; it is True"),
    ("digits/baseline training.epochs=2.5", "training.epochs: must be a whole number; it is 2.5"),
    ("digits/baseline training.compile=1", "training.compile: must be true or false; it is 1"),
    ("digits/baseline training.precision=16", "training.precision: must be '32-true', 'bf16-mixed' or '16-mixed'"),
    ("digits/baseline training=3", "training: must be a mapping of names to values; it is 3"),
    ("digits/baseline data=digits", "data: must be a mapping of names to values; it is 'digits'"),
    ("digits/baseline data.views=flip", "data.views: must be a list; it is 'flip'"),
    ("digits/baseline data.mix=[mixup]", "data.mix: give a name (cutmix, mixup), or a mapping"),
    (
        "digits/baseline method=",
        "method: give a name (cross_entropy, cskd, dml, kd, kdcl, label_smoothing, one, pskd, tfkd_reg, tfkd_self)",
    ),
    ("digits/baseline 'data.source={name: image_folder, root: 3}'", "data.source.root: must be a text; it is 3"),
    ("digits/baseline seed=one", "seed: must be a whole number; it is 'one'"),
    ("digits/baseline model.width=wide", "model 'cnn', width='wide'"),
    ("digits/kd stages=3", "digits/kd: stages is a mapping of names to what each stage changes"),
    ("digits/kd stages.teacher=3", "stage 'teacher': a stage is a mapping of names to values"),
    # out of range
    ("digits/pskd method.alpha=1.3", "method.alpha: must be at most 1; it is 1.3"),
    ("digits/pskd method.alpha=-0.1", "method.alpha: must be at least 0; it is -0.1"),
    ("digits/pskd method.alpha=.nan", "method.alpha: must be at most 1; it is nan"),
    ("digits/kd method.alpha=2", "method.alpha: must be at most 1; it is 2"),
    ("digits/label_smoothing method.epsilon=1.1", "method.epsilon: must be at most 1; it is 1.1"),
    ("digits/kd method.temperature=0", "method.temperature: must be more than 0; it is 0"),
    ("digits/kd method.temperature=-1", "method.temperature: must be more than 0; it is -1"),
    ("digits/kd method.temperature=.inf", "method.temperature: must be a finite number; it is inf"),
    ("digits/baseline training.epochs=0", "training.epochs: must be at least 1; it is 0"),
    ("digits/baseline training.epochs=-3", "training.epochs: must be at least 1; it is -3"),
    ("digits/baseline training.batch_size=0", "training.batch_size: must be at least 1; it is 0"),
    ("digits/baseline optimiser.lr=0", "optimiser.lr: must be more than 0; it is 0"),
    ("digits/baseline optimiser.momentum=2", "optimiser.momentum: must be at most 1; it is 2"),
    ("digits/baseline 'schedule={name: multi_step, milestones: []}'", "must be a list of at least 1; it is []"),
    ("digits/baseline data.validation=1.5", "data.validation: must be less than 1; it is 1.5"),
    ("digits/baseline data.validation=5000", "can't hold 5000 of 1000 training examples out"),
    ("digits/baseline data.examples=5000", "can't choose 5000 of 800 training examples"),
    ("digits/baseline seed=-1", "seed: must be at least 0; it is -1"),
    # missing, or one too many
    ("digits/baseline data.views=[cutout]", "data.views.0.length is missing"),
    ("digits/baseline method=kd", "digits/baseline: the method needs a teacher"),
    ("digits/baseline teacher.run=x", "digits/baseline: a teacher is given and neither method nor matchers use one"),
    ("digits/kd stages.student.teacher=null", "stage 'student': the method needs a teacher"),
    ("digits/kd stages.student.teacher.run=x", "teacher: a teacher is exactly one of: stage, run, weights"),
    ("digits/kd 'stages.student.teacher={stage: null, run: x, model: cnn}'", "a teacher's run knows its own model"),
    (
        "digits/kd 'stages.student.teacher={stage: null, weights: x, which: best}'",
        "only a teacher's stage or run has best weights",
    ),
    ("digits/kd stages.student.teacher.which=worst", "teacher.which: must be last, best, epoch-N or accuracy-A"),
    ("digits/kd stages.student.teacher.stage=student", "'student' is taught by 'student', which does not come before"),
    ("digits/kd stages.student.teacher.stage=nobody", "'student' is taught by 'nobody', which does not come before"),
    ("digits/kd stages.teacher.training.precision=bf16-mixed", "all stages of a recipe train in one"),
    # no override, or no YAML
    ("digits/baseline foo", "override 'foo': write key=value"),
    ("digits/baseline =3", "override '=3': write key=value"),
    ("digits/baseline seed=[", "override 'seed=[', line 1: broken YAML"),
    ("digits/baseline seed=!!python/name:os.system", "the tag !!python/name:os.system means nothing in a recipe"),
    ("digits/baseline --seeds a,b", "--seeds 'a,b': write whole numbers with commas, such as 0,1,2"),
    ("digits/baseline --seeds 0,,1", "--seeds '0,,1': write whole numbers with commas"),
    ("digits/baseline --seeds=", "--seeds '': write whole numbers with commas"),
    ("digits/baseline --seeds 1,1", "--seeds '1,1': name each seed once"),
    ("digits/baseline --seeds 1,2 seed=3", "leave seed= out"),
    ("digits/baseline --seeds=-1", "seed: must be at least 0; it is -1"),
    ("digits/baseline --accelerator abacus", "cannot run on 1 × abacus"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_a_mistake_is_one_plain_line_and_nothing_is_written(refused, tmp_path, arguments, expected):
    assert expected in refused("train", *shlex.split(arguments))
    assert not list(tmp_path.iterdir())


FILES = [
    (b"data: {source: digits\nmodel: cnn\n", "r.yaml, line 2: broken YAML"),
    (b"data:\n\tsource: digits\n", "r.yaml, line 2: broken YAML"),
    (b"data: {source: digits}\nmodel: cnn\nmodel: resnet8\n", "r.yaml, line 3: broken YAML: 'model' is given twice"),
    (b"- 1\n- 2\n", "r.yaml: must be a mapping of names to values"),
    (b"", "r.yaml: must be a mapping of names to values"),
    (b"1: 2\n", "r.yaml: must be a mapping of names to values"),
    (b"\xff\xfe\x00", "r.yaml cannot be read as text in UTF-8"),
    (b"data: {source: digits}\n", "r.yaml: model is missing"),
    (b"model: cnn\n", "r.yaml: data is missing"),
    (b"model: cnn\nrows: {a: {}, b: {}}\n", "r.yaml is a table: name one of its rows, such as r.yaml/a (also: b)"),
    (b"model: cnn\nrows: 3\n", "r.yaml: rows is a mapping of names to what each row changes"),
    (b"model: cnn\nrows: {}\n", "r.yaml: rows is a mapping of names to what each row changes"),
    (b"model: cnn\nrows: {a: 3}\n", "r.yaml: row 'a' is a mapping of what it changes; it is 3"),
    (b"model: cnn\nrows: {a/b: {}}\n", "r.yaml: row 'a/b': a row's name has letters, digits, - and _ only"),
    (b"model: cnn\nrows:\n  a: {}\n  a: {}\n", "r.yaml, line 4: broken YAML: 'a' is given twice"),
    (b"data: {source: digits}\nmodel: cnn\nseed: 2020-13-45\n", "seed: must be a whole number; it is '2020-13-45'"),
    (b"data: {source: digits}\nmodel: cnn\nseed: !!int abc\n", "r.yaml: broken YAML"),
    (b"data: {source: digits}\nmodel: cnn\nstages: {1: {}}\n", "stages is a mapping of names"),
    (b"data: {source: digits}\nmodel: cnn\nstages: {../up: {}, student: {}}\n", "a stage's name has letters, digits"),
    (b"data: {source: digits}\nmodel: cnn\nstages: {a: {description: x}}\n", "stage 'a': unknown key 'description'"),
    (
        b"data: {source: digits}\nmodel: cnn\nstages:\n"
        b"  a: {method: kd, teacher: {stage: b}}\n  b: {method: cross_entropy}\n",
        "stage 'a' is taught by 'b', which does not come before it",
    ),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_a_broken_recipe_file_is_named_with_the_line(refused, tmp_path, content, expected):
    (tmp_path / "r.yaml").write_bytes(content)
    assert expected in refused("train", "r.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system", "!mine"])
def test_reading_a_recipe_executes_nothing(refused, tmp_path, tag):
    (tmp_path / "r.yaml").write_text(f"model: cnn\ndata: {tag} ['touch marker']\n")
    assert "r.yaml, line 2: broken YAML: the tag " in refused("train", "r.yaml")
    assert not (tmp_path / "marker").exists()
