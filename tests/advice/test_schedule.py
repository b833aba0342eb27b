"""The arithmetic of a tournament: halving, lengths, and what fits into a budget."""

import itertools

import pytest

from limbeck.advice.schedule import (
    LADDER,
    MARGIN,
    Challenger,
    Cost,
    Field,
    Step,
    decide,
    halvings,
    kept_seeds,
    least,
    makespan,
    scheduled,
    whole,
)

NAMES = ("kd", "label_smoothing", "pskd", "cskd", "dml")


def field(jobs=1, epochs=60, teacher=None, count=5):
    challengers = [Challenger(NAMES[i], Cost(1.0 + i, 2.0), teacher if i == 0 else None) for i in range(count)]
    return Field(Cost(1.0, 2.0), challengers, {} if teacher is None else {teacher: 100.0}, epochs, jobs)


def naive_makespan(seconds, jobs):
    """Each job is given to the worker that is free first."""
    free = [0.0] * jobs
    for one in seconds:
        first = min(range(jobs), key=lambda i: (free[i], i))
        free[first] += one
    return max(free)


def naive_seconds(field, count, step, seeds):
    """Everything from the start, run by run."""
    shares, each = step
    chosen = field.challengers[:count]
    total = sum(field.teachers[name] for name in {one.teacher for one in chosen if one.teacher})
    halved, left = 0, count
    while left > 1:  # with as many rungs as one likes
        left = left // 2 + left % 2
        halved += 1
    used = shares[len(shares) - min(halved, len(shares)) :]
    left = count
    for share in used:
        epochs = max(1, round(field.epochs * share))
        costs = sorted((one.cost.once + epochs * one.cost.epoch for one in chosen), reverse=True)
        runs = [field.baseline.once + epochs * field.baseline.epoch, *costs[:left]]
        total += naive_makespan(runs * each, field.jobs)
        left = left // 2 + left % 2
    worst = max(one.cost.once + field.epochs * one.cost.epoch for one in chosen)
    return total + naive_makespan(
        [field.baseline.once + field.epochs * field.baseline.epoch, worst] * seeds, field.jobs
    )


@pytest.mark.parametrize("rungs", range(1, 5))
@pytest.mark.parametrize("count", range(1, 14))
def test_halving_keeps_the_better_half_and_the_last_rung_one(count, rungs):
    counts = halvings(count, rungs)
    assert (counts[0], counts[-1]) == (count, 1)
    assert len(counts) - 1 <= rungs
    for enter, stay in itertools.pairwise(counts[:-1]):
        assert stay == (enter + 1) // 2
    if len(counts) - 1 < rungs:
        assert counts[-2:] in ([2, 1], [1])


def test_halvings_of_six():
    assert halvings(6, 5) == halvings(6, 3) == [6, 3, 2, 1]
    assert halvings(6, 2) == [6, 3, 1]
    assert halvings(6, 1) == [6, 1]


def test_rungs_grow_and_none_is_shorter_than_a_quarter():
    for step in LADDER:
        found = scheduled(field(count=5), 5, step, 2).rungs
        assert [rung.epochs for rung in found] == [round(60 * share) for share in step.shares[-len(found) :]]
        assert found[0].epochs >= 15
        assert all(later.epochs == 2 * rung.epochs for rung, later in itertools.pairwise(found))
    costs = [scheduled(field(count=5), 5, step, 2).total for step in LADDER]
    assert costs == sorted(costs)


def test_of_two_challengers_there_is_one_rung_of_the_longest_kind():
    (rung,) = scheduled(field(), 2, Step((0.25, 0.5, 1.0), 2), 3).rungs
    assert (rung.epochs, rung.seeds, rung.enter, rung.stay) == (60, (0, 1), 2, 1)
    assert scheduled(field(), 1, Step((0.25,), 1), 3).rungs == ()


