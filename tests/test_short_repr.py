"""Objects with arrays are short where a notebook or an error prints them."""

import numpy as np
import torch
from samples import noise_images

import repsim_energy as rs


def test_no_numbers_of_arrays_are_printed():
    images = noise_images(300, (3, 16, 16))
    moments = rs.patch_moments(images.images, (3, 3))
    filters = torch.randn(64, 3, 3, 3)
    run = rs.open_run(str(rs.example_result().run_id.values.flat[0]))
    things = [
        images,
        rs.Dataset("noise", images, images),
        moments,
        moments.basis(),
        run,
        run.history,
        rs.autocorrelation(images.images, max_shift=4),
        rs.patch_autocovariance(images.images, (3, 3), max_shift=4),
        rs.fit_profile(np.arange(1.0, 28.0), np.arange(27.0, 0.0, -1)),
        rs.FilterBank(filters, moments.basis()),
    ]
    for thing in things:
        text = repr(thing)
        assert text.startswith(f"{type(thing).__name__}(")
        assert len(text) < 1200, text
        assert "tensor(" not in text
        assert "array(" not in text
        assert "\n" not in text


def test_types_shapes_and_other_fields_are_printed():
    images = noise_images(20, (3, 8, 8), name="noise")
    assert repr(images) == (
        "ImageSet(images=<uint8 20x3x8x8>, labels=<int64 20>, classes=('a', 'b'), name='noise', "
        "transform=None)"
    )
    many = rs.ImageSet(images.images, images.labels, tuple(map(str, range(1000))), "many")
    assert "classes=('0', '1', '2', '3', '4', ... 1000 in all)" in repr(many)


def test_the_accessor_names_what_it_has():
    accessor = rs.example_result().repsim
    for name in ("summary", "table", "pairs", "profiles", "to_dataframe", "plot"):
        assert f".{name}" in repr(accessor)
        assert hasattr(accessor, name)
