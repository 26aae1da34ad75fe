"""The lines of bench/gpu.sh: what each runs, and how its figures are read from what that leaves.

A line is a few commands that run one after the other, and a function from their reports to values. Sizes are the
targets' own, or, with `smoke`, so small that a CPU runs them in seconds: then the values say nothing.
"""

import json
import pathlib
import re

import figures
import tokens
from line import Line, Settings, Value, load, percent, program_of  # noqa: F401, whoever runs lines takes them from here

TRAINING_STEPS = 200
WARM_UP_STEPS = 10  # left out of the rates: kernels are chosen, steps are recorded
FEWEST_STEPS = WARM_UP_STEPS + 20  # that give a figure, where the time was short
LARGE_BYTES = 64e6  # what targets of bandwidth hold for
TESTS = (  # programs, with the tests in them that can run on a GPU
    (["core_test"], "-*DeathTest*:CudaBackend*:CudaDevice*:AlgorithmCache*:ProductChoice*"),
    (["env", "PHOTON_WARPGROUPS_FROM=1", "core_test"], "*Attention*:-*Window*:*Cached*:*DeathTest*"),
    (["model_test"], "*DeviceLoss*"),
    (["inference_test"], "*RecordedSteps*:*DeviceModel*"),
    (["train_test"], "DeviceStep*:DeviceResume*:*CheckedStep*"),
    (["parallel_test"], "NcclOnGpu*"),
)
TEST_PROGRAMS = tuple(dict.fromkeys(program for (*_, program), _ in TESTS))
BENCHES = ("attention_streams", "attention_windows", "ceilings", "decode", "elementwise", "rows", "train_step")


# Tests and ceilings

def test_commands(s):
    chosen = [(["core_test"], "Philox*:RmsNorm*")] if s.smoke else TESTS
    return [[*before, s.program(f"tests/{name}"), f"--gtest_filter={tests}", "--gtest_brief=1"]
            for (*before, name), tests in chosen]


def read_tests(s, output, _):
    counts = {word: sum(map(int, re.findall(rf"^\[  {word}  ?\] (\d+) tests?\.?", output, re.M)))
              for word in ("PASSED", "SKIPPED", "FAILED")}
    if counts["PASSED"] + counts["FAILED"] == 0:
        raise ValueError("no test ran")
    if re.search(r"^\[=+\] 0 tests", output, re.M):
        raise ValueError("a program has none of the tests that it is asked for")
    names = sorted(set(re.findall(r"^\[  FAILED  \] (\S+?)(?:, where| \()", output, re.M)))
    return {"tests": Value(counts["FAILED"], f"{counts['PASSED']} passed, {counts['FAILED']} failed, "
                           f"{counts['SKIPPED']} skipped", ", ".join(names))}


SANITIZED = "LongStreams/*:AllTypes/CachedAttention.IsItsDefinition*:RmsNorm*:CrossEntropy*:*FewRows*"


def sanitizer_commands(s):
    return [["compute-sanitizer", "--tool", tool, s.program("tests/core_test"), f"--gtest_filter={SANITIZED}",
             "--gtest_brief=1"] for tool in ("memcheck", "racecheck")]


