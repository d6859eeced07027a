"""Downloads: whole files or none, with progress."""

from __future__ import annotations

from pathlib import Path

from repsim_energy.errors import RepsimError
from repsim_energy.files.storage import atomic_path
from repsim_energy.progress import working

__all__ = ["download"]

PART_BYTES = 2**18
"""Bytes of a download that are written at once."""

DOWNLOAD_SECONDS = 60.0
"""Time without an answer after which a download fails."""


def download(url: str, path: Path) -> None:
    """Download a file and report the progress. A download that fails leaves no file.

    Raises
    ------
    OSError
        If the server cannot be reached or refuses.
    RepsimError
        If the connection ends too early, or the file cannot be written.
    """
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    request = Request(url, headers={"User-Agent": "repsim-energy"})
    with urlopen(request, timeout=DOWNLOAD_SECONDS) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        with (
            atomic_path(path) as temporary,
            temporary.open("wb") as file,
            working(f"downloading {path.name}", total, "bytes") as advance,
        ):
            while True:
                try:
                    part = response.read(PART_BYTES)
                except (OSError, HTTPException) as error:
                    raise RepsimError(f"the connection ended early: {error}") from error
                if not part:
                    break
                file.write(part)
                advance(len(part))
            if total is not None and file.tell() != total:
                raise RepsimError(
                    f"the connection ended early: {file.tell()} of {total} bytes arrived"
                )
