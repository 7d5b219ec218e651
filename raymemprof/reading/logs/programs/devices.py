"""Which GPU or other device a message names, in the spellings of all frameworks."""

from __future__ import annotations

import re
from dataclasses import replace

from ..facts import Message
from ..patterns import Form

__all__ = ["TALK", "with_device"]

TALK = r"(?! (?:errors?|exceptions?|issues?|problems?|situations?|crash(?:es)?)\b)"
"""What does not follow a message's words: else they are part of a sentence about it."""
_DEVICE = Form(
    r"/device:(?:XLA_)?(?P<kind>GPU|TPU|XPU|NPU):(?P<number>\d{1,3})\b|"
    r"\b(?P<kind_1>cuda|hip|gpu|npu|xpu|tpu|mlu|musa|gcu|sdaa):(?P<number_1>\d{1,3})\b(?!:\d)|"
    r"\b(?P<kind_2>TPU)_(?P<number_2>\d{1,3})\(process=|"
    r"\bdevice (?:ordinal |id ?[:=]? ?|#)?(?P<number_3>\d{1,3})\b(?![.:]\d)",
    re.IGNORECASE,
)
_GPUS = ("CUDA", "HIP", "MUSA")
"""Platforms whose devices are GPUs."""
_BEFORE, _AFTER = 300, 400
"""Characters of a message's line, before and after the words that make it one, in which its device is named."""


def with_device(message: Message, text: str, start: int, end: int) -> Message:
    """Add the one device that the line of a message names, where its sentence does not have it."""
    line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    stop = len(text) if line_end < 0 else line_end
    line = text[max(line_start, start - _BEFORE) : min(stop, end + _AFTER)]
    named = {_named(found) for found in _DEVICE.finditer(line)}
    said = message.statement or ""
    if len(named) != 1 or re.search(r"\b(?:[GNXT]PU|MLU|GCU|device) \d", said):
        return message
    return replace(message, statement=f"{said} It was {named.pop()}.")


def _named(found: re.Match[str]) -> str:
    groups = {name.split("_")[0]: value for name, value in found.groupdict().items() if value}
    kind = groups.get("kind", "device").upper()
    return f"{'GPU' if kind in _GPUS else kind if kind != 'DEVICE' else 'device'} {groups['number']}"
