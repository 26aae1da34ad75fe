"""The page of figures measured on a GPU, from the results that bench/gpu.sh keeps as JSON.

Results: {"figures": {key: {"value", "text", "detail", "date", "commit", "device"}},
          "failures": {line: {"what", "output", "date", "commit", "device"}}, "smoke": bool}.
A figure that is not there is pending. Nothing here measures or guesses.
"""

import figures
import lines

INTRODUCTION = """# On a GPU: measured

Targets are for one H200 in bf16, T = 2048, tensors of 64 MB and more; ratios within one run. `bench/gpu.sh` measures all
lines in under ten minutes and writes this page and [gpu.json](gpu.json); `bench/gpu.sh --only LINE` measures one;
`--list` prints what is pending. What was not measured says so: no figure here is guessed.
"""
SMOKE = "\n**A smoke run**: tiny sizes, to see that every line works. No value below says anything about speed.\n"


def command_of(figure):
    return "bench/gpu.sh --only " + " ".join(filter(None, (figure.also, figure.line)))


def pending(results):
    """Figures that were never measured."""
    return [figure for figure in figures.FIGURES if figure.key not in results.get("figures", {})]


def typed(line, command):
    """As one types it into a shell."""
    words = [f"'{word}'" if "*" in word else word for word in command]
    return " ".join((["PHOTON_TEST_DEVICE=cuda"] if line.name in ("tests", "sanitizer") else []) + words)


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def render(results):
    """The page's text."""
    measured = results.get("figures", {})
    devices = list(dict.fromkeys(entry["device"] for entry in measured.values()))
    out = [INTRODUCTION]
    if results.get("smoke"):
        out.append(SMOKE)
    out.append(row(["what", "at least", "measured", "of the target", "command", "on"]))
    out.append("|---|---|---|---|---|---|")
    values = {key: entry["value"] for key, entry in measured.items() if key in figures.BY_KEY}
    for figure in figures.FIGURES:
        entry = measured.get(figure.key)
        cells = [figure.what, figure.target, "pending", "", f"`{command_of(figure)}`", ""]
        if entry is not None:
            share, met = figure.share(entry["value"]), figures.met(figure, values)
            cells[2] = f"**{entry['text']}**" + (f" ({entry['detail']})" if entry["detail"] else "")
            cells[3] = {True: "met", False: "**missed**", None: ""}[met]
            cells[3] += f", {share:.2f}" if share is not None else ""
            cells[5] = f"{entry['date']}, {entry['commit']}, {chr(ord('A') + devices.index(entry['device']))}"
        out.append(row(cells))
    out += [f"\n{chr(ord('A') + i)}: {device}" for i, device in enumerate(devices)]
    for name, failure in sorted(results.get("failures", {}).items()):
        out.append(f"\n**`{name}` failed** on {failure['date']}, {failure['commit']}, {failure['device']}: "
                   f"{failure['what']}\n\n```\n{failure['output']}\n```")
    out.append("\n## What each line runs\n\nSeconds are what a line is thought to take on an H200 and when it is stopped: "
               "a plan, not a measurement.\n`$WORK` is a temporary folder.\n")
    for line in lines.LINES:
        out.append(f"`{line.name}`: {line.planned} s planned, stopped after {line.limit} s\n\n```")
        out += [typed(line, command) for command in line.commands(lines.Settings())]
        out.append("```\n")
    out.append(NOTES)
    return "\n".join(out)


NOTES = f"""## How to read it

- Training: tokens and FLOPs of steps {lines.WARM_UP_STEPS + 1} to {lines.TRAINING_STEPS}, by the time of whole steps: waiting for data, forward and backward pass,
  optimizer, log. FLOPs are counted as [the model's page](../model.md) says; norms and other elementwise work are not.
  Documents fill whole sequences, so no attention is spared by a mask. The run is stopped when its last step is logged:
  writing the checkpoint is no part of it.
- Memory: all tensors of the process, parameters, gradients and optimizer among them, at the worst moment.
- Kernels: bytes that must move, against a copy measured in the same process. A row names the slowest kernel of all whose
  bytes are 64 MB and more.
- PyTorch: the same model from the same page ([torch_models.py](../../bench/peers/torch_models.py)), bf16 by autocast,
  which rounds where this project does; `torch.compile`, fused attention, fused AdamW. Random tokens of one shape: ours come
  from the data loader, PyTorch has one batch on the GPU. They run in turns; neither keeps the GPU busy while the other is
  timed.
"""
