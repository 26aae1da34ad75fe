"""Is it the same model? Losses, gradients, log-probabilities and updates of this project against PyTorch, in f32.

For each case the program trains a tiny model for a few steps on a made-up token file, so that no norm is 1 and no bias
0 any more, and saves; its next step says loss, cross-entropy, reconstruction loss and gradient norm at exactly those
weights. PyTorch gets the exported weights and the same batch, cut into sequences and documents by this file's own code,
and must find the same. A batch is the whole token file, so the order of the samples is of no consequence.

  python3 bench/peers/check_torch.py [--build FOLDER] [--quick | --case NAME ..] [--list]

Prints a line for each quantity; exit code 1 where one is off, 77 where this Python has no torch.

Tolerances. Both sides sum the same terms in f32, in different orders. A product over n = 72 terms (the longest inner
dimension but the head's) is off by about sqrt(n) u = 5e-7, u = 2^-24, relative to the size of its terms; some twenty
products follow each other, errors are independent and add as sqrt(20): 2e-6 for one row's log-probability, three times
that for the worst of sixty rows, and a margin of three: 2e-5. Losses are means over hundreds of rows, whose errors
mostly cancel, but the reconstruction loss is 1 - cos, small beside the 1: 1e-5. The gradient's norm goes through all
products twice and once more for the weights: 2e-5. Measured: log-probabilities 6e-6, reconstruction 2e-6, cross-entropy
2e-7, gradients 1.4e-6.
"""

import argparse
import json
import math
import os
import pathlib
import random
import struct
import tempfile

import common

try:
    import numpy  # noqa: F401 (torch_models needs it)
    import torch
except ImportError as error:
    common.missing(error.name)

import torch_models

LOSS, GRADIENT, LOG_PROBABILITY = 1e-5, 2e-5, 2e-5
VOCABULARY, LENGTH, SEQUENCES = 61, 96, 6

LEVEL = "levels { chunk: %d prefix: %d encoder_layers: %d decoder_layers: %d }"
ONE = LEVEL % (4, 2, 2, 2)
TWO = LEVEL % (4, 2, 1, 2) + LEVEL % (2, 3, 2, 1)
THREE = LEVEL % (2, 1, 1, 1) + LEVEL % (2, 2, 1, 1) + LEVEL % (4, 2, 1, 1)

# name: (model, objective, data)
CASES = {
    "flat": ("layers: 3", "", ""),
    "flat-gqa": ("layers: 2 kv_heads: 1 rope_theta: 500 norm_eps: 1e-3", "", ""),
    "flat-packed": ("layers: 2", "", "document_mask: false align: 1"),
    "block": (ONE, "", ""),
    "photon": (TWO, "", ""),
    "photon-gqa": (TWO + " kv_heads: 2", "", ""),
    "photon-packed": (TWO, "alpha: 0.3", "document_mask: false align: 1"),
    "photon-align-32": (TWO, "alpha: 0.3", "align: 32"),
    "three-levels": (THREE, "alpha: 0.3", ""),
}
for levels, what in (("one", ONE), ("two", TWO), ("three", THREE)):
    for shift in ("TOP", "ALL"):
        for contents in ("ENCODED", "RECONSTRUCTED"):
            for scope in ("GLOBAL", "GROUP"):
                name = "-".join((levels, shift, contents, scope)).lower()
                CASES[name] = (f"{what} shift: {shift} contents: {contents} encoder_scope: {scope}", "alpha: 0.4", "")
for flags in ("stop_gradient: false", "level_one_term: true", "stop_gradient: false level_one_term: true"):
    CASES["photon-" + flags.replace(": ", "-").replace(" ", "-")] = (TWO, "alpha: 0.5 " + flags, "")
QUICK = ["flat-gqa", "block", "photon-packed", "three-levels", "two-all-reconstructed-group", "two-top-encoded-group"]
UPDATES = ["flat", "block", "three-levels"]  # where updates are compared too


def documents():
    """1 to 90 tokens each; together SEQUENCES samples of LENGTH and a bit."""
    draw = random.Random(3)
    lengths = [1, 2, 90, 33]
    while sum(lengths) < SEQUENCES * LENGTH:
        lengths.append(draw.randint(1, 60))
    # Zipf-like ids: something to learn, so that weights move.
    return [[min(int(draw.expovariate(0.15)), VOCABULARY - 1) for _ in range(n)] for n in lengths]


