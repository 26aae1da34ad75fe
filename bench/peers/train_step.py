"""A training step (forward, backward, clipping, AdamW) of this project against PyTorch: the same model, shapes, number
of threads and compute type, in turns.

  python3 bench/peers/train_step.py [--model photon|block|flat ..] [--dtype f32|bf16 ..] [--threads N ..] [--rounds N]
  python3 bench/peers/train_step.py --device cuda --config photon-1.2b --dtype bf16 --how autocast --length 2048

The models are those of build/bench/train_step: 34 to 37 M parameters, T = 1024, 8 sequences a step by default; it also
counts the step's FLOPs and measures the matrix peak that shares are given of, for both sides. PyTorch runs in processes
that live through all rounds, warmed up and compiled before the first. Contestants:

  eager, compile                     PyTorch as it is; torch.compile
  autotune                           torch.compile with mode max-autotune; only where --peer names it: on CPUs it gained
                                     nothing (2 threads, f32: 4.86 s a step, compile 4.87)
  .. autocast                        bf16 products by torch.autocast: f32 weights and residual stream, as this project
  .. bf16 weights                    model and activations in bf16, f32 masters in the optimizer: faster, rounds more

PyTorch gets what its users get from its tuning guide: fused attention, fused AdamW, head and loss in chunks
(linear_cross_entropy), and an allocator that keeps memory instead of returning it to the system after every tensor.
With --config the model is that of configs/NAME.textproto. On a GPU, PyTorch's memory that no tensor holds is given back
after each turn.
"""

import argparse
import itertools
import json
import os
import pathlib
import re
import resource
import statistics
import sys
import time
import warnings

import common

try:
    import numpy  # noqa: F401 (torch_models needs it)
    import torch
except ImportError as error:
    common.missing(error.name)

import torch_models

MODELS = ("photon", "block", "flat")
HOW = ("autocast", "bf16 weights")
PEERS = {"f32": ["eager", "compile", "autotune"],
         "bf16": [f"{mode} {how}" for mode in ("eager", "compile", "autotune") for how in HOW]}
# glibc gives large blocks back to the system when they are freed, and gets them anew, page by page and zeroed, for the
# next tensor: 20 to 25 % of PyTorch's step. With these it keeps them, on huge pages. (jemalloc, which PyTorch's tuning
# guide names, does the like.)
KEEP_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:"
                                 "glibc.malloc.trim_threshold=1099511627776"}


def config_path(name):
    return common.ROOT / "configs" / f"{name}.textproto"


def fields(text):
    return {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", text)}


def shape_of_config(name):
    """The model of configs/NAME.textproto, which says no more than numbers."""
    text = re.sub("#.*", "", config_path(name).read_text())
    model = re.search(r"^model {(.*?)^}", text, re.M | re.S).group(1)
    inside = re.compile(r"levels {(.*?)}", re.S)
    return {**fields(inside.sub("", model)), "levels": [fields(level) for level in inside.findall(model)]}


def shape(kind):
    """As AddLayers() of bench/train_model.h, eight layers in all; or of a config."""
    if kind not in MODELS:
        return shape_of_config(kind)
    config = {"vocab_size": 8192, "width": 512, "ffn": 1408, "heads": 8, "levels": []}
    if kind == "flat":
        return {**config, "layers": 8}
    levels = 2 if kind == "photon" else 1
    level = {"chunk": 4, "prefix": 2, "encoder_layers": 4 // levels, "decoder_layers": 4 // levels}
    return {**config, "levels": [level] * levels}


class Trainer:
    """PyTorch's side: a model, its optimizer, one batch of random tokens."""

    def __init__(self, kind, peer, sequences, length, device):
        mode, _, how = peer.partition(" ")
        self.device = device
        with torch.device(device):
            model = torch_models.initialize(torch_models.create(shape(kind)))
        self.autocast = how == "autocast"
        self.masters = None
        if how == "bf16 weights":
            self.masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
            model = model.bfloat16()
        self.model, self.parameters = model, list(model.parameters())
        updated = self.masters or self.parameters
        decay = [torch_models.decays(name) for name, _ in model.named_parameters()]
        self.optimizer = torch.optim.AdamW(
            [{"params": [p for p, d in zip(updated, decay) if d], "weight_decay": 0.1},
             {"params": [p for p, d in zip(updated, decay) if not d], "weight_decay": 0.0}],
            lr=3e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.tokens = torch.randint(0, model.config["vocab_size"], (sequences, length),
                                    generator=torch.Generator().manual_seed(1)).to(device)
        self.loss = self.eager_loss
        if mode != "eager":
            with torch.no_grad():  # makes the tables of the rotation, so that they are constants to the compiler
                self.eager_loss(self.tokens[:1])
            options = {"mode": "max-autotune"} if mode == "autotune" else {}
            self.loss = torch.compile(self.eager_loss, dynamic=False, **options)

    def eager_loss(self, tokens):
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.autocast):
            hidden, _ = self.model(tokens)
            return torch_models.cross_entropy(self.model, hidden, tokens, fused=True)

    def step(self):
        loss = self.loss(self.tokens)
        loss.backward()
        updated = self.parameters
        if self.masters:
            updated = self.masters
            for master, p in zip(self.masters, self.parameters):
                master.grad = p.grad.float()
        torch.nn.utils.clip_grad_norm_(updated, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)
        if self.masters:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, self.masters)
        return loss.item()


def serve(job):
    """A worker: prepares, then runs as many steps as it is asked to."""
    warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")  # RMSNorm under autocast
    torch.set_num_threads(job["threads"])
    on_gpu = job["device"] != "cpu"
    trainer = Trainer(job["model"], job["peer"], job["sequences"], job["length"], job["device"])
    start = time.perf_counter()
    loss = [trainer.step() for _ in range(2)][-1]
    if on_gpu:
        torch.cuda.empty_cache()
    count = sum(p.numel() for p in trainer.parameters)
    ready = {"ready_s": time.perf_counter() - start, "loss": loss, "parameters": count}

    def run(steps):
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            trainer.step()
            seconds.append(time.perf_counter() - start)
        if on_gpu:
            torch.cuda.empty_cache()
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"seconds": statistics.median(seconds), "peak": peak}

    common.serve(ready, run)


