"""Batches from a token file in the page cache: this project against a numpy memory map, as nanoGPT reads it, one thread,
seconds of its core.

  python3 bench/peers/data_loader.py [--build FOLDER] [--length T] [--steps N] [--rounds N]

The peer draws 64 random places, copies T + 1 ids from each out of a memmap, widens them to int64 and stacks them: inputs
and targets. This project also finds the documents' borders, makes the mask and the scored positions, checks the ids, and
visits every sample once an epoch; the peer does none of that.
"""

import argparse
import tempfile
import time

import common

try:
    import numpy
except ImportError as error:
    common.missing(error.name)

SEQUENCES = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    program = args.build / "bench" / "data_loader"
    with tempfile.TemporaryDirectory() as folder:
        prefix = folder + "/x"
        common.run_program([program, "--make", prefix])
        tokens = args.steps * SEQUENCES * args.length
        random = numpy.random.default_rng(1)

        def ours():
            out = common.run_program([program, "--read", prefix, "--length", args.length, "--steps", args.steps]).json
            return common.Sample(out["tokens"], out["seconds"])

        def numpy_memmap():
            start = time.thread_time()
            for _ in range(args.steps):
                data = numpy.memmap(prefix + ".bin", dtype=numpy.uint16, mode="r")  # anew each batch, as nanoGPT does
                places = random.integers(len(data) - args.length, size=SEQUENCES)
                numpy.stack([data[i : i + args.length].astype(numpy.int64) for i in places])
                numpy.stack([data[i + 1 : i + 1 + args.length].astype(numpy.int64) for i in places])
            return common.Sample(tokens, time.thread_time() - start)

        numpy_memmap()
        copied = numpy.ones(1 << 27, numpy.uint8)
        into = numpy.empty_like(copied)

        def limit():  # 12 bytes a token: 2 of the file, 10 of a batch
            seconds = []
            for _ in range(5):
                start = time.thread_time()
                numpy.copyto(into, copied)
                seconds.append(time.thread_time() - start)
            return copied.nbytes / min(seconds) / 12

        common.compare(
            "batches of %d x %d from the page cache" % (SEQUENCES, args.length),
            [common.Side("photon", ours), common.Side("numpy memmap", numpy_memmap)],
            unit="M tokens/s", scale=1e6, limit=limit, limit_name="memcpy", rounds=args.rounds,
            settings={"length": args.length, "sequences": SEQUENCES, "numpy": numpy.__version__})


if __name__ == "__main__":
    common.start(main)
