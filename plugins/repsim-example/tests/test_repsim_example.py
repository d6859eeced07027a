from repsim_energy.testing import check_model

from repsim_example import build


def test_the_architecture_keeps_the_rules():
    check_model(build)
    check_model(build, width=8)
