"""Passes through networks that a GPU repeats from a recording (a CUDA graph) instead of being told kernel by kernel.

A small network has kernels of some microseconds, which is less than it takes to start one from Python.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from SkullGANLib.models.parallel import world

_WARM_UP = 3  # runs before a recording, in which libraries choose their algorithms


class Recorder:
    """Calls functions of tensors; on a GPU each is recorded once for each shape and choice, and replayed from then on.

    Such a function computes on the device alone: it copies nothing from or to the processor, draws no random numbers
    and changes nothing but what it returns, which the next replay overwrites. Several processes run without recordings.

    Attributes:
        on: False to call everything directly.
    """

    def __init__(self) -> None:
        self.on = True
        self._recordings: dict[tuple, _Recording] = {}
        self._pool, self._stream = None, None

    def __call__(self, function: Callable[..., Any], *tensors: torch.Tensor | None, **choices: Any) -> Any:
        """``function(*tensors, **choices)``, all tensors on one device."""
        device = next(t.device for t in tensors if t is not None)
        if not self.on or device.type != "cuda" or world() > 1:
            return function(*tensors, **choices)
        shapes = tuple(None if t is None else (tuple(t.shape), t.dtype) for t in tensors)
        key = (function.__name__, shapes, tuple(sorted(choices.items())))
        if key not in self._recordings:
            try:
                self._recordings[key] = self._record(function, tensors, choices)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                warnings.warn(f"This GPU does not replay training steps ({error}); they run slower.", stacklevel=2)
                self.on = False
                return function(*tensors, **choices)
        return self._recordings[key].replay(tensors)

    def _record(self, function: Callable[..., Any], tensors: tuple, choices: dict[str, Any]) -> _Recording:
        if self._stream is None:
            self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
        inputs = [None if t is None else t.clone() for t in tensors]
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP):
                function(*inputs, **choices)
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = function(*inputs, **choices)
        return _Recording(graph, inputs, outputs)


class _Recording:
    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: list[torch.Tensor | None], outputs: Any) -> None:
        self.graph, self.inputs, self.outputs = graph, inputs, outputs

    def replay(self, tensors: tuple) -> Any:
        for inner, given in zip(self.inputs, tensors, strict=True):
            if inner is not None:
                inner.copy_(given)
        self.graph.replay()
        return self.outputs
