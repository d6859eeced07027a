"""Which scheduler a text asks for; a wrong one is refused in one line, a good one loads fast."""

import subprocess
import sys

import pytest

from repsim_energy.errors import UsageError
from repsim_energy.scheduling import scheduler_of
from repsim_energy.scheduling.local import Local


@pytest.mark.parametrize(
    ("text", "jobs", "expected"),
    [
        (None, None, 1),
        (None, 4, 4),
        ("local", None, None),
        ("local", 3, 3),
        ("local:2", None, 2),
        ("local:2", 2, 2),
    ],
)
def test_local_and_jobs_say_the_same(text, jobs, expected):
    assert scheduler_of(text, jobs) == Local(expected)


def test_a_scheduler_is_taken_as_it_is():
    assert scheduler_of(Local(5)) == Local(5)


@pytest.mark.parametrize(
    ("text", "jobs", "message"),
    [
        ("local:2", 3, "expected one number"),
        ("local:0", None, "expected local, local:N or tcp"),
        ("slurm", None, "expected local, local:N or tcp"),
        ("tcp://host", None, "expected local, local:N or tcp"),
        ("tcp://host:8786", 2, "leave jobs out"),
        (None, 0, "expected a whole number, at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, jobs, message):
    with pytest.raises(UsageError, match=message) as refused:
        scheduler_of(text, jobs)
    assert "\n" not in str(refused.value)


@pytest.mark.process
def test_dask_is_imported_for_a_cluster_alone_and_its_absence_is_said():
    """And torchvision, which takes as long as torch itself, for its own networks alone."""
    code = (
        "import sys\nfrom repsim_energy.scheduling import scheduler_of\n"
        "from repsim_energy.models.architectures import lenet, linear_cnn, resnet, vgg\n"
        "from repsim_energy.data import mnist, torchvision_sets\nfrom repsim_energy import cache\n"
        "scheduler_of('local')\n"
        "assert not {'dask', 'distributed', 'torchvision'} & set(sys.modules)\n"
        "sys.modules['distributed'] = None\n"
        "try: scheduler_of('tcp://127.0.0.1:1').__enter__()\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'repsim-energy[dist]'" in done.stdout, done.stderr