def read_sanitizer(s, output, _):
    errors = [int(n) for n in re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", output)]
    if len(errors) != len(sanitizer_commands(s)):
        raise ValueError("compute-sanitizer did not come to its end")
    return {"sanitizer": Value(sum(errors), f"{errors[0]} errors of memory, {errors[1]} races")}


def ceilings_command(s):
    small = ["--megabytes", "8", "--width", "128", "--seconds", "0.01"] if s.smoke else []
    return [[s.program("bench/ceilings"), "--device", s.device, "--json", s.report("ceilings"), *small]]


def read_ceilings(s, *_):
    report = load(s, "ceilings")
    return {"copy": Value(report["copy_gb_per_s"], f"{report['copy_gb_per_s']:.0f} GB/s"),
            "product": Value(report["product_tflops"], f"{report['product_tflops']:.3g} TFLOP/s")}


# Training

SMALL_MODEL = ["model.vocab_size=512", "model.width=64", "model.ffn=96", "model.heads=2"]
SMALL_LAYERS = {"vanilla": ["model.layers=2"],
                "photon": [f"model.levels.{l}.{s}coder_layers=1" for l in (0, 1) for s in ("en", "de")]}


def overrides(s, model):
    """--set options that make the paper's config small where this is a smoke run."""
    small = [*SMALL_MODEL, *SMALL_LAYERS[model], "data.sequence_length=64"] if s.smoke else []
    return [word for field in small for word in ("--set", field)]


def training_shape(s):
    """(steps, sequences a step, length, vocabulary). A step is one microbatch of 32 k tokens."""
    return (WARM_UP_STEPS + 2, 2, 64, 512) if s.smoke else (TRAINING_STEPS, 16, 2048, 32000)


def training_command(model):
    def commands(s):
        steps, sequences, _, _ = training_shape(s)
        sets = [f"data.train={s.work}/tokens", f"run_dir={s.work}/{model}", f"training.steps={steps}",
                f"training.batch_sequences={sequences}", f"training.micro_batch_sequences={sequences}",
                "training.valid_every=0", "checkpoint.every=0"]
        return [[s.program("photon"), "train", "--config", f"configs/{model}-1.2b.textproto", "--device", s.device,
                 *[word for field in sets for word in ("--set", field)], *overrides(s, model)]]
    return commands


def prepare_tokens(s):
    steps, sequences, length, vocabulary = training_shape(s)
    if not pathlib.Path(f"{s.work}/tokens.idx").exists():
        tokens.write(f"{s.work}/tokens", steps * sequences, length, vocabulary)


def metrics(s, model):
    """The lines of steps that are complete."""
    path = pathlib.Path(s.work) / model / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [step for step in map(json.loads, text[:text.rfind("\n") + 1].splitlines()) if "tokens_per_s" in step]


def all_steps_logged(model):
    """What follows the last step, its checkpoint of 14 GB, is no part of the figure."""
    return lambda s: len(metrics(s, model)) >= training_shape(s)[0]


def read_training(model):
    def read(s, output, values):
        steps = metrics(s, model)
        wanted = training_shape(s)[0]
        if len(steps) < min(wanted, FEWEST_STEPS):
            raise ValueError(f"{len(steps)} steps of {wanted} were logged")
        if any(step.get("skipped") for step in steps):
            raise ValueError("updates were skipped: " + str([step for step in steps if step.get("skipped")][0]))
        steps = steps[WARM_UP_STEPS:]
        peak = 1e9 * float(re.search(r"matrix peak (\d+) GFLOP/s", output).group(1))  # what `mfu` is a share of
        flops = sum(step["mfu"] * step["step_s"] for step in steps) * peak
        seconds = sum(step["step_s"] for step in steps)
        rate = sum(step["tokens"] for step in steps) / seconds
        speed = flops / seconds
        detail = f"{rate:,.0f} tokens/s, {speed / 1e12:.3g} TFLOP/s"
        if len(steps) + WARM_UP_STEPS < wanted:
            detail += f", {len(steps) + WARM_UP_STEPS} steps of {wanted} in the time there was"
        if "product" in values:
            detail += f", {percent(speed / 1e12 / values['product'].value)} of the product"
        found = {f"mfu-{model}": Value(speed / figures.PEAK_FLOPS, percent(speed / figures.PEAK_FLOPS), detail)}
        pathlib.Path(s.report(f"training-{model}")).write_text(json.dumps({"tokens_per_s": rate}))
        other = pathlib.Path(s.report("training-photon"))
        if model == "vanilla" and other.exists():
            ratio = json.loads(other.read_text())["tokens_per_s"] / rate
            found["photon-over-vanilla"] = Value(ratio, f"{ratio:.2f} x")
        return found
    return read


def memory_command(s):
    sequences = "2" if s.smoke else "32"  # x 2,048 tokens
    return [[s.program("bench/train_step"), "--config", "configs/photon-1.2b.textproto", "--device", s.device,
             "--sequences", sequences, "--steps", "2", "--json", s.report("memory"), *overrides(s, "photon")]]


def read_memory(s, *_):
    report = load(s, "memory")
    gib = report["memory_bytes"] / 2**30
    return {"memory": Value(gib, f"{gib:.3g} GiB", f"{report['tokens']:,.0f} tokens a step")}


# Kernels

def kernels_command(program, line, small, always=()):
    def commands(s):
        return [[s.program(f"bench/{program}"), "--device", s.device, "--seconds", "0.001" if s.smoke else "0.1",
                 "--json", s.report(line), *always, *(small if s.smoke else ())]]
    return commands


def slowest(key, line, bound):
    """The value of the kernel that reaches the smallest share of a copy, and the names of those under `bound`."""
    def read(s, *_):
        shares = {}
        for result in load(s, line)["results"]:
            size = result["us"] * result["gb_per_s"] * 1e3
            if s.smoke or size >= LARGE_BYTES:
                shares[result["name"]] = result["share_of_copy"]
        name = min(shares, key=shares.get)
        under = sorted((share, n) for n, share in shares.items() if share < bound)
        detail = f"{name}; {len(shares) - len(under)} of {len(shares)} reach it"
        if len(under) > 1:
            detail += "; next: " + ", ".join(f"{n} {percent(share)}" for share, n in under[1:4])
        return {key: Value(shares[name], percent(shares[name]), detail)}
    return read


def attention_command(s):
    sizes = ["--lengths", "64", "--tokens", "64", "--seconds", "0.001"] if s.smoke else ["--lengths", "8192"]
    return [[s.program("bench/attention_streams"), "--device", s.device, *sizes, "--head-dims", "64", "60", "56", "52",
             "--json", s.report("attention")]]


KERNELS = {"warpgroups": 1, "mma": 1 << 40}  # the least length of streams for Hopper's warpgroups


def kernels_report(s, kernels):
    return s.report(f"attention-{kernels}")


def attention_kernels_commands(s):
    sizes = ["--lengths", "64", "128", "--tokens", "64", "--seconds", "0.001"] if s.smoke else \
        ["--lengths", "128", "256", "512", "1024", "2048", "8192", "--seconds", "0.05"]
    return [["env", f"PHOTON_WARPGROUPS_FROM={length}", s.program("bench/attention_streams"), "--device", s.device,
             *sizes, "--head-dims", "64", "--json", kernels_report(s, kernels)] for kernels, length in KERNELS.items()]


def read_attention_kernels(s, *_):
    """The shortest stream from which on warpgroups are never slower."""
    reports = [json.loads(pathlib.Path(kernels_report(s, kernels)).read_text()) for kernels in KERNELS]
    found = {}
    for which in ("forward", "backward"):
        warpgroups, mma = [{int(re.search(r"x (\d+) positions", r["name"]).group(1)): r["us"]
                            for r in direction(report, which)} for report in reports]
        ratios = {length: mma[length] / warpgroups[length] for length in sorted(mma)}
        slower = [length for length, ratio in ratios.items() if ratio < 1]
        faster = [length for length in ratios if length > max(slower, default=0)]
        text = f"{min(faster):,} positions" if faster else "never"
        found[f"attention-kernels-{which}"] = Value(min(faster, default=1 << 40), text, ", ".join(
            f"{length:,}: {ratio:.2f} x" for length, ratio in ratios.items()))
    return found


def attention_torch_command(s):
    sizes = ["--lengths", "64", "--tokens", "64", "--seconds", "0.001", "--backends", "MATH"] if s.smoke else \
        ["--lengths", "8192"]
    return [[s.python, "bench/peers/torch_attention_gpu.py", "--device", s.device, *sizes, "--head-dims", "64",
             "--json", s.report("attention-torch")]]


def direction(report, which):
    """Results of a direction, the refused ones left out."""
    return [r for r in report["results"] if r["name"].endswith(which) and "us" in r]


def read_attention(s, *_):
    found = {}
    for which in ("forward", "backward"):
        result = direction(load(s, "attention"), which)[0]
        found[f"attention-{which}"] = Value(result["share_of_product"], percent(result["share_of_product"]),
                                            f"{result['tflops']:.3g} TFLOP/s")
    ratios = {}
    for which in ("forward", "backward"):
        whole, *narrow = direction(load(s, "attention"), which)
        for result in narrow:
            ratios[result["name"].rsplit(" x ", 1)[1]] = result["us"] / whole["us"]
    slowest_of_all = max(ratios, key=ratios.get)
    found["attention-narrow"] = Value(ratios[slowest_of_all], f"{ratios[slowest_of_all]:.2f} x",
                                      ", ".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()))
    return found


