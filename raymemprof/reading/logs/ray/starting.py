"""What Ray says where it does not start with the memory that it is to have, or that there is."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import NUMBER, pattern

__all__ = ["NOT_STARTED"]

NOT_STARTED = (
    Kind(
        "not_started",
        pattern(
            r"Attempting to cap object store memory usage at (?P<asked>\d{1,18}) bytes, but the minimum allowed is "
            r"(?P<least>\d{1,18} bytes)"
        ),
        "Ray did not start: its object store was to have {asked} bytes, and needs {least} at least.",
        lacks="least store",
    ),
    Kind(
        "not_started",
        pattern(
            rf"the amount of memory on this node available for tasks and actors \((?P<left>-?{NUMBER} GB)\) is less "
            r"than -?\d{1,4}% of total"
        ),
        "Ray did not start: without the object store {left} of the node's memory are left for tasks and actors.",
        lacks="memory for tasks",
    ),
    Kind(
        "not_started",
        pattern(
            rf"The configured object store size \((?P<asked>{NUMBER} ?Gi?B)\) exceeds "
            rf"/dev/shm size \((?P<most>{NUMBER} ?Gi?B)\)"
        ),
        "Ray did not start: its object store was to have {asked}, more than /dev/shm has ({most}).",
        lacks="store in memory",
    ),
    Kind(
        "not_started",
        pattern(
            rf"The configured object store size \((?P<asked>{NUMBER} ?Gi?B)\) exceeds "
            rf"the optimal size on Mac \((?P<most>{NUMBER} ?Gi?B)\)"
        ),
        "Ray did not start: its object store was to have {asked}, more than the optimal size on Mac ({most}).",
        lacks="store on a Mac",
    ),
    Kind(
        "not_started",
        pattern(r"The requested object store memory size is greater than the total available memory"),
        "Ray did not start: its object store was to have more memory than the node has.",
        lacks="memory for the store",
    ),
    Kind(
        "not_started",
        pattern(
            r"The available memory on this system (?P<has>\d{1,18}) is less than the minimum amount that is required "
            r"for ray's system processes\. Pick a number of bytes greater than or equal to (?P<least>\d{1,18})"
        ),
        "Ray did not start with resource isolation: the node has {has} bytes of memory, and Ray's own processes need "
        "{least}.",
        lacks="memory for isolation",
    ),
    Kind(
        "not_started",
        pattern(
            r"The requested system_reserved_memory (?P<asked>\d{1,18}) is less than the minimum number of bytes"
            r"(?:[^\0]{0,200}?greater than or equal to (?P<least>\d{1,18}))?"
        ),
        "Ray did not start with resource isolation: {asked} bytes were to be reserved for its own processes, which is "
        "too little[: {least} are the least].",
        lacks="reserve",
    ),
    Kind(
        "not_started",
        pattern(
            r"The total requested system_reserved_memory=(?P<asked>\d{1,18}) is greater than the amount of memory "
            r"available=(?P<has>\d{1,18})"
        ),
        "Ray did not start with resource isolation: {asked} bytes were to be reserved for its own processes, and the "
        "node has {has}.",
        lacks="reserve",
    ),
)
