"""What a GPU is asked for: each figure, its target, and the line of bench/gpu.sh that measures it.

Targets are for one H200 in bf16, T = 2048, tensors of 64 MB and more. Needs nothing but Python 3.9.
"""

import dataclasses
from typing import Optional

PEAK_FLOPS = 989e12  # what NVIDIA names for an H100 or H200 (SXM): dense bf16 products


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row of the page. `at_least` and `below` bound the measured value, a plain number (a share: 0.55)."""

    key: str
    line: str  # of lines.py
    what: str
    target: str = ""  # in words; empty: measured to judge others by
    at_least: Optional[float] = None
    below: Optional[float] = None
    instead: str = ""  # key of a figure that suffices where it meets its target
    also: str = ""  # a line that must run in the same call

    @property
    def bound(self) -> Optional[float]:
        return self.at_least if self.at_least is not None else self.below

    def met(self, value: float) -> Optional[bool]:
        """None where there is nothing to meet."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.below is None else value < self.below

    def share(self, value: float) -> Optional[float]:
        """Of the target, above 1 where it is met."""
        if self.at_least:
            return value / self.at_least
        return self.below / value if self.below and value > 0 else None


FIGURES = (
    Figure("tests", "tests", "tests of operations, of recorded decoding and training steps, on the device", "none fails",
           below=1),
    Figure("sanitizer", "sanitizer", "some of them under compute-sanitizer, where it is installed", "no error, no race",
           below=1),
    Figure("copy", "ceilings", "ceiling: a large copy"),
    Figure("product", "ceilings", "ceiling: a large bf16 product, random values"),
    Figure("mfu-photon", "training-photon", "training PHOTON 1.2B, 200 steps with data, optimizer and logging",
           "50 % of 989 TFLOP/s (68 % of the product)", at_least=0.50),
    Figure("mfu-vanilla", "training-vanilla", "training vanilla 1.2B, 200 steps with data, optimizer and logging",
           "55 % of 989 TFLOP/s (75 % of the product)", at_least=0.55),
    Figure("photon-over-vanilla", "training-vanilla", "tokens/s of PHOTON 1.2B over vanilla 1.2B", "1.9 x",
           at_least=1.9, also="training-photon"),
    Figure("memory", "memory", "memory of a step, PHOTON 1.2B, 64 k tokens, no recomputation", "under 60 GiB",
           below=60),
    Figure("kernels", "elementwise", "slowest kernel that memory bounds: elementwise", "85 % of the copy",
           at_least=0.85),
    Figure("row-kernels", "rows", "slowest kernel that memory bounds: rows, cross-entropy", "85 % of the copy",
           at_least=0.85),
    Figure("attention-forward", "attention", "coarse attention, 8,192 positions, head dim 64, forward",
           "60 % of the product, or PyTorch's speed", at_least=0.60, instead="attention-forward-torch"),
    Figure("attention-backward", "attention", "the same, backward", "50 % of the product, or PyTorch's speed",
           at_least=0.50, instead="attention-backward-torch"),
    Figure("attention-forward-torch", "attention-torch", "its forward against PyTorch's fastest fused one", "1 x",
           at_least=1, also="attention"),
    Figure("attention-backward-torch", "attention-torch", "its backward against PyTorch's fastest fused one", "1 x",
           at_least=1, also="attention"),
    Figure("attention-narrow", "attention", "its time at head dims 60, 56 and 52, filled up to 64 in shared memory, over 64's"),
    Figure("attention-kernels-forward", "attention-kernels",
           "coarse attention, forward: from which length on Hopper's warpgroups beat `mma`"),
    Figure("attention-kernels-backward", "attention-kernels",
           "coarse attention, backward: likewise"),
    Figure("windows", "windows", "attention inside windows, slowest shape", "80 % of the copy", at_least=0.80),
    Figure("decode", "decode", "decoding PHOTON 1.2B, `hier`, batch 1", "60 % of reading the weights", at_least=0.60),
    Figure("heavy-vanilla", "decode-heavy", "decode-heavy (128 in, 2,048 out), vanilla 600M, full batch",
           "60 % of its bandwidth bound", at_least=0.60),
    Figure("heavy-rec", "decode-heavy", "the same, PHOTON 600M, `rec`", "13,643 K tok/s/GiB", at_least=13643),
    Figure("heavy-ratio", "decode-heavy", "the same, `rec` over vanilla, tok/s/GiB", "1,000 x", at_least=1000),
    Figure("torch-photon", "torch-photon", "tokens/s over PyTorch's `torch.compile`, PHOTON 1.2B", "1.2 x",
           at_least=1.2),
    Figure("torch-vanilla", "torch-vanilla", "tokens/s over PyTorch's `torch.compile`, vanilla 1.2B", "1.2 x",
           at_least=1.2),
)
BY_KEY = {figure.key: figure for figure in FIGURES}


def of_line(name):
    return [figure for figure in FIGURES if figure.line == name]


def met(figure, values):
    """Whether `figure` meets its target by itself or by what suffices instead; `values` by key. None: nothing to meet."""
    own = figure.met(values[figure.key])
    if own is False and figure.instead in values:
        return BY_KEY[figure.instead].met(values[figure.instead])
    return own
