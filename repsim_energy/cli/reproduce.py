"""``repsim reproduce``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.messages import in_options, say
from repsim_energy.cli.options import DEVICE, QUIET, RETRY_FAILED, scheduler_options
from repsim_energy.cli.parameters import NUMBERS, SEEDS
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.experiments.experiment import select_experiments
from repsim_energy.experiments.lecture import EXPERIMENTS as LECTURE
from repsim_energy.experiments.paper import EXPERIMENTS
from repsim_energy.experiments.scales import SCALES
from repsim_energy.files.storage import make_folder

if TYPE_CHECKING:
    from repsim_energy.experiments.experiment import Experiment
    from repsim_energy.experiments.report import Row
    from repsim_energy.experiments.setting import Setting

__all__ = [
    "CIFAR10",
    "MNIST",
    "NATURAL",
    "RECIPE",
    "experiment_options",
    "reproduce",
    "run_experiments",
]

Command = Callable[..., Any]

ALL = (*EXPERIMENTS, *LECTURE)

CIFAR10 = click.option("--dataset", metavar="SPEC", help="CIFAR-10 images. [default: by --scale]")
MNIST = click.option("--mnist", metavar="SPEC", help="MNIST images. [default: by --scale]")
NATURAL = click.option("--natural", metavar="SPEC", help="Natural images. [default: deadleaves]")
RECIPE = click.option(
    "--recipe", metavar="SPEC", help="Training recipe, such as paper. [default: by --scale]"
)


def experiment_options(
    experiments: Sequence[Experiment], sizes: str, folder: str
) -> Callable[[Command], Command]:
    """Return the decorator that adds the names of experiments and the options of each.

    Parameters
    ----------
    sizes : what the values of ``--scale`` mean
    folder : default directory of the results
    """
    names = ("list", "all", *(name for experiment in experiments for name in experiment.names))

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    scales = click.Choice(list(SCALES))
    of_scale = "Seeds: a count (3), a range (0-4) or a list (0,3,7). [default: by --scale]"
    directory = click.Path(path_type=Path, file_okay=False)
    shown: dict[str, Any] = {"show_default": True}
    options = (
        click.argument(
            "names", nargs=-1, required=True, metavar="list|all|NAME...", shell_complete=complete
        ),
        click.option(
            "--scale", type=scales, default="cpu", help=f"Problem size: {sizes}.", **shown
        ),
        click.option("--seeds", type=SEEDS, metavar="N|A-B|A,B,...", help=of_scale),
        scheduler_options,
        DEVICE,
        click.option(
            "--output",
            "-o",
            type=directory,
            default=Path(folder),
            metavar="DIR",
            help="Directory for tables, figures and results.",
            **shown,
        ),
        RETRY_FAILED,
        QUIET,
    )
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


@click.command()
@CIFAR10
@click.option("--cifar100", metavar="SPEC", help="CIFAR-100 images.")
@click.option("--celeba", metavar="SPEC", help="CelebA images in two classes.")
@click.option(
    "--imagenet", metavar="SPEC", help="ImageNet images. Pretrained weights are then downloaded."
)
@MNIST
@NATURAL
@experiment_options(
    ALL,
    "smoke (tiny, under a minute), cpu (about 75 min on 4 cores), full (the paper's sizes, GPU)",
    "reproduction",
)
@RECIPE
@click.option(
    "--components",
    type=NUMBERS,
    metavar="A-B|A,B,...",
    help="Components of fig8a and fig8b. [default: by --scale]",
)
@click.pass_context
def reproduce(
    ctx: click.Context, /, names: tuple[str, ...], output: Path, quiet: bool, **options: Any
) -> int:
    """Recompute the tables and figures of Chowers & Weiss (2023) beside the published numbers.

    The experiments of repsim experiment have rows here too. Writes a page: reproduction.html.

    Example: repsim reproduce table1 fig6 -o out
    """
    return run_experiments(ctx, ALL, names, output, quiet, options)


def run_experiments(
    ctx: click.Context,
    experiments: Sequence[Experiment],
    names: Sequence[str],
    output: Path,
    quiet: bool,
    options: Mapping[str, Any],
) -> int:
    """Run those of the experiments that are named, or list all; return the exit code."""
    if tuple(names) == ("list",):
        _refuse_unused(options, names, (), experiments)
        rows = [[" ".join(experiment.names), experiment.title] for experiment in experiments]
        print_rows(["name", "content"], rows)
        return 0
    chosen = select_experiments(names, experiments)
    _refuse_unused(options, names, chosen, experiments)
    lazy.style.check_matplotlib()
    setting = _setting(ctx, **options)
    make_folder(output, "choose another one with -o")
    lazy.report.read_rows(output)  # refuses foreign files before the work
    incomplete, unsaved = False, None
    try:
        for number, experiment in enumerate(chosen, 1):
            if not quiet:
                say(f"{experiment.name}, {number} of {len(chosen)}")
            with reporter_on_stderr(quiet) as reporter:
                row, problem = lazy.run.reproduce(
                    experiment, replace(setting, reporter=reporter), output
                )
            incomplete |= _show(ctx, experiment.name, row)
            unsaved = unsaved or problem
    finally:  # an interrupted command leaves a page of the rows that are done
        problem = _write_page(output)
    unsaved = unsaved or problem
    if unsaved is not None:  # such as on a full disk; the numbers have been printed
        raise unsaved
    click.echo(f"written: {output / lazy.report.MARKDOWN}")
    return 3 if incomplete else 0


def _write_page(folder: Path) -> RepsimError | None:
    """Write the page of the rows in a folder, and return the error if that fails.

    Without Jinja2 there is no page; a line says how to get it.
    """
    path = folder / lazy.page.HTML
    try:
        lazy.html.check_jinja2()
    except UsageError as error:
        say(f"no {path.name}: {error}")
        return None
    try:
        if lazy.report.read_rows(folder):
            lazy.page.write_reproduction(folder, path)
            click.echo(f"written: {path}")
    except RepsimError as error:
        return error
    return None


def _refuse_unused(
    options: Mapping[str, Any],
    names: Sequence[str],
    chosen: Sequence[Experiment],
    experiments: Sequence[Experiment],
) -> None:
    """Refuse an option that none of the selected experiments uses."""
    known = {option for experiment in experiments for option in experiment.uses}
    for option in sorted(known):
        if options.get(option) in (None, "auto") or any(option in one.uses for one in chosen):
            continue
        users = [experiment.name for experiment in experiments if option in experiment.uses]
        raise UsageError(
            f"got --{option}, which {', '.join(names)} does not use, expected it with "
            f"{', '.join(users)}; leave it out"
        )


def _show(ctx: click.Context, name: str, row: Row) -> bool:
    """Print a row and return whether a part of it is missing or failed."""
    report = lazy.report
    print_rows(list(report.HEADER), report.table(row), ", ".join(row["names"]))
    for part in row["missing"]:
        say(in_options(f"missing: {name}: {part}", ctx))
    for failure in row["failures"]:
        say(in_options(f"failures: {name}: {failure}", ctx))
    return bool(row["missing"] or row["failures"])


def _setting(
    ctx: click.Context,
    scale: str,
    seeds: int | list[int] | None,
    scheduler: str | None,
    jobs: int | None,
    device: str,
    retry_failed: bool,
    recipe: str | None = None,
    components: list[int] | None = None,
    **specs: str | None,
) -> Setting:
    """Build the setting, with defaults from the scale.

    Parameters
    ----------
    specs : option of a data set, such as ``dataset`` or ``mnist`` -> spec
    """
    size = SCALES[scale]
    seeds = seeds or size.seeds
    options = lazy.setting.OPTIONS.items()
    given = {source: spec for source, option in options if (spec := specs.get(option))}
    return lazy.setting.make_setting(
        registry_of(ctx),
        size,
        {**size.sources, **given},
        seeds=list(range(seeds)) if isinstance(seeds, int) else seeds,
        recipe=recipe or size.recipe,
        default_recipe=not recipe,
        components=components or list(size.components),
        device=device,
        retry_failed=retry_failed,
        scheduler=lazy.scheduling.scheduler_of(
            scheduler or (None if scale == "smoke" else "local"), jobs
        ),
    )
