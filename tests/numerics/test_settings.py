"""Every public number is the same whatever the caller has set, and however the input lies."""

import contextlib
import threading
import warnings

import numpy as np
import pytest
import torch
from numerical_calls import CALLS, IMAGES, PATCH

import repsim_energy as rs
from repsim_energy.numerics.settings import own_settings

CONTAINERS = {"Autocorrelation", "ProfileFit"}
"""Public names of numerics that hold numbers and compute none."""


def as_is(values):
    return values


def numbers(name, layout=as_is):
    """What a call returns, as arrays."""
    return [
        part.double().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part, float)
        for part in CALLS[name](layout)
    ]


@pytest.fixture(scope="module")
def plain():
    return {name: numbers(name) for name in CALLS}


@contextlib.contextmanager
def kept(get, put, value):
    """Set something, and put back what was there."""
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


def dtype(of):
    return lambda: kept(torch.get_default_dtype, torch.set_default_dtype, of)


def precision(word):
    return lambda: kept(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, word
    )


def library(name, word, kind="matmul"):
    """Products or convolutions of float32 in one library, which torch lets one set alone."""
    home = getattr(getattr(torch.backends, name), kind)
    return lambda: kept(
        lambda: home.fp32_precision, lambda w: setattr(home, "fp32_precision", w), word
    )


def default_device(name):
    return lambda: kept(lambda: None, torch.set_default_device, name)


def deterministic():
    return kept(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    )


@contextlib.contextmanager
def without_mkldnn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of TF32, which is not asked for
        with torch.backends.mkldnn.flags(enabled=False):
            yield


SETTINGS = {
    "default dtype float64": dtype(torch.float64),
    "default dtype float16": dtype(torch.float16),
    "default dtype bfloat16": dtype(torch.bfloat16),
    "default device": default_device("meta"),
    "device as a context": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no graph": torch.no_grad,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "precision medium": precision("medium"),
    "precision high": precision("high"),
    "mkldnn in bfloat16": library("mkldnn", "bf16"),
    "cuda in TF32": library("cuda", "tf32"),
    "convolutions in bfloat16": library("mkldnn", "bf16", "conv"),
    "deterministic": deterministic,
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "no mkldnn": without_mkldnn,
    "NumPy raises": lambda: np.errstate(all="raise"),
    "all at once": lambda: all_of(
        "default dtype bfloat16",
        "default device",
        "precision medium",
        "deterministic",
        "autocast to bfloat16",
        "NumPy raises",
        "inference mode",
    ),
}


@contextlib.contextmanager
def all_of(*names):
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(SETTINGS[name]())
        yield


def test_every_public_number_is_called_here():
    public = {
        name
        for name in rs.__all__
        if getattr(getattr(rs, name), "__module__", "").startswith("repsim_energy.numerics.")
    }
    called = " ".join(CALLS)
    assert not [name for name in public - CONTAINERS if name not in called]


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_changes_a_bit(setting, plain):
    for name in CALLS:
        with SETTINGS[setting]():
            found = numbers(name)
        for part, expected in zip(found, plain[name], strict=True):
            np.testing.assert_array_equal(part, expected, err_msg=name)


def channels_last(values):
    if values.ndim == 4:
        return values.contiguous(memory_format=torch.channels_last)
    return values


def reversed_in_memory(values):
    order = tuple(range(values.ndim))[::-1]
    return values.permute(order).contiguous().permute(order)


def with_gaps(values):
    wide = torch.zeros([2 * size for size in values.shape], dtype=values.dtype)
    part = wide[tuple(slice(None, None, 2) for _ in values.shape)]
    return part.copy_(values)


def in_the_middle(values):
    """The same numbers behind others; bytes begin at a multiple of eight."""
    before = 8 if values.dtype == torch.uint8 else 1
    return torch.cat([values.new_zeros(before), values.flatten()])[before:].view(values.shape)


def with_graph(values):
    return values.clone().requires_grad_() * 1 if values.is_floating_point() else values


def parameter(values):
    return torch.nn.Parameter(values.clone()) if values.is_floating_point() else values


def of_inference(values):
    with torch.inference_mode():
        return values.clone()


def array(values):
    """As NumPy's; it has no bfloat16."""
    return values if values.dtype == torch.bfloat16 else values.numpy()


def array_that_cannot_be_written(values):
    given = array(values)
    if isinstance(given, np.ndarray):
        given = given.copy()
        given.flags.writeable = False
    return given


def on_a_gpu(values):
    return values.cuda()


