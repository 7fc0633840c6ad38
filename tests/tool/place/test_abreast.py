"""Photos side by side: order, errors, early ends, memory in bounds."""

from __future__ import annotations

import threading
import time

import pytest

from attachtrans.tool.place import abreast
from attachtrans.tool.place.abreast import Abreast, hands_for


@pytest.mark.parametrize("hands", [1, 2, 4])
def test_results_come_in_order_however_long_each_takes(hands):
    def slow_first(number):
        time.sleep(0.002 * (7 - number % 8))
        return number * number

    assert list(Abreast(hands).each(range(30), slow_first)) == [n * n for n in range(30)]


def test_they_do_overlap():
    meeting = threading.Barrier(3)
    assert list(Abreast(3).each(range(6), lambda _: meeting.wait(timeout=30) < 3)) == [True] * 6


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("hands", [1, 2])
def test_an_error_comes_in_its_turn_and_ends_the_run(error, hands):
    begun = []

    def third_fails(number):
        begun.append(number)
        if number == 2:
            raise error
        return number

    threads = threading.active_count()
    results = Abreast(hands).each(range(1000), third_fails)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(error):
        next(results)
    assert len(begun) < 20
    assert threading.active_count() == threads


def test_work_under_way_is_told_that_the_run_is_given_up():
    team = Abreast(2)
    ends = []

    def long(number):
        if number == 0:
            return number
        ends.append(team.stop.wait(timeout=30))
        return number

    results = team.each(range(1000), long)
    assert next(results) == 0
    results.close()
    assert 1 <= len(ends) <= 4
    assert all(ends)


def test_no_more_memory_is_given_than_there_is_but_one_always_gets_it(monkeypatch):
    monkeypatch.setattr(abreast, "_ROOM_BYTES", 100)
    team, lock = Abreast(4), threading.Lock()
    held, most = [0], []

    def work(nbytes):
        with team.room(nbytes):
            with lock:
                held[0] += nbytes
                most.append(held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= nbytes

    list(team.each([30, 60, 500, 40, 40, 40, 90, 10, 10] * 3, work))
    assert max(total for total in most if total < 500) <= 100
    assert max(most) == 500


def test_hands():
    assert hands_for(0) == hands_for(1) == 1
    assert 1 <= hands_for(1000) <= 4
