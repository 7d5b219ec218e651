"""The version, which nodes that ask each other must share."""

__all__ = ["__version__"]

__version__ = "0.1.0"
