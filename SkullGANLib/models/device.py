"""Which device to compute on, how much memory it has free, and what to say when that is not enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from SkullGANLib.errors import InputError, ResourceError


def resolve_device(name: str = "auto") -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``auto`` is the first that there is.

    Raises:
        InputError: no such word.
        ResourceError: this machine, or the installed torch, does not have that device.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"There is no device called {name!r}.", "Use auto, cpu, cuda, cuda:1 or mps.")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(has_mps)}[kind]
    if count == 0:
        raise ResourceError(f"This machine has no {kind} device that torch can use.", "Use --device auto or cpu.")
    if int(number or 0) >= count:
        raise ResourceError(f"There is no {name}: torch sees {count} device(s), counted from 0.", "Use a lower number.")
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device(kind)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on ``device``; on a machine that does not tell, half of what it has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30


def bfloat16_is_faster(device: torch.device) -> bool:
    """True on GPUs from Ampere on and on CPUs with instructions for it (AMX, AVX-512); elsewhere it is emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    known = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("amx_tile", "avx512_bf16")]
    return device.type == "cpu" and any(has is not None and has() for has in known)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether ``precision`` (float32, bfloat16 or auto) means to compute in bfloat16 on ``device``."""
    return precision == "bfloat16" or (precision == "auto" and bfloat16_is_faster(device))


def full_precision(device: torch.device) -> AbstractContextManager:
    """Compute in the precision of the weights, also within a step in bfloat16."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def adam(network: torch.nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    """Adam in one pass over the weights, where torch has that; with many weights several times as fast."""
    parameters = list(network.parameters())
    return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=parameters[0].device.type in ("cpu", "cuda"))


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors within the block into a ``ResourceError`` with ``advice``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        words = str(error).lower()
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not known and "out of memory" not in words and "can't allocate memory" not in words:
            raise
        raise ResourceError("The device has run out of memory.", advice) from error
