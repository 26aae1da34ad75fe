#!/usr/bin/env python3
"""Tables and a picture of what bench/drift/measure.sh found: means over the seeds, with their largest distance from it.

  python3 bench/drift/summary.py runs/drift/drift [--plot drift.png] [--json drift.json]
"""
import argparse
import collections
import json
import math
import pathlib
import re
import statistics
import subprocess

FIELDS = ("hier_log_likelihood", "log_likelihood", "top1_agreement", "kl")
COLORS = {"hier": "#7aa6d8", "hier-parallel": "#e08e45", "rec": "#c0392b", "rec, nothing read": "#999999"}


def read(folder):
    """{(scope, alpha): {(mode, prefix): [figures of each seed]}}"""
    models = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in sorted(folder.glob("*.json")):
        match = re.fullmatch(r"(\w+)-alpha([\d.]+)-seed(\d+)\.(rec|hier-parallel)-(\d+)\.json", path.name)
        if not match:
            raise SystemExit(f"{path}: not a file of bench/drift/measure.sh")
        scope, alpha, _, mode, prefix = match.groups()
        models[scope, alpha][mode, int(prefix)].append(json.loads(path.read_text()))
    if not models:
        raise SystemExit(f"{folder}: holds no figures; run bench/drift/measure.sh first")
    return models


def over_seeds(runs, key):
    """The stretches of `key`, each field as (mean, largest distance from it)."""
    stretches = []
    for same in zip(*(run[key] for run in runs)):
        stretch = {"from": same[0]["from"], "to": same[0]["to"], "tokens": same[0]["tokens"], "seeds": len(same)}
        for field in FIELDS:
            values = [one[field] for one in same]
            mean = statistics.fmean(values)
            stretch[field] = (mean, max(abs(value - mean) for value in values))
        stretches.append(stretch)
    return stretches


def show(pair, seeds, digits=3):
    return f"{pair[0]:.{digits}f}" + (f" ± {pair[1]:.{digits}f}" if seeds > 1 else "")


def table(models, key):
    print("| scope | alpha | seeds | mode | tokens behind the prefix | loss of `hier` | loss of the mode | same best token | KL |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (scope, alpha), modes in models.items():
        for (mode, prefix), runs in modes.items():
            for stretch in over_seeds(runs, key):
                seeds = stretch["seeds"]
                hier, own = (show((-stretch[field][0], stretch[field][1]), seeds) for field in FIELDS[:2])
                agreement = show([100 * value for value in stretch["top1_agreement"]], seeds, 1)
                name = f"`{mode}`" + ("" if prefix else ", nothing read")
                print(f"| `{scope}` | {alpha} | {seeds} | {name} | {stretch['from']:,} to {stretch['to']:,} | {hier} | {own} "
                      f"| {agreement} % | {show(stretch['kl'], seeds)} |")
    print()


def curves(modes):
    """(title, [(distance, value)]) of the losses of a model, and then of its KL."""
    def points(runs, field, sign):
        return [(math.sqrt(s["from"] * s["to"]), sign * s[field][0]) for s in over_seeds(runs, "buckets")]

    losses = [("hier", points(modes["rec", 1024], "hier_log_likelihood", -1))]
    divergences = []
    for (mode, prefix), runs in sorted(modes.items()):
        name = mode if prefix else f"{mode}, nothing read"
        first = 0 if prefix else 1  # how a text begins is hard for all, and off the scale
        losses.append((name, points(runs, "log_likelihood", -1)[first:]))
        divergences.append((name, points(runs, "kl", 1)[first:]))
    return losses, divergences


def draw(models, path):
    lines, plots = [], []
    panels = [(key, *curves(modes)) for key, modes in models.items() if ("rec", 1024) in modes]
    for what in (1, 2):
        for panel in panels:
            parts = []
            for name, points in panel[what]:
                block = f"$d{len(lines)}"
                lines.append(f"{block} << E\n" + "".join(f"{x} {y}\n" for x, y in points) + "E\n")
                parts.append(f"{block} using 1:2 with linespoints lw 2 pt 7 ps 0.7 lc rgb '{COLORS[name]}' title '{name}'")
            scope, alpha = panel[0]
            quantity = "loss, nats/token" if what == 1 else "KL(hier || mode), nats"
            plots.append(f"set title '{scope}, alpha {alpha}'\nset ylabel '{quantity}'\nplot " + ", ".join(parts))
    values = [[y for panel in panels for _, points in panel[what] for _, y in points] for what in (1, 2)]
    ranges = [f"set yrange [{min(v) - 0.1:.2f}:{max(v) + 0.1:.2f}]" for v in values]
    half = len(plots) // 2
    commands = (f"set terminal png size {420 * len(panels)},860\nset output '{path}'\n" + "".join(lines) +
                "set logscale x 4\nset xrange [3:40000]\nset grid\nset key outside below horizontal maxcols 2\n"
                "set xtics ('4' 4, '16' 16, '64' 64, '256' 256, '1k' 1024, '4k' 4096, '16k' 16384)\n"
                "set xlabel 'tokens behind the prefix' offset 0,0.5\nset bmargin 9\n"
                f"set multiplot layout 2,{len(panels)}\n{ranges[0]}\n" + "\n".join(plots[:half]) +
                f"\n{ranges[1]}\n" + "\n".join(plots[half:]) + "\nunset multiplot\n")
    subprocess.run(["gnuplot"], input=commands, text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="OUT/drift of measure.sh")
    parser.add_argument("--plot", help="FILE.png; needs gnuplot")
    parser.add_argument("--json", type=pathlib.Path, help="FILE.json for the means")
    arguments = parser.parse_args()
    models = read(arguments.folder)
    table(models, "lengths")
    table(models, "buckets")
    if arguments.json:
        means = [{"scope": scope, "alpha": float(alpha), "mode": mode, "prefix": prefix,
                  "buckets": over_seeds(runs, "buckets"), "lengths": over_seeds(runs, "lengths")}
                 for (scope, alpha), modes in models.items() for (mode, prefix), runs in modes.items()]
        arguments.json.write_text(json.dumps(means, indent=1) + "\n")
    if arguments.plot:
        draw(models, arguments.plot)


if __name__ == "__main__":
    main()
