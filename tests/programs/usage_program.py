"""A program for tests: prints usage() of the cluster at an address as JSON, or runs the live view of it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import ray

from raymemprof.diagnosis.live import view
from raymemprof.diagnosis.usage.usage import usage


def fail_to_sort(*_: object) -> NoReturn:
    """A mistake in the view."""
    raise RuntimeError("it cannot be sorted")


if __name__ == "__main__":
    what, address = sys.argv[1:]
    if what == "live":
        if "FAILS_TO_SORT" in os.environ:
            from raymemprof.diagnosis.live import screen

            screen.LiveView.action_sort = fail_to_sort  # type: ignore[method-assign]
        try:
            sys.exit(view.run(address, interval=1.0))
        except KeyboardInterrupt:
            sys.exit(130)
        except ValueError as error:
            print(f"raymemprof: {error}", file=sys.stderr)
            sys.exit(2)
    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    print(usage().to_json())