def write_token_file(prefix, texts):
    """Megatron-LM's indexed format with 16-bit ids (docs/data.md)."""
    with open(f"{prefix}.bin", "wb") as ids:
        for text in texts:
            ids.write(struct.pack(f"<{len(text)}H", *text))
    sizes = [len(text) for text in texts]
    pointers = [2 * sum(sizes[:i]) for i in range(len(sizes))]
    with open(f"{prefix}.idx", "wb") as index:
        index.write(b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, len(texts), len(texts) + 1))
        index.write(struct.pack(f"<{len(texts)}i", *sizes) + struct.pack(f"<{len(texts)}q", *pointers))
        index.write(struct.pack(f"<{len(texts) + 1}q", *range(len(texts) + 1)))


class Batch:
    """All samples of a token file, cut as docs/data.md says: sample k begins at token k T and takes documents, each
    padded with id 0 to a multiple of `align`, until T positions are full."""

    def __init__(self, texts, align, masked):
        stream = [(d, token) for d, text in enumerate(texts) for token in text]
        rows = [self.sample(stream[k * LENGTH:], align) for k in range(len(stream) // LENGTH)]
        tokens, begins, real, scored = (torch.tensor(part) for part in zip(*rows))
        self.tokens, self.real, self.scored = tokens, real.bool(), scored.bool()
        self.document_begin = begins if masked else None

    @staticmethod
    def sample(stream, align):
        tokens, begins, real, scored = [], [], [], []
        while len(tokens) < LENGTH:
            document, begin = stream[0][0] if stream else None, len(tokens)
            while stream and stream[0][0] == document and len(tokens) < LENGTH:
                scored.append(len(tokens) > begin)
                tokens.append(stream[0][1])
                stream = stream[1:]
            real += [1] * (len(tokens) - begin)
            padding = LENGTH - len(tokens) if document is None else -len(tokens) % align
            tokens += [0] * padding
            real += [0] * padding
            scored += [0] * padding
            begins += [begin] * (len(tokens) - begin)
        return tokens, begins, real, scored


class Check:
    """Compares numbers, prints, and remembers what was off."""

    def __init__(self):
        self.failed = []
        self.largest = {}

    def close(self, case, what, ours, theirs, tolerance, relative=True):
        error = abs(ours - theirs) / (max(abs(ours), 1e-30) if relative and ours else 1.0)
        good = math.isfinite(error) and error <= tolerance
        self.largest[what] = max(self.largest.get(what, 0), error)
        print(f"{'ok ' if good else 'OFF'} {case:34s} {what:18s} {ours:.9g} {theirs:.9g}  error {error:.1e}", flush=True)
        if not good:
            self.failed.append(f"{case}: {what}")


def train(build, folder, case, overrides):
    """Runs the program; its metrics by step."""
    model, objective, data = CASES[case]
    config = folder / "config.textproto"
    config.write_text(f'''run_dir: "{folder}"
model {{ vocab_size: {VOCABULARY} width: 48 ffn: 72 heads: 4 {model} }}
data {{ train: "{folder}/tokens" valid: "{folder}/tokens" sequence_length: {LENGTH} {data} }}
training {{
  batch_sequences: {SEQUENCES} dtype: "f32" slice_tokens: 64 log_every: 1000 valid_every: 0
  objective {{ {objective} }}
}}
''')
    command = [build / "photon", "train", "--config", config]
    for field, value in {"checkpoint.keep_last": 0, **overrides}.items():
        command += ["--set", f"{field}={value}"]
    common.run_program(command, threads=1)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in lines if "loss" in line}


def export(build, folder, step):
    out = folder / f"weights-{step}.safetensors"
    checkpoint = folder / "checkpoints" / f"step-{step:08d}"
    common.run_program([build / "photon", "checkpoint", "export", "--checkpoint", checkpoint, "--out", out], threads=1)
    return torch_models.load(out)


def objective_of(case):
    """The objective's fields as a dict."""
    words = CASES[case][1].replace(":", "").split()
    return {key: json.loads(value) for key, value in zip(words[::2], words[1::2])}


def batch_of(case, texts, model):
    data = CASES[case][2].replace(":", "").split()
    fields = dict(zip(data[::2], data[1::2]))
    chunks = math.prod(level["chunk"] for level in model.config["levels"])
    return Batch(texts, int(fields.get("align", chunks)), fields.get("document_mask") != "false")


def losses(model, batch, objective):
    """loss, its two parts."""
    hidden, pairs = model(batch.tokens, batch.document_begin)
    ce = torch_models.cross_entropy(model, hidden, batch.tokens, batch.scored)
    rec = torch_models.reconstruction_loss(model, hidden, pairs, batch.tokens, batch.real, objective)
    return ce + objective.get("alpha", 0) * rec, ce, rec


def check_step(build, folder, case, check, texts):
    """Loss and gradient of a step at weights that were trained a little."""
    trained = 40
    metrics = train(build, folder, case, {
        "training.steps": trained + 1, "checkpoint.every": trained,
        "training.optimizer.peak_lr": 0.01, "training.optimizer.warmup_steps": 2})[trained + 1]
    model = export(build, folder, trained)
    loss, ce, rec = losses(model, batch_of(case, texts, model), objective_of(case))
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)
    check.close(case, "loss", metrics["loss"], loss.item(), LOSS)
    check.close(case, "cross-entropy", metrics["ce"], ce.item(), LOSS)
    check.close(case, "reconstruction", metrics["rec"], rec.item(), LOSS)
    check.close(case, "gradient norm", metrics["grad_norm"], norm.item(), GRADIENT)
    return model, trained


