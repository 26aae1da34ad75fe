"""A token file of random ids in Megatron-LM's indexed format (docs/data.md), for training runs that only measure speed.

Every document fills one sequence: no padding, and no attention that a document mask would spare.
"""

import array
import random
import struct


def write(prefix, sequences, length, vocabulary):
    """PREFIX.bin and PREFIX.idx: `sequences` documents of `length` ids under `vocabulary`, at most 65,500."""
    draw = random.Random(1)
    with open(f"{prefix}.bin", "wb") as ids:
        for _ in range(sequences):
            raw = array.array("I", draw.randbytes(4 * length))
            array.array("H", [value % vocabulary for value in raw]).tofile(ids)
    with open(f"{prefix}.idx", "wb") as index:
        index.write(b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, sequences, sequences + 1))
        array.array("i", [length] * sequences).tofile(index)
        array.array("q", [2 * length * i for i in range(sequences)]).tofile(index)
        array.array("q", range(sequences + 1)).tofile(index)
