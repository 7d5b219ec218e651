"""A program for tests: prints usage() of the cluster at an address as JSON, or runs the live view of it."""

from __future__ import annotations

import sys

import ray

import raymemprof.diagnosis.live
import raymemprof.diagnosis.usage

if __name__ == "__main__":
    what, address = sys.argv[1:]
    if what == "live":
        try:
            sys.exit(raymemprof.diagnosis.live.run(address, interval=1.0))
        except KeyboardInterrupt:
            sys.exit(130)
        except ValueError as error:
            print(f"raymemprof: {error}", file=sys.stderr)
            sys.exit(2)
    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    print(raymemprof.diagnosis.usage.usage().to_json())
