#!/usr/bin/env python3
"""Whether the machine code of products by warpgroups reads the left factors that the source means.

    left_factors.py libphoton_cuda.so        or objects, cubins

ptxas (seen in 12.9 and 13.0) may give the registers of a left factor that several turns of a loop share to other values,
and not load it again: no warning, and an emulated GPU can't see it. In our kernels a left factor is loaded from shared
memory (LDSM) or packed from sums (F2FP). Where instructions of both kinds reach the same product, or any other does, the
register was given away. Exit code 0: all is well; 1: some product is not, or there is none; 77: no listing, for want of
cuobjdump and nvdisasm in PATH (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm; the toolkit may bring them).
"""

import re
import subprocess
import sys

LOADS = {"LDSM", "F2FP"}
NO_RESULT = {"ST", "STS", "STG", "STL", "BAR", "SYNCS", "BRA", "RED", "LDGSTS", "R2UR", "WARPSYNC", "DEPBAR", "EXIT",
             "BSSY", "BSYNC", "CALL", "RET", "WARPGROUP", "LDGDEPBAR", "FENCE", "MEMBAR", "USETMAXREG", "BPT", "NOP"}


def functions(listing):
    """(name, [(address, instruction without its predicate, whether it has one)])."""
    for part in listing.split("Function : ")[1:]:
        rows = re.findall(r"/\*([0-9a-f]{4,})\*/\s+((?:@!?U?P\w+\s+)?)([A-Z][^;]*);", part)
        yield part.split("\n", 1)[0].strip(), [(int(a, 16), text.strip(), bool(p)) for a, p, text in rows]


def successors(code):
    """Of each instruction, the numbers of those that may follow."""
    at = {address: i for i, (address, _, _) in enumerate(code)}
    found = []
    for i, (_, text, conditional) in enumerate(code):
        opcode, next_ones = text.split()[0].split(".")[0], []
        target = re.search(r"\b0x([0-9a-f]+)$", text)
        if opcode in ("BRA", "WARPSYNC") and target and int(target.group(1), 16) in at:
            next_ones.append(at[int(target.group(1), 16)])
        # A BRA may have its condition among its operands: "BRA P1, 0x10", "BRA.DIV UR4, 0x10".
        always = opcode in ("EXIT", "RET") or (opcode == "BRA" and "," not in text)
        if conditional or not always:
            next_ones.append(i + 1)
        found.append([n for n in next_ones if n < len(code)])
    return found


def written(text):
    """The registers that an instruction writes."""
    opcode, *rest = text.split(None, 1)
    if opcode.split(".")[0] in NO_RESULT or not rest:
        return range(0)
    for operand in rest[0].split(",")[:2]:  # results may be a predicate, then a register
        register = re.fullmatch(r"R(\d+)", operand.strip())
        if register:
            n, width = int(register.group(1)), 1
            if opcode.startswith("HGMMA"):
                width = int(re.search(r"64x(\d+)x", opcode).group(1)) // 2
            elif ".128" in opcode or ".M88.4" in opcode or ".MT88.4" in opcode:
                width = 4
            elif ".64" in opcode or ".WIDE" in opcode or opcode == "CS2R":
                width = 2
            return range(n, n + width)
        if not re.fullmatch(r"!?P\w+", operand.strip()):
            break
    return range(0)


def writers(register, start, before, writes, code):
    """What kinds of instruction wrote the register that instruction `start` reads, along any path."""
    kinds, seen, left = set(), set(), list(before[start])
    while left:
        i = left.pop()
        if i in seen:
            continue
        seen.add(i)
        if register in writes[i]:
            kinds.add(code[i][1].split()[0].split(".")[0])
        # What a predicate may leave out, others have written.
        if register not in writes[i] or code[i][2]:
            left += before[i]
    return kinds


def check(listing):
    """(products with a left factor in registers, what is wrong with some)."""
    products, wrong = 0, []
    for name, code in functions(listing):
        before = [[] for _ in code]
        for i, following in enumerate(successors(code)):
            for j in following:
                before[j].append(i)
        writes = [written(text) for _, text, _ in code]
        for i, (address, text, _) in enumerate(code):
            factor = re.match(r"HGMMA\S*\s+R\d+,\s*R(\d+),", text)
            if not factor:
                continue
            products += 1
            first = int(factor.group(1))
            # That one path writes nothing is no fault: it may be one that is never taken (a loop behind its condition).
            kinds = set().union(*(writers(r, i, before, writes, code) or {"nothing"} for r in range(first, first + 4)))
            if len(kinds) != 1 or not kinds <= LOADS:
                wrong.append(f"{name}, {address:#06x}: the left factor of {text} comes from {', '.join(sorted(kinds))}")
    return products, wrong


def main(paths):
    products, wrong = 0, []
    for path in paths:
        try:
            listing = subprocess.run(["cuobjdump", "-sass", path], check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"skipped: no listing of {path}: {str(getattr(error, 'stderr', None) or error).strip()}")
            return 77
        found, complaints = check(listing)
        products += found
        wrong += complaints
    print("\n".join(wrong + [f"{products} products with a left factor in registers, {len(wrong)} wrong"]))
    return 0 if products and not wrong else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__)
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
