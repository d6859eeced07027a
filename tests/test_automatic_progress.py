"""Progress shows itself in notebooks and on terminals, and nowhere else unless asked for."""

import io
import os
import queue
import sys
import threading
import time

import pytest
import torch
from samples import noise_images

import repsim_energy as rs
from repsim_energy import progress
from repsim_energy.errors import UsageError
from repsim_energy.progress import automatic, notebook, reporting, showing, working


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def cell():
    """Bars of a notebook on a fake clock, and everything that they drew."""
    drawn, clock = [], Clock()
    return notebook.NotebookBars(lambda *both: drawn.append(both), clock), drawn, clock


@pytest.fixture
def stderr(monkeypatch):
    """Function that replaces stderr by a terminal, or by a pipe."""
    monkeypatch.delenv("REPSIM_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def replace(*, terminal):
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replace


def count(units=3, seconds=0.25, **options):
    """Work for some seconds, as a public function does it."""
    with showing(**options), working("counting <b>", units, "units") as advance:
        for _ in range(units):
            time.sleep(seconds)
            advance(1)


def test_a_cell_shows_rate_and_time_left_as_html_and_text(cell):
    bars, drawn, clock = cell
    bars.work(rs.Work("reading <b>", 0, 60_000, "images"))
    clock.now += 10
    bars.work(rs.Work("reading <b>", 12_300, 60_000, "images"))
    page, text = drawn[-1]
    assert text == "reading <b>: 12,300/60,000 images, 1,230/s, 0:39 left"
    assert "reading &lt;b&gt;: 12,300/60,000 images" in page
    assert 'value="12300" max="60000"' in page


def test_a_cell_is_drawn_four_times_a_second_and_empty_at_the_end(cell):
    bars, drawn, clock = cell
    times = []
    for step in range(1000):
        clock.now = 100.0 + step / 100
        before = len(drawn)
        bars.work(rs.Work("work", step, 1000, "units"))
        times += [clock.now] * (len(drawn) - before)
    assert times[0] == pytest.approx(100.3, abs=0.011)
    assert all(0.25 - 1e-6 <= b - a <= 0.26 + 1e-6 for a, b in zip(times, times[1:], strict=False))
    bars.close()
    assert drawn[-1] == ("", "")


def test_a_cell_shows_nothing_of_work_that_ends_at_once(cell):
    bars, drawn, clock = cell
    for _ in range(50):
        bars.work(rs.Work("brief", 0, 1, "units"))
        clock.now += 0.05
        bars.work(rs.Work("brief", 1, 1, "units", ended=True))
    bars.close()
    assert drawn == []


def test_work_without_an_end_has_a_bar_without_a_value(cell):
    bars, drawn, clock = cell
    bars.announce("2 of 4 runs are read from the cache, 2 to train")
    bars.work(rs.Work("loading", 0, None, ""))
    clock.now += 5
    bars.progress(rs.Progress("a seed 0", 1, 2, 5, 10))
    clock.now += 5
    bars.progress(rs.Progress("a seed 0", 1, 2, 6, 10))
    page, text = drawn[-1]
    assert text.splitlines() == [
        "2 of 4 runs are read from the cache, 2 to train",
        "loading: 0:10",
        "a seed 0 (1 of 2): 6/10 steps, 12/min, 0:20 left",
    ]
    assert '<progress aria-label="progress"></progress>' in page


def test_a_terminal_shows_bars_that_vanish(stderr):
    stream = stderr(terminal=True)
    count()
    drawn, erased, rest = stream.getvalue().rpartition("\x1b[2K")
    assert "counting <b>" in drawn
    assert "/3 units" in drawn
    assert erased
    assert "counting" not in rest


def test_a_terminal_is_left_alone_by_work_that_ends_at_once(stderr):
    stream = stderr(terminal=True)
    for _ in range(20):
        count(1, 0.0)
    assert stream.getvalue() == ""


def test_a_pipe_shows_nothing_unless_asked_for(stderr, monkeypatch):
    monkeypatch.setattr(automatic, "MIN_LINE_SECONDS", 0.01)
    stream = stderr(terminal=False)
    count(1, 0.02)
    assert stream.getvalue() == ""
    count(1, 0.02, progress=True)
    monkeypatch.setenv("REPSIM_PROGRESS", "1")
    count(1, 0.02)
    assert stream.getvalue() == "counting <b>: 1 units, 0:00\n" * 2


@pytest.mark.parametrize("how", ["argument", "variable", "reporter", "outer"])
def test_a_terminal_shows_nothing_where_it_is_switched_off(stderr, monkeypatch, how):
    stream = stderr(terminal=True)
    if how == "argument":
        count(2, progress=False)
    elif how == "reporter":
        count(2, reporter=rs.Reporter())
    elif how == "outer":
        with reporting(rs.Reporter()):
            count(2)
    else:
        monkeypatch.setenv("REPSIM_PROGRESS", "0")
        count(2)
    assert stream.getvalue() == ""


def test_other_threads_show_nothing(stderr):
    stream = stderr(terminal=True)
    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    assert stream.getvalue() == ""


def test_compare_and_chunks_are_quiet_if_told_and_refuse_two_answers(stderr, monkeypatch):
    stream = stderr(terminal=True)
    monkeypatch.setattr("repsim_energy.progress.bars.MIN_SHOWN_SECONDS", 0.0)
    images = noise_images(20, (3, 8, 8)).images
    banks = {"a": torch.randn(4, 3, 3, 3), "b": torch.randn(4, 3, 3, 3)}
    for options in ({"progress": False}, {"progress": None}):
        rs.compare(banks, images, **options)
        rs.patch_moments_of_chunks([lambda: images], (3, 3), **options)
        assert (stream.getvalue() == "") == (options["progress"] is False)
    with pytest.raises(UsageError, match="got progress=True and a reporter"):
        rs.compare(banks, images, progress=True, reporter=rs.Reporter())


def test_an_unknown_value_of_the_variable_is_reported(monkeypatch):
    """It does not stop a computation."""
    monkeypatch.setenv("REPSIM_PROGRESS", "yes")
    with pytest.warns(rs.RepsimWarning, match="got REPSIM_PROGRESS='yes', expected 0 or 1"):
        count(1, 0.0)


def test_an_outer_reporter_receives_what_a_call_inside_reports(stderr):
    stream, heard = stderr(terminal=True), []

    class Listener(rs.Reporter):
        def work(self, work):
            heard.append(work.label)

    with reporting(Listener()):
        count()
        assert progress._reporter.get() is not None
    assert progress._reporter.get() is None
    assert set(heard) == {"counting <b>"}
    assert stream.getvalue() == ""


CELL = """
import time
from repsim_energy.progress import working
for label in ("first", "second"):
    with working(label, 10, "units") as advance:
        for _ in range(10):
            time.sleep(0.1)
            advance(1)
print("done")
"""


@pytest.fixture
def kernel(monkeypatch):
    """A Jupyter kernel of this Python, as a front end talks to it."""
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("REPSIM_PROGRESS", raising=False)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.start_kernel()
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def messages_of(client, code):
    """Return what a cell shows, in order: type of the message and content."""
    request, shown = client.execute(code), []
    while True:
        try:
            message = client.get_iopub_msg(timeout=60)
        except queue.Empty:
            pytest.fail(f"the cell does not end: {shown}")
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            return shown
        shown.append((kind, content))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_kernel_shows_one_output_per_cell_that_is_empty_in_the_end(kernel):
    for _ in range(2):
        shown = messages_of(kernel, CELL)
        assert not [content for kind, content in shown if kind == "error"]
        first = [content for kind, content in shown if kind == "display_data"]
        later = [content for kind, content in shown if kind == "update_display_data"]
        assert len(first) == 1
        assert 4 <= len(later) <= 12
        assert {one["transient"]["display_id"] for one in later} == {
            first[0]["transient"]["display_id"]
        }
        assert "<progress" in first[0]["data"]["text/html"]
        assert "/10 units" in first[0]["data"]["text/plain"]
        assert any("second" in one["data"]["text/plain"] for one in later)
        assert later[-1]["data"] == {"text/html": "", "text/plain": ""}
        assert [content["text"] for kind, content in shown if kind == "stream"] == ["done\n"]
    messages_of(kernel, 'import os; os.environ["REPSIM_PROGRESS"] = "0"')
    assert not {kind for kind, _ in messages_of(kernel, CELL)} & {"display_data", "error"}