class Worker(common.Worker):
    """A process with one PyTorch contestant."""

    def __init__(self, job):
        self.tokens = job["sequences"] * job["length"]
        super().__init__(__file__, job, {"OMP_NUM_THREADS": str(job["threads"]), **KEEP_MEMORY})

    def run(self, steps):
        said = self.ask(steps)
        return common.Sample(self.tokens, said["seconds"], {"peak MiB": said["peak"] / 2**20})


class Ours:
    """This project's side: build/bench/train_step, a process for every round. Its first step is not timed."""

    def __init__(self, build, job, steps):
        self.command = [build / "bench" / "train_step", "--steps", steps, "--device", job["device"], "--sequences",
                        job["sequences"]]
        if job["model"] in MODELS:
            for field in ("model", "dtype", "length"):
                self.command += [f"--{field}", job[field]]
        else:
            self.command += ["--config", config_path(job["model"])]
            for field in (f"training.dtype={job['dtype']}", f"data.sequence_length={job['length']}"):
                self.command += ["--set", field]
        self.threads, self.on_gpu = job["threads"], job["device"] != "cpu"
        self.peaks, self.said = [], None

    def run(self):
        finished = common.run_program(self.command, threads=self.threads)
        self.said = finished.json
        self.peaks.append(self.said["peak_flops_per_s"])
        peak = self.said["memory_bytes"] if self.on_gpu else finished.peak_rss
        return common.Sample(self.said["tokens"], self.said["step_s"], {"peak MiB": peak / 2**20})

    def tokens_limit(self):
        """Tokens a second at the matrix peak: the best measurement, others were disturbed."""
        return max(self.peaks) / (self.said["flops"] / self.said["tokens"])


def measure(arguments, model, dtype, threads):
    job = {"model": model, "dtype": dtype, "threads": threads, "sequences": arguments.sequences,
           "length": arguments.length, "device": arguments.device}
    ours = Ours(arguments.build, job, arguments.steps)
    sides, workers, failed = [common.Side("photon", ours.run)], [], {}
    try:
        for peer in PEERS[dtype]:
            mode, _, how = peer.partition(" ")
            if mode not in arguments.peer or (how and how not in arguments.how):
                continue
            try:
                worker = Worker({**job, "peer": peer})
            except common.ProgramFailed as error:  # max-autotune and compilers come and go with PyTorch's versions
                failed[peer] = str(error)
                continue
            workers.append(worker)
            ready = worker.ready
            print(f"torch {peer}: ready after {ready['ready_s']:.0f} s, loss {ready['loss']:.4f}", flush=True)
            sides.append(common.Side(f"torch {peer}", lambda worker=worker: worker.run(arguments.steps)))
        for peer in failed:
            print(f"torch {peer} did not start", flush=True)
        settings = {**job, "torch": torch.__version__, "steps a round": arguments.steps}
        if workers:
            settings["parameters"] = workers[0].ready["parameters"]
        if failed:
            settings["did not start"] = failed
        return common.compare(f"train_step {model}", sides, unit="tokens/s", limit=ours.tokens_limit,
                              limit_name="at the matrix peak", rounds=arguments.rounds, settings=settings)
    finally:
        for worker in workers:
            worker.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["photon"])
    parser.add_argument("--config", nargs="+", metavar="NAME", help="models of configs/NAME.textproto instead")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--how", nargs="+", choices=HOW, default=list(HOW), help="of bf16, only these (default: both)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="file for the figures")
    parser.add_argument("--dtype", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[os.cpu_count()])
    parser.add_argument("--peer", nargs="+", choices=["eager", "compile", "autotune"], default=["eager", "compile"],
                        help="only these (default: eager compile)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps a round (default: 3)")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024, help="tokens of a sequence, T")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return serve(json.loads(arguments.worker))
    if arguments.device != "cpu" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    models = arguments.config or arguments.model
    reports = [measure(arguments, *combination)
               for combination in itertools.product(models, arguments.dtype, arguments.threads)]
    if arguments.json:
        arguments.json.write_text(json.dumps(reports) + "\n")


if __name__ == "__main__":
    common.start(main)