def read_attention_torch(s, *_):
    if not pathlib.Path(s.report("attention")).exists():
        raise ValueError("it needs the line `attention` of the same run: --only attention attention-torch")
    found = {}
    for which in ("forward", "backward"):
        ours = direction(load(s, "attention"), which)[0]["us"]
        theirs = min(direction(load(s, "attention-torch"), which), key=lambda r: r["us"])
        found[f"attention-{which}-torch"] = Value(theirs["us"] / ours, f"{theirs['us'] / ours:.2f} x",
                                                  theirs["name"].split(":")[0])
    return found


# Generation

def decode_command(s):
    sizes = ["--prompt", "16", "--tokens", "16", "--rounds", "1"] if s.smoke else []
    return [[s.program("bench/decode"), "--config", "configs/photon-1.2b.textproto", "--dtype", "bf16", "--device",
             s.device, *sizes, "--json", s.report("decode"), *overrides(s, "photon")]]


def read_decode(s, *_):
    result = load(s, "decode")["results"][0]
    return {"decode": Value(result["share_of_weights"], percent(result["share_of_weights"]),
                            f"{result['tokens_per_s']:,.0f} tokens/s, {percent(result['share_of_read'])} with caches")}


HEAVY = {"vanilla-600m": "hier", "photon-600m": "rec"}  # model: mode