@pytest.mark.parametrize("jobs", [1, 2, 3])
@pytest.mark.parametrize("seconds", [[5.0], [3.0, 1.0, 1.0, 1.0], [1.0, 1.0, 4.0], [2.5] * 7])
def test_runs_share_the_jobs(seconds, jobs):
    assert makespan(seconds, jobs) == pytest.approx(naive_makespan(seconds, jobs))


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("step", LADDER)
@pytest.mark.parametrize("count", range(1, 6))
def test_the_seconds_of_a_schedule_are_those_of_its_runs(count, step, jobs):
    there = field(jobs, teacher="full")
    found = scheduled(there, count, step, 3)
    assert found.total == pytest.approx(naive_seconds(there, count, step, 3))


def test_no_seed_is_used_twice_and_the_final_is_of_full_length():
    found = scheduled(field(), 5, Step((0.25, 0.5, 1.0), 2), 3)
    seeds = [seed for rung in found.rungs for seed in rung.seeds]
    assert [*seeds, *found.seeds] == list(range(9))
    assert found.epochs == 60
    assert [(rung.enter, rung.stay) for rung in found.rungs] == [(5, 3), (3, 2), (2, 1)]


def naive_decision(there, seeds, budget):
    """The first that fits, of all schedules from the best to the least."""
    wishes = [
        (wanted, count, step)
        for wanted in range(seeds, 1, -1)
        for count in range(len(there.challengers), 0, -1)
        for step in LADDER[::-1]
    ]
    fitting = [(w, c, s) for w, c, s in wishes if MARGIN * naive_seconds(there, c, s, w) <= budget]
    return fitting[0] if fitting else None


@pytest.mark.parametrize("budget", [200.0, 500.0, 800.0, 1100.0, 1400.0, 2000.0, 3000.0, 5000.0, 20_000.0])
def test_the_budget_decides_as_it_says(budget):
    there = field(teacher="full")
    found, wanted = decide(there, 4, budget), naive_decision(there, 4, budget)
    if wanted is None:
        assert found is None
        return
    seeds, count, (shares, each) = wanted
    assert found.total * MARGIN <= budget
    assert (len(found.seeds), found.challengers) == (seeds, NAMES[:count])
    if found.rungs:
        assert found.rungs[-1].epochs == round(60 * shares[-1])
        assert len(found.rungs[-1].seeds) == each
    assert found == decide(there, 4, budget)


def test_what_is_said_to_suffice_does_and_a_second_less_does_not():
    there = field(teacher="full")
    assert len(decide(there, 3, least(there)).seeds) == 2
    assert decide(there, 3, least(there) - 1) is None
    everyone = decide(there, 3, whole(there, 3))
    assert (len(everyone.challengers), len(everyone.seeds)) == (5, 3)
    fewer = decide(there, 3, whole(there, 3) - 1)
    assert (len(fewer.challengers), len(fewer.seeds)) < (5, 3)


def test_a_teacher_counts_where_someone_needs_it():
    assert "teachers" not in scheduled(field(), 5, LADDER[0], 2).seconds
    assert scheduled(field(teacher="full"), 5, LADDER[0], 2).seconds["teachers"] == 100.0


def test_seeds_of_the_final_are_cut_only_where_the_rungs_were_far_too_slow():
    planned = scheduled(field(), 5, Step((0.25, 0.5), 1), 5)
    budget = planned.total * MARGIN
    assert kept_seeds(planned, 1.0, budget) == planned.seeds
    assert kept_seeds(planned, 1.3, budget) == planned.seeds
    assert kept_seeds(planned, 0.1, budget) == planned.seeds
    slow = kept_seeds(planned, 1.7, budget)
    assert planned.seeds[: len(slow)] == slow
    assert 2 <= len(slow) < 5
    one = planned.seconds["final"] / 5
    before = planned.total - planned.seconds["final"]
    assert 1.7 * (before + len(slow) * one) <= 1.25 * budget < 1.7 * (before + (len(slow) + 1) * one)
    assert len(kept_seeds(planned, 100.0, budget)) == 2