def check_score(build, folder, case, check, texts, model, step):
    """`photon score` of one sequence whose length is no multiple of anything."""
    ids = [token for text in texts for token in text][:61]
    (folder / "ids.json").write_text(json.dumps(ids))
    said = common.run_program([build / "photon", "score", "--checkpoint", folder / "checkpoints" / f"step-{step:08d}",
                               "--tokens", folder / "ids.json"], threads=1).output
    ours = torch.tensor(json.loads(said.strip().splitlines()[-1]), dtype=torch.float64)
    padded = torch.tensor([ids + [0] * (-len(ids) % 32)])
    with torch.no_grad():
        logits = model.lm_head(model(padded)[0])[0].double()
    first = 1 - model.target_offset  # the row that scores token 2
    scores = logits[first:first + len(ids) - 1].log_softmax(-1).gather(-1, padded[0, 1:len(ids), None])[:, 0]
    worst = (ours - scores).abs().argmax()
    check.close(case, "log-probability", ours[worst].item(), scores[worst].item(), LOG_PROBABILITY, relative=False)


def check_updates(build, folder, case, check, texts):
    """AdamW, its schedule, clipping and what decays: ten steps from the same initial weights stay together."""
    steps, warmup, peak = 10, 3, 3e-3
    train(build, folder, case, {"training.steps": 1, "training.optimizer.peak_lr": 0})
    model = export(build, folder, 1)  # the initial weights: nothing was learnt
    other = folder / "updates"
    other.mkdir()
    for suffix in ("bin", "idx"):
        os.symlink(folder / f"tokens.{suffix}", other / f"tokens.{suffix}")
    metrics = train(build, other, case, {"training.steps": steps, "training.optimizer.peak_lr": peak,
                                         "training.optimizer.warmup_steps": warmup})
    optimizer = optimizer_of(model)
    batch, objective = batch_of(case, texts, model), objective_of(case)
    for step in range(1, steps + 1):
        cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = peak * step / warmup if step <= warmup else peak * (0.1 + 0.9 * cosine)
        optimizer.zero_grad(set_to_none=True)
        loss = losses(model, batch, objective)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    check.close(case, "loss of step 10", metrics[steps]["loss"], loss.item(), 10 * LOSS)
    # An update is lr m / (sqrt(v) + eps): where a gradient is within rounding of 0 its sign, hence the direction of the
    # update, is open. So weights are compared as a whole: the distance that parted them over the one they went.
    ours, start = export(build, other, steps), export(build, folder, 1)
    flat = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (model, ours, start)]
    parted = (flat[0] - flat[1]).norm() / (flat[1] - flat[2]).norm()
    check.close(case, "weights parted by", 0.0, parted.item(), 1e-4)


def optimizer_of(model):
    decayed = [p for name, p in model.named_parameters() if torch_models.decays(name)]
    others = [p for name, p in model.named_parameters() if not torch_models.decays(name)]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                             lr=0.0, betas=(0.9, 0.95), eps=1e-8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--quick", action="store_true", help="six cases that cover most of it")
    some.add_argument("--case", action="append", choices=list(CASES), metavar="NAME", help="only this (repeatable)")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:34s} {' '.join(filter(None, case))}" for name, case in CASES.items()))
        return 0
    torch.set_num_threads(1)
    texts, check = documents(), Check()
    cases = arguments.case or (QUICK if arguments.quick else list(CASES))
    for case in cases:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            write_token_file(folder / "tokens", texts)
            model, step = check_step(arguments.build, folder, case, check, texts)
            check_score(arguments.build, folder, case, check, texts, model, step)
        if case in UPDATES:
            with tempfile.TemporaryDirectory() as temporary:
                folder = pathlib.Path(temporary)
                write_token_file(folder / "tokens", texts)
                check_updates(arguments.build, folder, case, check, texts)
    print(json.dumps({"benchmark": "check_torch", "torch": torch.__version__, "cases": len(cases),
                      "largest_errors": check.largest, "failed": check.failed}))
    return 1 if check.failed else 0


if __name__ == "__main__":
    common.start(main)
