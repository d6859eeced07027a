"""Bars on a terminal: what they show at what time of a fake clock."""

import io
import sys

import pytest
from rich.console import Console

from repsim_energy import progress
from repsim_energy.cli import progress as module
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.data import picture_files
from repsim_energy.data.folder import folder
from repsim_energy.progress import Progress, Work, bars, working
from repsim_energy.progress.bars import bars_on, numbers
from repsim_energy.progress.rates import Pace


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def display():
    """A display on a terminal of 80 columns that is drawn only when it is asked to."""
    clock = Clock()
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    screen = bars_on(terminal, clock)
    return module._LinesAndBars(screen), screen, clock


def lines_of(bars):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(bars.make_tasks_table(bars.tasks))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("unit", "total", "done", "seconds", "expected"),
    [
        ("images", 60_000, 12_300, 10.0, "12,300/60,000 images, 1,230/s, 0:39 left"),
        ("steps", 100, 25, 50.0, "25/100 steps, 30/min, 2:30 left"),
        ("chunks", 10, 1, 1800.0, "1/10 chunks, 2.0/h, 4:30:00 left"),
        ("bytes", 170_000_000, 17_000_000, 2.0, "17.0 MB/170.0 MB, 8.5 MB/s, 0:18 left"),
        ("items", None, 120, 60.0, "120 items, 2.0/s, 1:00"),
        ("images", 60_000, 0, 10.0, "0/60,000 images, 0:10"),
        ("items", None, 0, 65.0, "0 items, 1:05"),
        ("", None, 0, 65.0, "1:05"),
        ("images", 5, 5, 5.0, "5/5 images, 1.0/s, 0:00 left"),
    ],
)
def test_rate_and_time_left(display, unit, total, done, seconds, expected):
    shown, bars, clock = display
    clock.now = 1000.0
    shown.work(Work("work", 0, total, unit))
    clock.now += seconds
    shown.work(Work("work", done, total, unit))
    assert numbers(bars.tasks[0]) == expected
    (line,) = lines_of(bars)
    assert line.startswith("work ")
    assert line.rstrip().endswith(expected)


@pytest.mark.parametrize("rate", [0.01, 1.0, 5000.0])
def test_the_time_left_of_even_work_is_right_from_the_first_report_on(rate):
    pace, total = Pace(0.0, 0.0), 100
    for done in range(1, total + 1):
        pace.add(done / rate, done)
        assert pace.rate == pytest.approx(rate)
        assert pace.seconds_left(done / rate, total) == pytest.approx((total - done) / rate)


def test_the_time_left_runs_down_between_two_reports():
    pace = Pace(0.0, 0.0)
    pace.add(100.0, 1)
    assert [pace.seconds_left(now, 3) for now in (100, 130, 290, 400)] == [200, 170, 10, 0]


def test_the_rate_follows_a_change():
    pace, now, done = Pace(0.0, 0.0), 0.0, 0.0
    for rate in (100.0, 10.0):
        for _ in range(400):  # 40 seconds, a report every tenth
            now, done = now + 0.1, done + rate / 10
            pace.add(now, done)
    assert pace.rate == pytest.approx(10.0)


def test_repeated_reports_do_not_change_the_rate():
    pace = Pace(0.0, 0.0)
    pace.add(0.0, 0)
    pace.add(2.0, 10)
    pace.add(3.0, 10)
    assert pace.rate == 5.0
    assert pace.seconds_left(3.0, 20) == 1.0


def test_a_bar_for_each_piece_while_it_lasts(display):
    shown, bars, _ = display
    shown.work(Work("outer", 0, 2, "chunks"))
    shown.work(Work("inner", 0, 9, "images"))
    assert [task.description for task in bars.tasks] == ["outer", "inner"]
    shown.work(Work("inner", 5, 9, "images", ended=True))  # it failed
    shown.work(Work("inner", 0, 9, "images"))
    assert [(task.description, task.completed) for task in bars.tasks] == [
        ("outer", 0),
        ("inner", 0),
    ]
    shown.work(Work("inner", 9, 9, "images", ended=True))
    shown.work(Work("outer", 2, 2, "chunks", ended=True))
    assert bars.tasks == []