SAME_BITS = [
    in_the_middle,
    with_graph,
    parameter,
    of_inference,
    array,
    array_that_cannot_be_written,
]
SAME_NUMBERS = [
    channels_last,
    reversed_in_memory,
    with_gaps,
    pytest.param(on_a_gpu, marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("layout", SAME_BITS)
def test_tensors_of_any_kind_give_the_same_bits(layout, plain):
    for name in CALLS:
        for part, expected in zip(numbers(name, layout), plain[name], strict=True):
            np.testing.assert_array_equal(part, expected, err_msg=name)


@pytest.mark.parametrize("layout", SAME_NUMBERS)
def test_any_layout_in_memory_gives_the_same_numbers(layout, plain):
    """Of bytes in every bit, of other numbers within the rounding of their type."""
    single = ("float32", "16", "narrow", "wide", "half", "metric")
    for name in CALLS:
        rounding = 1e-5 if any(kind in name for kind in single) else 1e-10
        for part, expected in zip(numbers(name, layout), plain[name], strict=True):
            if name.startswith(("patch_moments of bytes", "PatchMoments of bytes", "basis")):
                np.testing.assert_array_equal(part, expected, err_msg=name)
            size = 1.0 if "cka" in name.lower() else np.abs(expected).max()
            atol = rounding * size
            np.testing.assert_allclose(part, expected, rtol=0, atol=atol, err_msg=name)


def test_images_that_repeat_in_memory_are_images():
    for kind, images in IMAGES.items():
        repeating = images[:, :1].expand_as(images)
        found, expected = (
            rs.patch_moments(part, PATCH) for part in (repeating, repeating.contiguous())
        )
        assert torch.equal(found.second, expected.second), kind


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        np.asfortranarray,
        lambda a: np.ma.getdata(a.view()),
    ],
)
@pytest.mark.parametrize("kind", ["bytes", "float64", "float16"])
def test_moments_of_arrays_are_those_of_tensors(layout, kind):
    array = layout(IMAGES[kind].numpy())
    array.flags.writeable = False
    found, expected = rs.patch_moments(array, PATCH), rs.patch_moments(IMAGES[kind], PATCH)
    np.testing.assert_allclose(
        found.second, expected.second, rtol=1e-5 if kind == "float16" else 1e-12
    )


def test_what_is_made_in_inference_mode_can_take_part_in_a_graph():
    with torch.inference_mode():
        basis = rs.patch_moments(IMAGES["bytes"], PATCH).basis()
        bank = rs.whitening_filters(basis)
    images = IMAGES["float64"].clone().requires_grad_()
    torch.nn.functional.conv2d(images, bank).square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(t.is_inference() for t in (basis.components, basis.mean, basis.eigenvalues))


def test_batches_are_made_under_the_settings_of_their_maker():
    """Only what is ours is computed under our settings: a generator of batches keeps its own."""
    seen = []

    def batches():
        for part in IMAGES["float32"].split(20):
            seen.append((torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
            yield part

    with torch.autocast("cpu", torch.bfloat16):
        rs.patch_moments(batches(), PATCH)
    assert seen == [(True, True)] * 2


WAYS = {
    "nothing set": lambda: None,
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "highest": lambda: torch.set_float32_matmul_precision("highest"),
    "all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "mkldnn": lambda: setattr(torch.backends.mkldnn, "fp32_precision", "bf16"),
    "mkldnn.matmul": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "cuda.matmul": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "no TF32 in cuDNN": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "cudnn": lambda: setattr(torch.backends.cudnn, "fp32_precision", "ieee"),
    "cudnn.conv": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "cudnn chooses": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn repeats": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cudnn.rnn": lambda: setattr(torch.backends.cudnn.rnn, "fp32_precision", "tf32"),
    "mkldnn.conv": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
}


def libraries():
    """Where torch keeps the precision of each kind of operation."""
    cuda, cudnn, mkldnn = (getattr(torch.backends, name) for name in ("cuda", "cudnn", "mkldnn"))
    return [cuda.matmul, mkldnn.matmul, mkldnn.conv, mkldnn.rnn, cudnn.conv, cudnn.rnn]


def state():
    """All that torch tells of the precision of float32."""
    wholes = [torch.backends, torch.backends.mkldnn, torch.backends.cudnn]
    found = [home.fp32_precision for home in (*wholes, *libraries())]
    cudnn = torch.backends.cudnn
    found += [cudnn.deterministic, cudnn.benchmark]
    switches = torch.get_float32_matmul_precision, lambda: cudnn.allow_tf32
    for switch in switches:
        with contextlib.suppress(RuntimeError):  # it cannot be told in one word
            found.append(switch())
    return found


@pytest.fixture
def precision_put_back():
    yield
    torch.set_float32_matmul_precision("highest")
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    for module in (torch.backends, mkldnn, cudnn, *libraries()):
        module.fp32_precision = "none"
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = True, False, False  # as torch starts


@pytest.mark.usefixtures("precision_put_back")
@pytest.mark.parametrize("way", WAYS)
def test_the_precision_of_products_is_exact_inside_and_put_back(way):
    WAYS[way]()
    before = state()
    for error in (None, ValueError):
        with contextlib.suppress(ValueError), own_settings(), own_settings():
            assert {home.fp32_precision for home in libraries()} <= {"none", "ieee"}
            cudnn = torch.backends.cudnn
            assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == (False, True, False)
            if error is not None:
                raise error
        assert state() == before


@pytest.mark.usefixtures("precision_put_back")
def test_the_last_of_several_threads_puts_the_precision_back():
    torch.set_float32_matmul_precision("medium")
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with own_settings():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    other.start()
    assert inside.wait(10)
    with own_settings():
        pass
    assert torch.get_float32_matmul_precision() == "highest"  # the other is still at work
    leave.set()
    other.join()
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_component_has_the_same_sign_whatever_rounding_does():
    """Mirrored images have symmetric components, whose largest entries come in pairs."""
    images = IMAGES["bytes"]
    mirrored = torch.cat([images, images.flip(3), images.flip(2), images.flip(2, 3)])
    moments = rs.patch_moments(mirrored, PATCH)
    basis = moments.basis()
    noise = torch.randn(27, 27, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for seed in range(5):
        rounding = 1e-14 * moments.second * (noise + noise.T).roll(seed, 0).roll(seed, 1)
        other = rs.PatchMoments(
            moments.count, moments.total, moments.second + rounding, moments.patch, moments.unit
        ).basis()
        alike = (basis.components * other.components).sum(1)
        assert alike.min() > 0.99
