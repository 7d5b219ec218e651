"""PyTorch's message of a GPU that has no memory left: its figures tell who fills it, and whether it lacks one piece."""

from __future__ import annotations

import re

from ...display.text import show_bytes
from .facts import Message
from .patterns import COUNT, SIZE, Form, pattern, size

__all__ = ["TALK", "tidy", "torch"]

TALK = r"(?! (?:errors?|exceptions?|issues?|problems?|situations?|crash(?:es)?)\b)"
"""What follows the words where somebody talks of such errors."""
_TORCH = pattern(rf"\b(CUDA|HIP|XPU|GPU|NPU)(?: error: | driver error: | |: )out of memory{TALK}", re.IGNORECASE)
_LONGEST = 1500
"""Characters that PyTorch's message has at most, with all processes that it lists."""
_ASKED = pattern(rf"\bTried to allocate ({SIZE})")
_DEVICE = pattern(
    rf"\b[GNX]PU (\d{{1,3}}) (?:has a total capac\w{{1,5}} of ({SIZE})(?:(?: of)? which ({SIZE}) is free)?|"
    rf"(?:;|\n) ({SIZE}) total capacity(?:(?:(?:;|\n) [^;()\n]{{1,80}}){{0,4}}?(?:;|\n) ({SIZE}) free)?)"
)
"""A text of one line that has many semicolons is read as one whose lines they end."""
_PROCESS = pattern(rf"\bProcess ({COUNT}) has ({SIZE}) memory in use")
_ITS_OWN = pattern(rf"\bthis process has ({SIZE}) memory in use")
_UNUSED = pattern(rf"({SIZE}) is reserved by PyTorch but unallocated")
_ALLOCATED = pattern(rf"({SIZE}) already allocated")
_RESERVED = pattern(rf"({SIZE}) reserved in total by PyTorch")
_ALLOWED = pattern(rf"({SIZE}) allowed(?=[;,.\n])")
"""What `set_per_process_memory_fraction` leaves the process."""
_MOST_NAMED = 3


def torch(text: str) -> Message | None:
    """PyTorch's message, whose figures tell who fills the GPU, and whether it lacks memory or one piece of it."""
    found = list(_TORCH.finditer(text))
    if not found:
        return None
    ends = [one.start() for one in found[1:]] + [len(text)]
    said = [text[one.start() : min(one.start() + _LONGEST, end)] for one, end in zip(found, ends, strict=True)]
    message = next(filter(_ASKED.search, said), said[0])
    name = (_TORCH.match(message) or found[0])[1].upper()
    kind = "NPU" if name == "NPU" else "GPU"
    asked, device = _figure(_ASKED, message), _DEVICE.search(message)
    sentence = f"The {kind}'s memory, not the node's, did not suffice ({name} out of memory)"
    has = None
    if asked:
        sentence += f": an allocation of {asked} failed"
    allowed, also = _figure(_ALLOWED, message), list[str]()
    if device is not None:
        has, free = device[2] or device[4], device[3] or device[5]
        sentence += f" on {kind} {device[1]}, which has {tidy(has)}" + (f" ({tidy(free)} free)" if free else "")
    others = sorted(((_bytes(held), pid, held) for pid, held in _PROCESS.findall(message)), reverse=True)
    its = _figure(_ITS_OWN, message)
    if its and has and _bytes(its) > _bytes(has):  # in some containers, PyTorch prints 17179869184.00 GiB
        its = None
    named = ", ".join(f"process {pid} ({tidy(held)})" for _, pid, held in others[: 1 if its else _MOST_NAMED])
    sentences = [f"{sentence}."]
    left = _bytes((device[3] or device[5]) if device is not None else None)
    if allowed and left >= _bytes(asked) > 0:
        told = (
            f"The process reached its own limit of that {kind}'s memory, {allowed} (`set_per_process_memory_fraction`)"
        )
        where = (
            f" {kind} {device[1]} has {tidy(has)}, and {tidy(device[3] or device[5])} of it are free."
            if device and has
            else ""
        )
        failed = f": an allocation of {asked} failed ({name} out of memory)"
        return Message("gpu_memory", f"{told}{failed}.{where}", lacks="gpu, own limit")
    if allowed:
        sentences.append(f"The process may have {allowed} of it (`set_per_process_memory_fraction`).")
    if named and its:
        sentences.append(f"The process had {its} of it; others use the same {kind}, such as {named}.")
    elif its and has:
        rest = _bytes(has) - left - _bytes(its) if left else 0
        sentences.append(f"The process had {its} of it.")
        if rest > _bytes(has) / 20:
            also.append(f"Other processes, or the driver, had the rest of that {kind}, {show_bytes(rest)}.")
    elif named:
        sentences.append(f"On that {kind}: {named}; the text does not say whether one of them is the one that failed.")
    lacks = []
    wanted = _bytes(asked)
    if others and (others[0][0] >= wanted if its else len(others) > 1):
        lacks.append("shared")
    in_pieces = _in_pieces(message, wanted)
    if in_pieces and name != "XPU":
        lacks.append("pieces")
        sentences.append(in_pieces)
    return Message("gpu_memory", " ".join(sentences), lacks=", ".join(["gpu", *lacks]), also=tuple(also))


def _in_pieces(message: str, wanted: int) -> str | None:
    """Say that PyTorch kept more than was asked for, and could not use it; None where it does not say so."""
    unused = _figure(_UNUSED, message)
    if wanted and unused and _bytes(unused) > wanted:
        return f"PyTorch kept {unused} that it did not use, more than was asked for, but in pieces."
    allocated, reserved = _figure(_ALLOCATED, message), _figure(_RESERVED, message)
    if wanted and allocated and reserved and _bytes(reserved) - _bytes(allocated) > wanted:
        return f"PyTorch kept {reserved} and used {allocated}: the rest is more than was asked for, but in pieces."
    return None


def _figure(form: Form, message: str) -> str | None:
    found = form.search(message)
    return None if found is None else tidy(found[1])


def tidy(figure: str) -> str:
    """Return a figure with one blank for any white space."""
    return " ".join(figure.split())


def _bytes(figure: str | None) -> int:
    return size(figure or "") or 0
