"""First bytes of HDF5 files, and those that name others, which HDF5 would read as parts of them."""

from __future__ import annotations

from typing import IO, Any

from repsim_energy.errors import FileError

__all__ = ["CLASSIC", "HDF5", "refuse_other_files", "refuse_parts_elsewhere"]

HDF5 = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file, which every netCDF file of version 4 is."""

CLASSIC = b"CDF"
"""First bytes of a netCDF file of version 3."""


def refuse_parts_elsewhere(file: IO[bytes], path: object) -> None:
    """Refuse an HDF5 file with parts in others. Where h5py is not installed, nothing is checked.

    netCDF follows external links, external storage and virtual data wherever they lead, and has no
    way to find them.

    Parameters
    ----------
    file : open for reading; other formats than HDF5 are passed over
    path : of the file, for the error

    Raises
    ------
    FileError
        If a part of it is in another file.
    """
    start = file.read(len(HDF5))
    file.seek(0)
    if start != HDF5:
        return
    import netCDF4  # noqa: F401 (first: old versions of h5py keep it from writing)

    try:
        import h5py
    except ImportError:
        return
    try:
        opened = h5py.File(file, "r")
    except OSError:  # damaged: whoever reads it says so
        return
    with opened as root:
        refuse_other_files(root, path)


def refuse_other_files(root: Any, path: object) -> None:
    """Refuse external links, external storage and virtual data, which are in other files.

    Parameters
    ----------
    root : an open ``h5py.File``
    path : of the file, for the error

    Raises
    ------
    FileError
        If a part of it is in another file.
    """
    import h5py

    foreign = []

    def look(name: str, node: Any) -> None:
        elsewhere = isinstance(node, h5py.Dataset) and (node.external or node.is_virtual)
        if isinstance(node, h5py.ExternalLink) or elsewhere:
            foreign.append(name)

    root.visititems_links(look)
    root.visititems(look)
    if foreign:
        raise FileError(
            f"'{path}' has '{foreign[0]}' in another file, expected all in one; save it again"
        )
