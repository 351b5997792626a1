"""Several processes that train one model or draw one set; alone, all of this does nothing.

Started as ``torchrun --nproc-per-node N -m SkullGANLib train ...`` on one machine or on many.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import nn


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes that ``torchrun`` has started, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        yield
        return
    on_gpus = torch.cuda.is_available() and dist.is_nccl_available()
    # The functions of this module keep the group that stands at its import, and with it gloo's threads, which then
    # are cut off when Python ends, now and then by an abort. Imported before, they keep none.
    importlib.import_module("torch.distributed.nn.functional")
    if on_gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process where several share a machine; else ``device``."""
    if world() > 1 and device.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return device


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over the processes, the same in each; not differentiable."""
    if world() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world()


def first_says(*facts: int) -> list[int]:
    """What the first process says, in all of them."""
    if world() == 1:
        return list(facts)
    told = torch.tensor(facts)
    dist.broadcast(told, 0)
    return told.tolist()


def copy_from_first(network: nn.Module) -> None:
    """Give a network the weights and buffers that it has in the first process."""
    if world() > 1:
        for value in network.state_dict().values():
            dist.broadcast(value, 0)


def share(n: int) -> range:
    """The part of ``range(n)`` that falls to this process; the parts differ by one at most."""
    return range(n * rank() // world(), n * (rank() + 1) // world())


def gather(part: np.ndarray, n: int) -> np.ndarray | None:
    """The parts of all processes as one array of length ``n``, in the first; None in the others."""
    if world() == 1:
        return part
    if rank():
        dist.send(torch.from_numpy(np.ascontiguousarray(part)), 0)
        return None
    whole = np.empty((n, *part.shape[1:]), part.dtype)
    whole[: len(part)] = part
    for other in range(1, world()):
        dist.recv(torch.from_numpy(whole[n * other // world() : n * (other + 1) // world()]), other)
    return whole


def wait() -> None:
    """Go on when all processes have come here."""
    if world() > 1:
        dist.barrier()


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Before each step of ``optimizer``, replace the gradients by their mean over the processes.

    With losses that are means over equal shares of a batch these are the gradients of the whole batch.
    """
    if world() == 1:
        return

    def replace(optimizer: torch.optim.Optimizer, *_: object) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        flat = torch._utils._flatten_dense_tensors(gradients)
        dist.all_reduce(flat)
        flat /= world()
        for gradient, part in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients), strict=True):
            gradient.copy_(part)

    optimizer.register_step_pre_hook(replace)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of the whole batch, wherever its parts are computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        if not self.training or world() == 1:
            return super().forward(x)
        all_reduce = dist.nn.functional.all_reduce
        count = x.numel() // x.shape[1] * world()
        sums = torch.cat([x.float().sum((0, 2, 3)), x.float().square().sum((0, 2, 3))])
        centre, square = (all_reduce(sums) / count).chunk(2)
        variance = square - centre**2
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(centre.to(self.running_mean.dtype), share)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x * scale[:, None, None] + (self.bias - centre * scale)[:, None, None]).to(x.dtype)
