"""Errors that say that there is no descriptor left, in a process or on a machine: what needs one may do so later."""

import errno

__all__ = ["SHORTAGES"]

SHORTAGES = (errno.EMFILE, errno.ENFILE)