def test_a_training_has_a_bar_until_the_next_one(display):
    shown, bars, clock = display
    shown.progress(Progress("a seed 0", 1, 2, 50, 100))
    assert numbers(bars.tasks[0]) == "50/100 steps, 0:00"
    clock.now = 10.0
    shown.progress(Progress("a seed 0", 1, 2, 60, 100))
    assert numbers(bars.tasks[0]) == "60/100 steps, 1.0/s, 0:40 left"
    shown.progress(Progress("b seed 0", 2, 2, 1, 100))
    assert [task.description for task in bars.tasks] == ["b seed 0 (2 of 2)"]
    shown.progress(Progress("b seed 0", 2, 2, 100, 100))
    assert bars.tasks == []


def test_work_that_ends_at_once_does_not_flicker(display):
    shown, bars, clock = display
    shown.work(Work("brief", 0, 3, "images"))
    for now, lines in ((0.1, 0), (0.29, 0), (0.31, 1)):
        clock.now = now
        (table,) = bars.get_renderables()
        assert table.row_count == lines


def test_long_names_leave_room_for_the_numbers(display):
    shown, bars, clock = display
    shown.work(Work("reading images of " + "photos" * 30, 0, 1_000_000, "images"))
    clock.now = 99.0
    shown.work(Work("reading images of " + "photos" * 30, 100_000, 1_000_000, "images"))
    (line,) = lines_of(bars)
    assert line.startswith("reading ")
    assert line.rstrip().endswith("100,000/1,000,000 images, 1,010/s, 14:51 left")


@pytest.fixture
def screen(monkeypatch):
    """Function that replaces stderr, which pytest sets again before a test begins."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    def replace(*, terminal=True):
        monkeypatch.setattr(bars, "MIN_SHOWN_SECONDS", 0.0)
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replace


def test_a_terminal_shows_pictures_being_read(photos, fresh_cache, monkeypatch, screen):
    """Every report is drawn, as if a batch took as long as one of a large folder."""
    monkeypatch.setattr(picture_files, "MAX_BATCH_IMAGES", 5)
    monkeypatch.setattr(progress, "MIN_REPORT_SECONDS", 0.0)
    update = bars.Screen.update
    monkeypatch.setattr(bars.Screen, "update", lambda *a, **o: update(*a, refresh=True, **o))
    stderr = screen()
    with reporter_on_stderr(False):
        folder("train", path=photos)
    drawn = stderr.getvalue()
    assert f"reading images of {photos.name}" in drawn
    assert all(f"{done}/12 images" in drawn for done in (0, 5, 10, 12))
    assert "/s, 0:00 left" in drawn
    stderr = screen()
    with reporter_on_stderr(False):
        folder("train", path=photos)  # mapped from the cache
    assert "images" not in stderr.getvalue()


def test_no_bar_stays_on_the_screen(screen):
    stderr = screen()
    with reporter_on_stderr(False), working("counting", 2, "units") as advance:
        advance(2)
    drawn, erased, rest = stderr.getvalue().rpartition("\x1b[2K")
    assert "counting" in drawn
    assert erased
    assert "counting" not in rest


@pytest.mark.parametrize("force", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_is_no_terminal_whatever_colors_are_asked_for(screen, monkeypatch, force):
    monkeypatch.setenv(force, "1")
    stderr = screen(terminal=False)
    with reporter_on_stderr(False), working("counting", 2, "units") as advance:
        advance(2)
    assert stderr.getvalue() == ""


def test_quiet_shows_nothing_on_a_terminal(screen):
    stderr = screen()
    with reporter_on_stderr(True), working("counting", 2, "units") as advance:
        advance(2)
    assert stderr.getvalue() == ""
