"""Stand-ins for toolkits that pip cannot install, for signature checks alone.

Each has the signatures of the named source file and does with its arguments what that file does
with them; what lies behind (other measures, optimizers, progress bars) is left out. A test that
passes against one says that an adapter fits the signatures, not that the toolkit was run.
"""

from __future__ import annotations

import abc
import fnmatch
import itertools
import multiprocessing
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def similarity_repository() -> dict[str, ModuleType]:
    """Return ``similarity``, by similarity/registration.py of nacloos/similarity-repository."""
    registry: dict[str, Any] = {}

    def register(
        id, obj=None, preprocessing=None, postprocessing=None, function=None, interface=None
    ):
        def measure(X, Y, **kwargs):
            for step in preprocessing or []:
                X, Y = step(X), step(Y)
            score = obj(X, Y, **kwargs)
            for step in postprocessing or []:
                score = step(score)
            return score

        registry[id] = measure if id.split("/")[0] == "measure" else obj

    def make(id, *args, **kwargs):
        if id in registry:
            return registry[id]
        matches = [known for known in registry if fnmatch.fnmatch(known, id)]
        if not matches:
            raise ValueError(f"`{id}` not found in registry.")
        return {known: make(known, *args, **kwargs) for known in matches}

    return {"similarity": _module("similarity", make=make, register=register)}


def pairwise_distances(metric, traindata, testdata=None, verbose=True, enable_caching=False):
    """Netrep's pairwise distances, by netrep/multiset.py of ahwillia/netrep."""
    m = len(traindata)
    train, test = np.zeros((m, m)), np.zeros((m, m))
    if enable_caching:
        caches = [metric.partial_fit(x) for x in traindata]
    for i, j in itertools.combinations(range(m), 2):
        if enable_caching:
            metric.finalize_fit(caches[i], caches[j])
        else:
            metric.fit(traindata[i], traindata[j])
        train[i, j] = train[j, i] = metric.score(traindata[i], traindata[j])
        if testdata is not None:
            test[i, j] = test[j, i] = metric.score(testdata[i], testdata[j])
    return train if testdata is None else (train, test)


class LinearMetric:
    """Netrep's way into worker processes, by netrep/metrics/linear.py of ahwillia/netrep."""

    def __init__(self, alpha=1.0, center_columns=True, zero_pad=True, score_method="angular"):
        self.alpha, self.center_columns = alpha, center_columns
        self.zero_pad, self.score_method = zero_pad, score_method

    def _compute_distance_star(self, args):
        i, j, x, y, x_test, y_test = args
        self.fit(x, y)
        train = self.score(x, y)
        if x_test is None and y_test is None:
            return i, j, train, np.inf
        return i, j, train, self.score(x_test, y_test)

    def pairwise_distances(self, train_data, test_data=None, processes=None, verbose=True):
        n = len(train_data)
        held = [None] * n if test_data is None else test_data
        jobs = (
            (i, j, train_data[i], train_data[j], held[i], held[j])
            for i, j in itertools.combinations(range(n), 2)
        )
        train, test = np.zeros((n, n)), np.zeros((n, n))
        with multiprocessing.Pool(processes=processes) as pool:
            for i, j, d, d_test in pool.imap_unordered(self._compute_distance_star, jobs):
                train[i, j] = train[j, i] = d
                test[i, j] = test[j, i] = d_test
        return train, test


netrep = SimpleNamespace(pairwise_distances=pairwise_distances, LinearMetric=LinearMetric)


# By src/repsim/{__init__,geometry/manifold,metrics/representation_metric_space}.py
# of wrongu/repsim 0.8.


class LengthSpace(abc.ABC):
    def __init__(self, *, dim: int, shape: tuple):
        self.dim = dim
        self._shape = shape
        self.ambient = int(np.prod(shape))

    @property
    def shape(self):
        return self._shape

    def project(self, pt):
        return pt.clone() if self.contains(pt) else self._project_impl(pt)

    @abc.abstractmethod
    def _project_impl(self, pt): ...

    def contains(self, pt, atol: float = 1e-6) -> bool:
        return pt.shape == self.shape and self._contains_impl(pt, atol)

    @abc.abstractmethod
    def _contains_impl(self, pt, atol: float = 1e-6) -> bool: ...

    def length(self, pt_a, pt_b):
        points = []
        for name, pt in (("pt_a", pt_a), ("pt_b", pt_b)):
            if not self.contains(pt):
                warnings.warn(f"{name} is not on the manifold", stacklevel=2)
                pt = self._project_impl(pt)
            points.append(pt)
        return self._length_impl(*points)

    @abc.abstractmethod
    def _length_impl(self, pt_a, pt_b): ...


class RepresentationMetricSpace(LengthSpace, abc.ABC):
    @property
    def m(self):
        return self.shape[0]

    @abc.abstractmethod
    def neural_data_to_point(self, x): ...

    @abc.abstractmethod
    def string_id(self) -> str: ...

    @property
    @abc.abstractmethod
    def is_spherical(self) -> bool: ...


def compare(x, y, method="stress", **kwargs):
    if not isinstance(method, RepresentationMetricSpace):
        raise ValueError("Method must be string or RepresentationMetricSpace instance")
    return method.length(method.neural_data_to_point(x), method.neural_data_to_point(y))


def wrongu_repsim() -> dict[str, ModuleType]:
    """Return ``repsim`` of wrongu, with the signatures above."""
    content = {"RepresentationMetricSpace": RepresentationMetricSpace, "compare": compare}
    return {"repsim": _module("repsim", **content)}


def resi() -> dict[str, ModuleType]:
    """Return ``repsim.measures.utils``, by that file of mklabunde/resi."""

    @dataclass
    class BaseSimilarityMeasure(abc.ABC):
        larger_is_more_similar: bool
        is_symmetric: bool

        is_metric: bool | None = None
        invariant_to_affine: bool | None = None
        invariant_to_invertible_linear: bool | None = None
        invariant_to_ortho: bool | None = None
        invariant_to_permutation: bool | None = None
        invariant_to_isotropic_scaling: bool | None = None
        invariant_to_translation: bool | None = None
        name: str = field(init=False)

        def __post_init__(self):
            self.name = self.__class__.__name__

        @abc.abstractmethod
        def __call__(self, *args: Any, **kwds: Any) -> Any: ...

    @dataclass(kw_only=True)
    class RepresentationalSimilarityMeasure(BaseSimilarityMeasure):
        sim_func: Callable[..., float]

        def __call__(self, R, Rp, shape) -> float:
            return self.sim_func(R, Rp, shape)

    utils = _module(
        "repsim.measures.utils",
        RepresentationalSimilarityMeasure=RepresentationalSimilarityMeasure,
    )
    measures = _module("repsim.measures", utils=utils, ALL_MEASURES={})
    top = _module("repsim", measures=measures)
    return {"repsim": top, "repsim.measures": measures, "repsim.measures.utils": utils}
