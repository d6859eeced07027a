"""Input of an experiment: data, sizes, and functions to train and compare."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repsim_energy.comparison import compare, make_plan, train_networks
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.data.patch_variants import check_component
from repsim_energy.errors import RepsimError, TrainingError
from repsim_energy.experiments.scales import Scale
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec
from repsim_energy.numerics.autocorrelation.autocorrelation import (
    PatchAutocovariance,
    patch_autocovariance,
)
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.self_check import self_check
from repsim_energy.progress import Reporter
from repsim_energy.registry import Registry, load_dataset
from repsim_energy.results import Variable, assemble
from repsim_energy.scheduling import Scheduler, scheduler_of
from repsim_energy.training.recipe import parse_recipe

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.experiments.outcome import Outcome
    from repsim_energy.interfaces import PatchBasis

__all__ = ["OPTIONS", "PATCH", "SILENT", "Missing", "Setting", "make_setting"]

SILENT = Reporter()

PATCH = (3, 3)
"""Height and width of the first-layer filters of networks for small images."""

SOURCES = {
    "cifar10": "CIFAR-10: dataset=cifar10 downloads it, dataset=npz:path=FILE takes your own",
    "cifar100": "CIFAR-100: cifar100=cifar100 downloads it, cifar100=npz:path=FILE takes your own",
    "celeba": "CelebA: put the images of an attribute's two classes into DIR/CLASS/ and give "
    "celeba=folder:path=DIR:size=32",
    "imagenet": "ImageNet: put images into DIR/CLASS/ and give "
    "imagenet=folder:path=DIR:size=224:limit=1000",
    "mnist": "MNIST: mnist=mnist downloads it, mnist=idx:path=DIR takes the published files",
    "natural": "natural images: put them into DIR/CLASS/ and give natural=folder:path=DIR:size=200",
}
"""Data set -> its name and how to provide it."""

OPTIONS = {source: "dataset" if source == "cifar10" else source for source in SOURCES}
"""Data set -> the option of ``reproduce`` and ``experiment`` that names its images."""


class Missing(RepsimError):
    """Missing data that only the user can provide. A part of an experiment is left out."""

    exit_code = 3


@dataclass(frozen=True, eq=False)
class Setting:
    """Input of every experiment: data, sizes, and functions to train and compare.

    Parameters
    ----------
    sources : data set -> spec
    recipe : recipe of every training
    components : components used for labels and scaled patches
    reporter : receives the progress of trainings
    default_recipe : whether the recipe is that of the scale, not one that the user has given
    retry_failed : whether trainings that failed earlier are run again
    """

    registry: Registry
    scale: Scale
    sources: Mapping[str, str]
    seeds: Sequence[int]
    recipe: str
    components: Sequence[int]
    device: str = "auto"
    scheduler: Scheduler = field(default_factory=scheduler_of)
    reporter: Reporter = field(default_factory=Reporter)
    default_recipe: bool = False
    retry_failed: bool = False
    _loaded: dict[str, Dataset] = field(default_factory=dict, repr=False)
    _computed: dict[Any, PatchAutocovariance] = field(default_factory=dict, repr=False)

    @property
    def over(self) -> str:
        """The independent repetitions of a training, in words."""
        return f"{len(self.seeds)} seeds"

    def data(self, source: str, variants: str = "") -> Dataset:
        """Load a data set, with variants such as ``+random_labels``.

        Raises
        ------
        Missing
            If the user has to provide it, or its download failed.
        """
        if source not in self.sources:
            raise Missing(f"needs {SOURCES[source]}")
        spec = self.sources[source] + variants
        if spec not in self._loaded:
            try:
                self._loaded[spec] = load_dataset(self.registry, spec)
            except RepsimError as error:
                if error.exit_code == 1:  # a download that failed
                    raise Missing(f"needs {SOURCES[source]} ({error})") from error
                raise
        return self._loaded[spec]

    def describe_data(self, uses: Collection[str]) -> list[str]:
        """Describe the data sets of an experiment that are loaded, without variants.

        Parameters
        ----------
        uses : options of ``reproduce`` and ``experiment`` that affect it
        """
        return [
            f"{source} is `{spec}`, {len(data.train)} to train on, {len(data.test)} to test on, "
            f"SHA-256 of the training images and labels {data.train.fingerprint}"
            for source, spec in self.sources.items()
            if OPTIONS[source] in uses and (data := self._loaded.get(spec)) is not None
        ]

    def available(self, outcome: Outcome, *sources: str) -> list[str]:
        """Return the available data sets; add the others to what is missing."""
        available = []
        for source in sources:
            try:
                self.data(source)
                available.append(source)
            except Missing as error:
                outcome.missing.append(str(error))
        return available

    def basis(self, images: ImageSet, patch: tuple[int, int] = PATCH) -> PatchBasis:
        """Compute the principal components of the patches."""
        return patch_moments(images.images, patch).basis()

    def autocovariance(
        self, images: ImageSet, patch: tuple[int, int], max_shift: int
    ) -> PatchAutocovariance:
        """Compute the patch autocovariance, once per image set because it is slow."""
        key = (images.image_fingerprint, patch, max_shift)
        if key not in self._computed:
            self._computed[key] = patch_autocovariance(images.images, patch, max_shift=max_shift)
        return self._computed[key]

    def compare(
        self,
        models: Any,
        datasets: Sequence[Dataset],
        *,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Compare models, with the recipe and seeds of this setting."""
        return compare(
            models,
            datasets,
            seeds=self.seeds if seeds is None else seeds,
            recipe=self.recipe,
            device=self.device,
            scheduler=self.scheduler,
            registry=self.registry,
            **{"reporter": self.reporter, "retry_failed": self.retry_failed, **options},
        )

    def compare_given(self, models: Any, data: Dataset) -> xr.Dataset:
        """Compare given networks, without training."""
        return compare(
            models, data, stage="trained", scheduler=self.scheduler, registry=self.registry
        )

    def train(
        self,
        models: Sequence[str | ModelSpec],
        datasets: Sequence[Dataset],
        seeds: Sequence[int] | None = None,
    ) -> tuple[dict[Key, Network], list[str]]:
        """Train networks. Return them by their indices, and the errors of failed trainings."""
        seeds = self.seeds if seeds is None else seeds
        plan = make_plan(self.registry, models, datasets, seeds, self.recipe, self.device)
        return self.train_plan(plan)

    def train_plan(self, plan: Plan) -> tuple[dict[Key, Network], list[str]]:
        """Train the networks of a plan, as :meth:`train` does."""
        return train_networks(plan, self.scheduler, self.reporter, retry_failed=self.retry_failed)

    def compare_each(
        self, models: Sequence[str], datasets: Mapping[str, Dataset], outcome: Outcome
    ) -> dict[str, xr.Dataset]:
        """Compare models on each data set separately, for data sets without a common basis.

        All networks are trained first, so that every process is busy.
        """
        if not datasets:
            return {}
        self.train(models, list(datasets.values()))
        results = {}
        for name, data in datasets.items():
            try:
                again: dict[str, Any] = {"reporter": SILENT, "retry_failed": False}
                results[name] = outcome.keep(name, self.compare(models, [data], **again))
            except TrainingError as error:
                outcome.failures.append(str(error))
        return results

    def result(
        self,
        variables: Mapping[str, Variable],
        coords: Mapping[str, Sequence[Any]],
        source: str = "",
    ) -> xr.Dataset:
        """Return variables that an experiment measured as a result.

        Parameters
        ----------
        variables : name -> variable with its description
        coords : dimension -> labels
        source : name of the data set, such as ``cifar10``; empty without one
        """
        configuration = {
            "sources": dict(self.sources),
            "seeds": list(self.seeds),
            "recipe": self.recipe,
            "scale": self.scale.name,
        }
        attributes = {"self_check": self_check()}
        origins = self.data(source).origins if source else ()
        return assemble(variables, coords, configuration, attributes, *origins)


def make_setting(
    registry: Registry,
    scale: Scale,
    sources: Mapping[str, str],
    *,
    components: Sequence[int],
    recipe: str,
    **options: Any,
) -> Setting:
    """Build a setting. Refuse unusable options before any training.

    Raises
    ------
    UsageError
        If a recipe, data set or component does not exist.
    """
    parse_recipe(recipe)
    setting = Setting(registry, scale, sources, components=components, recipe=recipe, **options)
    with contextlib.suppress(Missing):
        count = setting.data("cifar10").train.images.shape[1] * PATCH[0] * PATCH[1]
        check_component(max(components), count, PATCH[0])
    return setting
