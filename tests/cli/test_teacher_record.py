"""`limbeck teacher record`: the teacher is asked ahead, once."""

import pytest

ROOM = ("data.view_seed=0", "data.cycle=2", "stages.student.teacher.cache=answers")


def test_a_cache_is_filled_and_then_nobody_is_asked(done, small, tiny, tmp_path, monkeypatch):
    ran = done("teacher", "record", "digits/kd", *small, *ROOM)
    assert "answers has the teacher's answers: " in ran.out
    assert "2 epoch(s)" in ran.out
    assert "teacher's answers: epoch 2/2" in ran.err
    assert (tmp_path / "answers/header.json").exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["stages"]

    from limbeck.teachers.teacher import Teacher

    monkeypatch.setattr(Teacher, "__call__", lambda *_: pytest.fail("the teacher is asked"))
    assert "teacher: " not in tiny("digits/kd", *ROOM).err


def test_mistakes_are_one_line(refused, small):
    assert "digits/kdd" in refused("teacher", "record", "digits/kdd")
    assert "has no cache: set teacher.cache" in refused("teacher", "record", "digits/baseline", *small)
    assert "set data.view_seed and data.cycle" in refused("teacher", "record", "digits/kd", *small, ROOM[2])
