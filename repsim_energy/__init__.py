"""Compare what neural networks represent: energy profiles of first-layer filters, CKA, plugins.

The public names stand in ``__init__.pyi``. Each is imported when it is first used, so that commands
start fast. ``__version__`` is that of the installed package; for a source tree that is not
installed it is ``0+not.installed``.

>>> import repsim_energy as rs
>>> round(rs.profile_similarity([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), 12)
-1.0
"""

import lazy_loader

from repsim_energy.versions import OWN, version_of

__version__ = version_of(OWN)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