def heavy_report(s, model):
    return s.report(f"decode-heavy-{model}")


def heavy_commands(s):
    sizes = ["--scale", "0.05", "--tokens", "32", "--batches", "1", "2"] if s.smoke else []
    return [[s.program("photon"), "bench", "paper", "--models", model, "--shapes", "DE", "--modes", mode, "--device",
             s.device, *sizes, "--json", heavy_report(s, model)] for model, mode in HEAVY.items()]


def read_heavy(s, *_):
    """Of the largest batches. The bound of bandwidth: weights and caches by the measured speed of reading."""
    best = {}
    for model, mode in HEAVY.items():
        results = json.loads(pathlib.Path(heavy_report(s, model)).read_text())["results"]
        best[model] = next(r for r in results if r["model"] == model and r["mode"] == mode)
    vanilla, rec = best.values()
    run = vanilla["runs"][-1]
    share = (run["weight_bytes_read"] + run["cache_bytes_read"]) / run["read_bytes_per_s"] / run["seconds"]
    density = [r["runs"][-1]["tpm"] for r in (rec, vanilla)]
    return {"heavy-vanilla": Value(share, percent(share), text_of(vanilla)),
            "heavy-rec": Value(density[0], f"{density[0]:,.0f} K tok/s/GiB", text_of(rec)),
            "heavy-ratio": Value(density[0] / density[1], f"{density[0] / density[1]:,.0f} x")}


def text_of(result):
    run = result["runs"][-1]
    return f"{run['tokens_per_s']:,.0f} tokens/s, {run['batch']} sequences, " \
           f"{result['bytes_per_sequence'] / 2**30:.4f} GiB each"


# PyTorch

def torch_command(model):
    def commands(s):
        small = "flat" if model == "vanilla" else model
        what = ["--model", small, "--peer", "eager", "--length", "64", "--sequences", "2", "--steps", "1", "--threads",
                "1"] if s.smoke else \
            ["--config", f"{model}-1.2b", "--peer", "compile", "--sequences", "8", "--length", "2048", "--steps", "10"]
        return [[s.python, "bench/peers/train_step.py", "--build", s.build, "--device", s.device, "--dtype", "bf16",
                 "--how", "autocast", "--rounds", "1", *what, "--json", s.report(f"torch-{model}")]]
    return commands


def read_torch(model):
    def read(s, *_):
        (report,) = load(s, f"torch-{model}")
        if len(report["sides"]) < 2:
            raise ValueError("PyTorch's side did not start")
        ours, theirs = report["sides"]
        return {f"torch-{model}": Value(theirs["ours_over_it"], f"{theirs['ours_over_it']:.2f} x",
                                        f"{ours['rate']:,.0f} against {theirs['rate']:,.0f} tokens/s, torch "
                                        f"{report['settings']['torch']}")}
    return read


LINES = (
    Line("tests", test_commands, read_tests, planned=60, limit=120),
    Line("sanitizer", sanitizer_commands, read_sanitizer, planned=30, limit=90),
    Line("ceilings", ceilings_command, read_ceilings, planned=10, limit=30),
    Line("training-photon", training_command("photon"), read_training("photon"), planned=70, limit=120,
         prepare=prepare_tokens, done=all_steps_logged("photon"), partial=True),
    Line("training-vanilla", training_command("vanilla"), read_training("vanilla"), planned=120, limit=170,
         prepare=prepare_tokens, done=all_steps_logged("vanilla"), partial=True),
    Line("memory", memory_command, read_memory, planned=15, limit=60),
    Line("elementwise", kernels_command("elementwise", "elementwise", ("--rows", "64", "--threads", "1")),
         slowest("kernels", "elementwise", 0.85), planned=10, limit=45),
    Line("rows", kernels_command("rows", "rows", ("--megabytes", "1"), ("--no-sampling",)),
         slowest("row-kernels", "rows", 0.85), planned=15, limit=60),
    Line("attention", attention_command, read_attention, planned=10, limit=30),
    Line("attention-torch", attention_torch_command, read_attention_torch, planned=15, limit=45),
    Line("attention-kernels", attention_kernels_commands, read_attention_kernels, planned=15, limit=45),
    Line("windows", kernels_command("attention_windows", "windows", ("--rows", "256")),
         slowest("windows", "windows", 0.80), planned=10, limit=45),
    Line("decode", decode_command, read_decode, planned=20, limit=60),
    Line("decode-heavy", heavy_commands, read_heavy, planned=60, limit=150),
    Line("torch-photon", torch_command("photon"), read_torch("photon"), planned=60, limit=110),
    Line("torch-vanilla", torch_command("vanilla"), read_torch("vanilla"), planned=60, limit=110),
)
BY_NAME = {line.name: line for line in LINES}
