"""``repsim reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from repsim_energy.cli.app import in_options, registry_of, say
from repsim_energy.cli.options import parse_numbers, parse_seeds, scheduler_options
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import UsageError
from repsim_energy.paper.experiments import EXPERIMENTS, select_experiments
from repsim_energy.paper.scales import SCALES
from repsim_energy.storage import make_folder

if TYPE_CHECKING:
    from repsim_energy.paper.experiment import Experiment
    from repsim_energy.paper.report import Row
    from repsim_energy.paper.setting import Setting

__all__ = ["reproduce"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="list|all|NAME...")
@click.option("--dataset", metavar="SPEC", help="The CIFAR-10 images. [default: by --scale]")
@click.option("--cifar100", metavar="SPEC", help="The CIFAR-100 images.")
@click.option("--celeba", metavar="SPEC", help="CelebA images in two classes.")
@click.option("--imagenet", metavar="SPEC", help="ImageNet images; also fetches weights.")
@click.option(
    "--scale",
    type=click.Choice(list(SCALES)),
    default="cpu",
    show_default=True,
    help="smoke tries the plumbing, cpu is for a desk computer, full has the paper's sizes.",
)
@click.option("--seeds", metavar="N|A-B|A,B,...", help="[default: by --scale]")
@click.option("--recipe", metavar="SPEC", help="[default: by --scale]")
@click.option("--components", metavar="A-B|A,B,...", help="For fig8a and fig8b.")
@scheduler_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reproduction"),
    show_default=True,
    metavar="DIR",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_context
def reproduce(
    ctx: click.Context, /, names: tuple[str, ...], output: Path, quiet: bool, **options: Any
) -> int:
    """Recompute the tables and figures of Chowers & Weiss (2023) beside the published numbers.

    Example: repsim reproduce table1 fig6 -o out
    """
    if names == ("list",):
        _refuse_unused(options, names, ())
        rows = [[" ".join(experiment.names), experiment.title] for experiment in EXPERIMENTS]
        print_rows(["name", "what it shows"], rows)
        return 0
    chosen = select_experiments(names)
    _refuse_unused(options, names, chosen)
    from repsim_energy.paper.figures import check_matplotlib

    check_matplotlib()
    setting = _setting(ctx, **options)
    from repsim_energy.paper import report
    from repsim_energy.paper.run import reproduce as run_one

    make_folder(output, "choose another one with -o")
    report.read_rows(output)  # a file in the way is refused before the work
    incomplete, unsaved = False, None
    for number, experiment in enumerate(chosen, 1):
        if not quiet:
            say(f"{experiment.name}, {number} of {len(chosen)}")
        with reporter_on_stderr(quiet) as reporter:
            row, problem = run_one(experiment, replace(setting, reporter=reporter), output)
        incomplete |= _show(ctx, experiment.name, row)
        unsaved = unsaved or problem
    if unsaved is not None:  # such as a full disk: what was computed has been shown
        raise unsaved
    click.echo(f"written: {output / report.MARKDOWN}")
    return 3 if incomplete else 0


def _refuse_unused(
    options: Mapping[str, Any], names: Sequence[str], chosen: Sequence[Experiment]
) -> None:
    """Refuse an option that makes no difference to any of the rows that are asked for."""
    known = {option for experiment in EXPERIMENTS for option in experiment.uses}
    for option in sorted(known):
        if options[option] in (None, "auto") or any(option in one.uses for one in chosen):
            continue
        users = [experiment.name for experiment in EXPERIMENTS if option in experiment.uses]
        raise UsageError(
            f"got --{option}, which {', '.join(names)} does not use, expected it with "
            f"{', '.join(users)}; leave it out"
        )


def _show(ctx: click.Context, name: str, row: Row) -> bool:
    """Print a row; return whether a part of it is missing or failed."""
    from repsim_energy.paper import report

    print_rows(list(report.HEADER), report.table(row), ", ".join(row["names"]))
    for part in row["missing"]:
        say(in_options(f"missing: {name}: {part}", ctx))
    for failure in row["failures"]:
        say(in_options(f"failures: {name}: {failure}", ctx))
    return bool(row["missing"] or row["failures"])


def _setting(
    ctx: click.Context,
    scale: str,
    seeds: str | None,
    recipe: str | None,
    components: str | None,
    scheduler: str | None,
    jobs: int | None,
    device: str,
    dataset: str | None,
    cifar100: str | None,
    celeba: str | None,
    imagenet: str | None,
) -> Setting:
    """Build the setting, with defaults from the scale."""
    size = SCALES[scale]
    chosen = parse_seeds(seeds) if seeds else size.seeds
    numbers = parse_numbers(components, "components") if components else list(size.components)
    if not numbers:
        raise UsageError(f"got components '{components}', expected a range 0-26 or a list 0,15")
    sources = {"cifar10": dataset, "cifar100": cifar100, "celeba": celeba, "imagenet": imagenet}
    given = {name: spec for name, spec in sources.items() if spec}
    from repsim_energy.paper.setting import make_setting
    from repsim_energy.scheduling import scheduler_of

    return make_setting(
        registry_of(ctx),
        size,
        {**size.sources, **given},
        seeds=list(range(chosen)) if isinstance(chosen, int) else chosen,
        recipe=recipe or size.recipe,
        components=numbers,
        device=device,
        scheduler=scheduler_of(scheduler or (None if scale == "smoke" else "local"), jobs),
    )
