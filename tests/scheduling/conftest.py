"""What tests of schedulers share: sums taken in one order."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _one_thread_whatever_the_environment_says():
    """As in other processes and on workers, so that sums are taken in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
