"""The numbers are tested with as many threads as torch takes by itself."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _usual_threads(all_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(all_threads)
    yield
    torch.set_num_threads(before)
