"""What an option means is read from the docstring, in the forms that people write it in."""

from functools import partial

import pytest

from repsim_energy.registry import describe, load_registry
from repsim_energy.registry.docstrings import meanings_of, summary_of

EXPECTED = {"width": "channels of conv1, in every layer", "depth": "how many layers"}


def behind_the_name(num_classes, in_channels, *, width=8, depth=2):
    """Return a network.

    Source: Somebody (2020).

    Parameters
    ----------
    width : channels of ``conv1``,
        in every layer
    depth : how many layers

    Returns
    -------
    depth : not this one
    """


def below_the_name(num_classes, in_channels, *, width=8, depth=2):
    """Return a network.

    Parameters
    ----------
    num_classes : int
    width : int, optional
        channels of :class:`~torch.nn.conv1`, in

        every layer
    depth : {1, 2}, default 2
        how many layers

    Raises
    ------
    ValueError
        depth : of nothing.
    """


def other_section(num_classes, in_channels, *, width=8, depth=2):
    """Return a network.

    Parameters
    ----------
    width : int or None, default 8
        channels of conv1, in every layer

    Other Parameters
    ----------------
    depth
        how many layers

    Notes
    -----
    depth : not this one
    """


def with_types(num_classes, in_channels, *, width=8, depth=2):
    """Return a network.

    Parameters
    ----------
    width : np.ndarray of shape (n, width), optional
        channels of conv1, in every layer
    depth : Literal['a', 'b'] = 'a'
        how many layers

    Source: depth : not this one
    """


class Documented:
    """A thing.

    Parameters
    ----------
    width : channels of conv1, in every layer
    depth : how many layers
    """

    def __init__(self, *, width=8, depth=2):
        self.width, self.depth = width, depth


class DocumentedBelow:
    """A thing."""

    def __init__(self, *, width=8, depth=2):
        """Make one.

        Parameters
        ----------
        width : float
            channels of conv1, in every layer
        depth : how many layers
        """


class Family:
    """Callable."""

    def __call__(self, name, num_classes, in_channels, *, width=8, depth=2):
        """Return a member.

        Parameters
        ----------
        width : channels of conv1, in every layer
        depth : how many layers
        """


FORMS = [
    behind_the_name,
    below_the_name,
    other_section,
    with_types,
    Documented,
    DocumentedBelow,
    partial(behind_the_name, 3),
    partial(partial(below_the_name), 3),
    partial(Family(), "member"),
    Family(),
]


@pytest.mark.parametrize("form", FORMS)
def test_descriptions_are_read_in_every_form(form):
    assert meanings_of(form) == EXPECTED
    assert summary_of(form)


def several(*, width=8, depth=2, height=3):
    """Return a network.

    Parameters
    ----------
    width, depth : of everything
    **options : of others
    """


def nothing(*, width=8): ...


def types_alone(*, width=8, depth=2):
    """Return a network.

    Parameters
    ----------
    width : int
    depth : int, default 2
    """


def no_section(*, width=8):
    """Return a network whose width : is said in prose.

    width : not in a section
    """


def test_names_may_share_a_description_and_some_have_none():
    assert meanings_of(several) == dict.fromkeys(["width", "depth", "options"], "of everything") | {
        "options": "of others"
    }
    for target in (nothing, types_alone, no_section):
        assert meanings_of(target) == {}
    assert summary_of(nothing) == ""


def test_every_option_of_the_built_ins_is_described():
    registry = load_registry(plugins=False)
    for entry in registry.all_entries():
        name = entry.name.replace("/*", "/resnet18")
        summary, options = describe(registry, entry.kind, name)
        assert summary, name
        assert "``" not in summary
        for option in options:
            assert len(option.meaning) > 5, f"{name}: {option.name}"
