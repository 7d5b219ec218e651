"""raymemprof: Ray's page "Debugging Memory Issues" as a library.

`__init__.pyi` says what is public, and where it is defined. Each is imported when it is used first: a worker imports
what records, not what reads and diagnoses.
"""

import lazy_loader

from ._version import __version__ as __version__
from .notebook import load_ipython_extension as load_ipython_extension  # for IPython's %load_ext

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "__version__"])
