"""PyTorch's message where the memory of its device does not suffice, and what its figures say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ....display.text import show_bytes
from ..facts import Message
from ..patterns import COUNT, SIZE, Form, pattern, size
from .devices import TALK, with_device

__all__ = ["torch"]

_PLATFORMS = ("CUDA", "HIP", "XPU", "GPU", "NPU", "MLU", "MUSA", "GCU", "SDAA", "PPU")
_TORCH = pattern(rf"\b({'|'.join(_PLATFORMS)})(?: (?:runtime |driver )?error: | |: )out of memory{TALK}", re.IGNORECASE)
_LONGEST = 1500
"""Characters that PyTorch's message has at most, with all processes that it lists."""
_ASKED = pattern(rf"\bTried to allocate ({SIZE})")
_DEVICE = pattern(
    rf"\b(?:[GNXP]PU|MLU|MUSA|GCU|SDAA)(?: (\d{{1,3}}))? "
    rf"(?:has a total capac\w{{1,5}} of ({SIZE})(?:(?: of)? which ({SIZE}) is free)?|"
    rf"(?:;|\n) ({SIZE}) total capacity(?:(?:(?:;|\n) [^;()\n]{{1,80}}){{0,4}}?(?:;|\n) ({SIZE}) free)?)"
)
"""A text of one line that has many semicolons is read as one whose lines they end."""
_PROCESS = pattern(rf"\bProcess ({COUNT}) has ({SIZE}) memory in use")
_ITS_OWN = pattern(rf"\bthis process has ({SIZE}) memory in use")
_BY_PYTORCH = pattern(rf"Of the allocated memory ({SIZE}) is allocated by PyTorch")
_UNUSED = pattern(rf"({SIZE}) is reserved by PyTorch but unallocated")
_ALLOCATED = pattern(rf"({SIZE}) already allocated")
_RESERVED = pattern(rf"({SIZE}) reserved in total by PyTorch")
_ALLOWED = pattern(rf"({SIZE}) allowed(?=[;,.\n])")
"""What `set_per_process_memory_fraction` leaves the process."""
_MUCH = 0.05
"""Part of a GPU that is told of where others have it."""
_MOST_NAMED = 3


def torch(text: str) -> Message | None:
    """PyTorch's message, whose figures tell who fills the GPU, and whether it lacks memory or one piece of it."""
    found = list(_TORCH.finditer(text))
    if not found:
        return None
    ends = [one.start() for one in found[1:]] + [len(text)]
    parts = [text[one.start() : min(one.start() + _LONGEST, end)] for one, end in zip(found, ends, strict=True)]
    at, message = next(
        ((one, part) for one, part in zip(found, parts, strict=True) if _ASKED.search(part)),
        (found[0], parts[0]),
    )
    name = at[1].upper()
    kind = name if name in ("NPU", "MLU", "GCU") else "GPU"
    asked, device = _figure(_ASKED, message), _DEVICE.search(message)
    sentence = f"The {kind}'s memory, not the node's, did not suffice ({name} out of memory)"
    has = free = None
    if asked:
        sentence += f": an allocation of {asked} failed"
    if device is not None:
        has, free = device[2] or device[4], device[3] or device[5]
        sentence += f" on {_called(kind, device)}, which has {_tidy(has)}" + (f" ({_tidy(free)} free)" if free else "")
    if device is not None and has and _bytes(asked) > _bytes(has):
        sentence += ": more than the whole device has, so no smaller use of it by others would help"
    others = sorted(((_bytes(held), pid, held) for pid, held in _PROCESS.findall(message)), reverse=True)
    its = _figure(_ITS_OWN, message)
    if its and has and (_bytes(its) > _bytes(has) or _bytes(its) < _bytes(_figure(_BY_PYTORCH, message))):
        its = None  # in some containers PyTorch prints 17179869184.00 GiB, or 0 bytes
    named = ", ".join(f"process {pid} ({_tidy(held)})" for _, pid, held in others[:_MOST_NAMED])
    sentences = [f"{sentence}."]
    also: tuple[str, ...] = ()
    allowed = _figure(_ALLOWED, message)
    if device is not None and has and free and allowed and _bytes(free) >= _bytes(asked) > 0:
        own = f"its own limit of that {kind}'s memory, {allowed} (`set_per_process_memory_fraction`)"
        failed = f"an allocation of {asked} failed ({name} out of memory)"
        has_free = f"{_called(kind, device)} has {_tidy(has)}, and {_tidy(free)} of it are free"
        return Message("gpu_memory", f"The process reached {own}: {failed}. {has_free}.", lacks="gpu, own limit")
    if allowed:
        sentences.append(f"The process may have {allowed} of it (`set_per_process_memory_fraction`).")
    if named and its:
        sentences.append(f"The process had {its} of it; others use the same {kind}, such as {named}.")
    elif its and has:
        sentences.append(f"The process had {its} of it.")
        rest = _bytes(has) - _bytes(free) - _bytes(its) if free else 0
        if rest > _MUCH * _bytes(has):
            also = (f"Other processes, or the driver, had the rest of that {kind}, {show_bytes(rest)}.",)
    elif named:
        which = "one of them is the one" if len(others) > 1 else "it is the one"
        sentences.append(f"On that {kind}: {named}; the text does not say whether {which} that failed.")
    lacks = []
    wanted = _bytes(asked)
    if others and (others[0][0] >= wanted if its else len(others) > 1):
        lacks.append("shared")
    in_pieces = _in_pieces(message, wanted)
    if in_pieces and name in ("CUDA", "HIP", "GPU", "NPU"):
        lacks.append("pieces")
        sentences.append(in_pieces)
    device_kind = "npu" if kind == "NPU" else "gpu"
    also = (*also, *_further(parts, kind, device, asked))
    said = Message("gpu_memory", " ".join(sentences), lacks=", ".join([device_kind, *lacks]), also=also)
    return said if device is not None else with_device(said, text, at.start(), at.end())


def _further(parts: list[str], kind: str, device: re.Match[str] | None, first: str | None) -> Iterator[str]:
    """What else failed than the allocation that is told of: on other devices, or of other sizes."""
    told = {(device[1] if device is not None else None, first)}
    for part in parts:
        asked, other = _figure(_ASKED, part), _DEVICE.search(part)
        number = other[1] if other is not None else None
        known = {(one, size) for one, size in told if number is None or device is None or one == number}
        if asked is None or len(told) > _MOST_NAMED or any(size == asked for _, size in known):
            continue
        told.add((number, asked))
        free = f" ({_tidy(other[3] or other[5])} free)" if other is not None and (other[3] or other[5]) else ""
        if other is not None and device is not None and not known:
            has = _tidy(other[2] or other[4])
            yield f"An allocation of {asked} failed on {kind} {number}, too, which has {has}{free}."
        else:
            yield f"An allocation of {asked} failed{f' on {kind} {number}' if number else ''}, too{free}."


def _called(kind: str, device: re.Match[str]) -> str:
    """A device by its number, where the text kept that."""
    return f"{kind} {device[1]}" if device[1] else f"a {kind}"


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
    return None if found is None else _tidy(found[1])


def _tidy(figure: str) -> str:
    return " ".join(figure.split())


def _bytes(figure: str | None) -> int:
    return size(figure or "") or 0
