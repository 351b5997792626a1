"""Memory of training, estimated against measured: ``python Testing/benchmarks/bench_memory.py [PRESET[:BATCH] ...]``.

Each preset takes a few steps in a process of its own; measured is how far the process (on a GPU: torch) has grown at
its highest beyond what it held before the networks were built.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from SkullGANLib.models.device import resolve_device, uses_bfloat16
from SkullGANLib.train.estimate import _Steps
from SkullGANLib.train.options import load_options

GIB = 2**30
PRESETS = ("recommended-nano32", "recommended-tiny64", "recommended-XS", "recommended-S", "recommended-M", "demo")
PRESETS += ("compact", "paper:8", "paper:16")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def measure(preset: str, batch: int | None) -> tuple[int, float, float]:
    """Batch size, estimated and measured GiB."""
    options = load_options(preset, {} if batch is None else {"batch_size": batch})
    device = resolve_device(options.device)
    F.conv2d(torch.randn(1, 16, 32, 32, device=device), torch.randn(16, 16, 3, 3, device=device))  # torch's own memory
    before = _status("VmRSS")
    steps = _Steps(options, device, None)
    steps.build()
    for _ in range(3):
        steps.run(options.batch_size)
    measured = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else _status("VmHWM") - before
    need = options.known_family.memory(
        options.network_options, options.batch_size, training=True, bfloat16=uses_bfloat16(options.precision, device)
    )
    return options.batch_size, need / GIB, measured / GIB


def main() -> None:
    """Print a table; called with --one, the figures of one preset."""
    if sys.argv[1:2] == ["--one"]:
        preset, _, batch = sys.argv[2].partition(":")
        print(*measure(preset, int(batch) if batch else None))
        return
    print(f"{'preset':20} {'batch':>5} {'estimated':>10} {'measured':>10} {'ratio':>6}")
    for preset in sys.argv[1:] or PRESETS:
        words = [sys.executable, __file__, "--one", preset]
        answer = subprocess.run(words, capture_output=True, encoding="utf-8")
        if answer.returncode:
            print(f"{preset:20} failed: {answer.stderr.splitlines()[-1] if answer.stderr else answer.returncode}")
            continue
        batch, estimated, measured = answer.stdout.split()
        ratio = float(estimated) / float(measured)
        print(f"{preset:20} {batch:>5} {float(estimated):>9.2f}G {float(measured):>9.2f}G {ratio:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
