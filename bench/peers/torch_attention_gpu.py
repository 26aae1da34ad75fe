#!/usr/bin/env python3
"""Causal attention over long streams in PyTorch, by its fused backends: the lines of bench/attention_streams.

Takes the same shapes (q, k and v are column ranges of one matrix), bf16, the same count of FLOPs (pairs that the mask
leaves; two products forward, five backward) and the same way of timing (several calls queued together, best of some).
Run it right before or after `build/bench/attention_streams --device cuda`. A backend that refuses a shape is named.
With --device cpu it is a check that the script runs.
"""

import argparse
import json
import sys
import time

import common

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:
    torch = None


def queued_seconds(run, budget, synchronize):
    """Seconds of one run, as QueuedSeconds of bench/timing.h."""
    def queued(count):
        start = time.perf_counter()
        for _ in range(count):
            run()
        synchronize()
        return time.perf_counter() - start

    queued(1)
    count = int(min(max(0.02 / queued(1), 1), 100))
    best, start, done = float("inf"), time.perf_counter(), 0
    while done < 3 or time.perf_counter() - start < budget:
        best, done = min(best, queued(count) / count), done + 1
    return best


class Bench:
    def __init__(self, options):
        self.options, self.results, self.peak = options, [], 0.0
        self.device = torch.device(options.device)
        self.synchronize = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        self.name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def filled(self, *shape):
        return torch.randn(*shape, device=self.device, dtype=torch.bfloat16)

    def measure_product(self):
        width = 8192 if self.device.type == "cuda" else 1024
        a, b = self.filled(width, width), self.filled(width, width)
        self.peak = 2.0 * width ** 3 / queued_seconds(lambda: a @ b.T, self.options.seconds, self.synchronize)
        print(f"{self.name}, torch {torch.__version__}: bf16 product of {width} {self.peak / 1e12:.1f} TFLOP/s")
        print(f"{'':76s}{'us':>12s}{'TFLOP/s':>10s}{'share':>9s}")

    def report(self, name, flop, run):
        seconds = queued_seconds(run, self.options.seconds, self.synchronize)
        speed = flop / seconds
        print(f"{name:76s}{1e6 * seconds:12.1f}{speed / 1e12:10.2f}{100 * speed / self.peak:8.1f}%", flush=True)
        self.results.append({"name": name, "us": 1e6 * seconds, "tflops": speed / 1e12,
                             "share_of_product": speed / self.peak})

    def stream(self, backend, length, head_dim):
        o = self.options
        batch = max(1, o.tokens // length)
        qkv = self.filled(batch, length, (o.heads + 2 * o.kv_heads) * head_dim).requires_grad_()
        parts = qkv.split([o.heads * head_dim, o.kv_heads * head_dim, o.kv_heads * head_dim], dim=2)
        q, k, v = (t.unflatten(2, (-1, head_dim)).transpose(1, 2) for t in parts)
        dout = self.filled(batch, length, o.heads, head_dim).transpose(1, 2)
        grouped = {"enable_gqa": True} if o.heads != o.kv_heads else {}
        name = f"{batch} x {length} positions, heads {o.heads}/{o.kv_heads} x {head_dim}"
        product = batch * o.heads * length * (length + 1) * head_dim

        def forward():
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)

        with sdpa_kernel([getattr(SDPBackend, backend)]):
            try:
                out = forward()
                # Gradients of q, k and v alone: putting them into one matrix is not attention's work.
                torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)
            except RuntimeError as error:
                print(f"{backend}: {name}: refused: {str(error).splitlines()[0]}", flush=True)
                self.results.append({"name": f"{backend}: {name}", "refused": str(error).splitlines()[0]})
                return
            with torch.no_grad():
                self.report(f"{backend}: {name} forward", 2.0 * product, forward)
            self.report(f"{backend}: {name} backward", 5.0 * product,
                        lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", nargs="+", default=["FLASH_ATTENTION", "CUDNN_ATTENTION"],
                        help="names of torch.nn.attention.SDPBackend")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--tokens", type=int, default=32768, help="positions of a batch")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--head-dims", type=int, nargs="+", default=[64, 52, 56, 60, 128])
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--kv-heads", type=int, default=16)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    if torch is None:
        common.missing("torch")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("skipped: PyTorch finds no GPU; --device cpu checks that the script runs", file=sys.stderr)
        return 77
    bench = Bench(options)
    bench.measure_product()
    for length in options.lengths:
        for head_dim in options.head_dims:
            for backend in options.backends:
                bench.stream(backend, length, head_dim)
    report = json.dumps({"bench": "torch_attention", "device": bench.name, "torch": torch.__version__,
                         "tokens": options.tokens, "product_tflops": bench.peak / 1e12, "results": bench.results})
    print("\n" + report)
    if options.json:
        with open(options.json, "w") as out:
            out.write(report + "\n")
    return 0


if __name__ == "__main__":
    common.start(main)
