"""Hold a source distribution and a wheel to the files that belong into them, and no others.

Usage: python .ci/package_files.py SOURCE SDIST WHEEL, the last two in any order
"""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

FOLDERS = ("repsim_energy", "docs", "tests")
FILES = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
)
GENERATED = ("PKG-INFO", "setup.cfg")
METADATA = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt")


def files_below(source: Path, folder: str) -> set[str]:
    """Return the files of a folder, relative to the source."""
    paths = (path for path in (source / folder).rglob("*") if path.is_file())
    return {path.relative_to(source).as_posix() for path in paths}


def files_of_sdist(path: Path) -> set[str]:
    """Return what lies in the one folder of a source distribution, without setuptools' notes."""
    with tarfile.open(path) as archive:
        names = [PurePosixPath(member.name) for member in archive if member.isfile()]
    inside = {str(PurePosixPath(*name.parts[1:])) for name in names}
    return {name for name in inside if not name.startswith("repsim_energy.egg-info/")}


def files_of_wheel(path: Path) -> set[str]:
    """Return what lies in a wheel; its folder of metadata is called ``dist-info``."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    folder = path.name.split("-py3-")[0] + ".dist-info/"
    return {name.replace(folder, "dist-info/") for name in names}


def expected(source: Path, path: Path) -> set[str]:
    """Return what belongs into a distribution of this source."""
    if path.suffix == ".whl":
        return files_below(source, "repsim_energy") | {f"dist-info/{name}" for name in METADATA}
    return set().union(FILES, GENERATED, *(files_below(source, folder) for folder in FOLDERS))


def main(source: str, *distributions: str) -> None:
    """Print what is missing and what is too much; exit with 1 if there is any."""
    wrong = []
    for path in map(Path, distributions):
        found = files_of_wheel(path) if path.suffix == ".whl" else files_of_sdist(path)
        wanted = expected(Path(source), path)
        wrong += [f"{path.name} lacks {name}" for name in sorted(wanted - found)]
        wrong += [f"{path.name} should not hold {name}" for name in sorted(found - wanted)]
        print(f"{path.name}: {len(found)} files")
    sys.exit("\n".join(wrong) or 0)


main(*sys.argv[1:])
