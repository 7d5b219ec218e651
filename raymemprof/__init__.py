"""Shows what uses memory in Ray tasks and actors, down to the line of code."""

# `__init__.pyi` says what is public, and where it is defined. Each name is imported when it is first used, so that a
# worker does not import what reads and diagnoses.

import lazy_loader

from ._version import __version__ as __version__
from .notebook import load_ipython_extension as load_ipython_extension  # for IPython's %load_ext

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "__version__"])
