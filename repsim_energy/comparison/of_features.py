"""Comparison of features from files, without networks and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repsim_energy.comparison.intervals import (
    choose_image_groups,
    half_batches,
    halves_of_samples,
)
from repsim_energy.comparison.layer_coords import layer_coords
from repsim_energy.comparison.layer_roles import LayersLike, layers_of_model, roles_of
from repsim_energy.comparison.layers import batches_of
from repsim_energy.comparison.measured import (
    Coords,
    Measured,
    dataset_coord,
    network_coords,
)
from repsim_energy.comparison.memory import (
    NUMBERS_PER_PAIR,
    check_draws,
    check_memory,
    check_pairs,
)
from repsim_energy.comparison.metric_variables import with_metric_variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.nulls.words import DRAWS, Null, choose_null
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.plan_layers import Layers
from repsim_energy.comparison.runs import run_variables
from repsim_energy.comparison.same_samples import in_one_order
from repsim_energy.comparison.sample_pairs import LAYER_DIMS, Index, SamplePairs
from repsim_energy.comparison.views import Words
from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.interfaces import (
    Activations,
    Dataset,
    ImageSet,
    Metric,
    ModelSpec,
    Normalization,
    TrainedModel,
)
from repsim_energy.models.feature_files import FeatureFile, read_features
from repsim_energy.training.recipe import as_recipe

__all__ = ["FeatureComparison"]

ONE_LAYER = "features"
"""Label of the layer if every file has one array."""

OF_IMAGES = (
    "dataset", "images", "pool", "tokens", "precision", "normalize", "answer", "channels"
)  # fmt: skip
"""Options of networks that are shown images."""


@dataclass(frozen=True, eq=False)
class FeatureComparison:
    """Comparison of features from files by a metric on activations.

    Parameters
    ----------
    plan : whose data set has the samples, without pixels, and whose models are not networks
    files : of each model, all in one order of samples
    layers : arrays of each file that are compared
    null : of the similarities
    groups : number of groups of samples, of which half-samples are compared
    """

    plan: Plan
    metric: Metric
    files: Sequence[FeatureFile]
    layers: Layers
    null: Null
    groups: int = 0

    @classmethod
    def prepare(
        cls,
        specs: Sequence[ModelSpec],
        metric: Metric,
        layers: LayersLike,
        asked: Mapping[str, Any],
        null: str = "auto",
        resamples: int | None = None,
    ) -> FeatureComparison:
        """Read the files and check that they are of the same samples.

        Parameters
        ----------
        asked : arguments that the user gave, by name
        """
        for option in OF_IMAGES:
            if option in asked:
                raise UsageError(
                    f"got {option}=, which is for networks that are shown images, and models are "
                    "features from files; leave it out"
                )
        for spec in specs:
            if typed := {"first", "frozen"} & spec.options.keys():
                raise UsageError(
                    f"got {min(typed)}= for '{spec.label}', which is features from a file, "
                    "expected an architecture that is trained here; leave it out"
                )
        files = [
            read_features(*(spec.options[o] for o in ("path", "ids", "sha256"))) for spec in specs
        ]
        files = in_one_order(files)
        plan = _plan(specs, files)
        found = _layers(specs, files, layers if "layers" in asked else None)
        chosen, count = choose_null(null, metric), files[0].count
        groups = choose_image_groups(resamples, count, metric)
        check_pairs(plan, len(found.labels), numbers=2 * NUMBERS_PER_PAIR + groups)
        if chosen.drawn:
            check_draws(DRAWS * (len(files) * len(found.labels)) ** 2 // 2)
        check_memory(plan, metric, found, [count], "samples", groups, chosen.drawn)
        return cls(plan, metric, files, found, chosen, groups)

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Compare the features of all pairs of layers."""
        plan, labels = self.plan, self.layers.labels
        representations: dict[tuple[int, ...], NDArray[np.float64]] = {}
        failures = []
        for m, names in enumerate(self.layers.names):
            for label, name in names.items():
                values = self.files[m].layers[name]
                if np.isfinite(values).all():
                    representations[0, m, 0, labels.index(label)] = self._represent(values)
                else:
                    failures.append(
                        f"{plan.models[m].label}: array '{name}' has NaN or infinite numbers; its "
                        "pairs are NaN"
                    )
        pairs = SamplePairs(
            plan,
            self.metric,
            self.null,
            self.layers,
            lambda _: 0,
            self._activations,
            lambda at: f"'{labels[at[3]]}' of '{plan.models[at[1]].label}'",
        )
        variables, attributes = pairs.variables(representations, self._halves(representations))
        variables |= run_variables(plan, networks)
        measured = Measured(variables, self._coords(networks), attributes, tuple(failures))
        return with_metric_variables(measured, self.metric, representations, LAYER_DIMS)

    def _values(self, index: Index) -> NDArray[Any]:
        """Return the features of a layer."""
        names = self.layers.names[index[1]]
        return self.files[index[1]].layers[names[self.layers.labels[index[3]]]]

    def _activations(self, index: Index) -> Tensor:
        """Return the features of a layer, of all samples that are compared, in their order."""
        return torch.cat(list(self._parts(_as_tensor(self._values(index)))))

    def _halves(
        self, representations: Mapping[Index, NDArray[np.float64]]
    ) -> Iterable[Mapping[Index, NDArray[np.float64]]]:
        """Return the representations of each half-sample."""
        count = self.files[0].count
        if (batch := getattr(self.metric, "batch", None)) is not None:
            return half_batches(representations, self.groups, [batches_of(count, batch)[0]])
        return (
            {
                index: self.metric.represent(Activations(_as_tensor(self._values(index))[half]))
                for index in representations
            }
            for half in halves_of_samples(self.metric, self.groups, count)
        )

    @property
    def networks(self) -> dict[Key, Network]:
        """An entry for each model, without filters."""
        no_input = Normalization((), ())
        return {key: Network({}, "", nn.Module, no_input) for key in self.plan.keys}

    def _represent(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the representation of a layer, stacked over batches if the metric has any."""
        parts = [self.metric.represent(Activations(p)) for p in self._parts(_as_tensor(values))]
        return parts[0] if getattr(self.metric, "batch", None) is None else np.stack(parts)

    def _parts(self, values: Tensor) -> Sequence[Tensor]:
        """Return the samples of each batch, or all at once."""
        if (batch := getattr(self.metric, "batch", None)) is None:
            return [values]
        count, size = batches_of(len(values), batch)
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
        batches: Sequence[Tensor] = values[order[: count * size]].split(size)
        return batches

    def _coords(self, networks: Mapping[Key, Network]) -> Coords:
        plan, labels = self.plan, self.layers.labels
        count = self.files[0].count
        if (batch := getattr(self.metric, "batch", None)) is not None:
            batches, size = batches_of(count, batch)
            count = batches * size
        fingerprint = plan.datasets[0].train.fingerprint
        return {
            **network_coords(plan, networks),
            "dataset_fingerprint": dataset_coord([fingerprint], "SHA-256 of the ids of samples"),
            "layer": labels,
            "layer_ref": labels,
            "n_samples": dataset_coord([count], "samples whose features were compared", "1"),
            **layer_coords(self.layers, [Words()] * len(plan.models)),
        }


def _plan(specs: Sequence[ModelSpec], files: Sequence[FeatureFile]) -> Plan:
    """Return a plan without trainings, whose data set has the samples and no pixels."""
    count = files[0].count
    ids = next((file.ids for file in files if file.ids is not None), ())
    empty = torch.zeros(count, 1, 0, 0, dtype=torch.uint8)
    labels = torch.arange(count) if ids else torch.zeros(count, dtype=torch.int64)
    samples = ImageSet(empty, labels, ids, "samples")
    data = Dataset(f"{count} samples", samples, samples)
    given = {
        (0, m): TrainedModel(nn.Module(), network=False, file_sha256=file.sha256)
        for m, file in enumerate(files)
    }
    recipe, device = as_recipe("quick"), torch.device("cpu")
    return Plan([data], list(specs), [0], recipe, device, given, {}, {}, {}, {}, {})


def _layers(
    specs: Sequence[ModelSpec], files: Sequence[FeatureFile], wanted: LayersLike | None
) -> Layers:
    """Return the arrays of each file under the labels of layers.

    Without ``wanted`` these are all arrays.
    """
    names, typed = [], []
    roles = None if wanted is None else roles_of(wanted, [spec.label for spec in specs])
    alone = all(len(file.layers) == 1 for file in files)
    for spec, file in zip(specs, files, strict=True):
        known = list(file.layers)
        if roles is None:
            found = {ONE_LAYER if alone else name: name for name in known}
            called = dict(found)
        else:

            def find(
                name: str, known: list[str] = known, label: str = spec.label
            ) -> dict[str, str]:
                if name not in known:
                    raise unknown_name(f"array of '{label}'", name, known)
                return {name: name}

            found, called = layers_of_model(roles, spec.label, known, find)
        names.append(found)
        typed.append(called)
    sizes = [
        {label: int(np.prod(file.layers[name].shape[1:])) for label, name in found.items()}
        for file, found in zip(files, names, strict=True)
    ]
    return Layers(names, sizes, [{} for _ in files], typed)


def _as_tensor(values: NDArray[Any]) -> Tensor:
    """Return float32 or float64 numbers in the byte order of this machine."""
    wide = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return torch.from_numpy(np.ascontiguousarray(values, np.float32 if wide else np.float64))
