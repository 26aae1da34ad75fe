"""Byte-level BPE: this project against the library `tokenizers` (Rust), same tokenizer.json, same documents, same number
of threads, in turns. First the ids of all documents are compared.

  python3 bench/peers/bpe.py --tokenizer tokenizer.json --input TEXT.. [--threads N ..] [--rounds N]

Documents are pieces of the texts of about 4 KiB. Contestants:

  encode_batch_fast    ids alone, without offsets: the fastest call that `tokenizers` has
  encode_batch         with offsets and pieces: the usual call
  encode               a call a document; with one thread only

Each is warmed up with one pass. `tokenizers` lives through all rounds; this project's program is started anew.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

import common

try:
    import tokenizers
except ImportError as error:
    common.missing(error.name)

DOCUMENT_BYTES = 4096


def read_documents(paths):
    """As bench/tokenizer.cc cuts them."""
    documents = []
    for path in paths:
        text = pathlib.Path(path).read_bytes()
        at = 0
        while at < len(text):
            end = text.find(b"\n", at + DOCUMENT_BYTES) + 1 or len(text)
            documents.append(text[at:end].decode())
            at = end
    return documents


def serve(job):
    """A worker: encodes all documents as often as it is asked to."""
    tokenizer = tokenizers.Tokenizer.from_file(job["tokenizer"])
    documents = read_documents(job["inputs"])
    call = getattr(tokenizer, job["call"])
    if job["call"] == "encode":
        encode = lambda: [call(document, add_special_tokens=False) for document in documents]
    else:
        encode = lambda: call(documents, add_special_tokens=False)
    with open(job["ids"], "wb") as ids:
        for encoding in encode():
            ids.write(b"".join(i.to_bytes(4, "little") for i in encoding.ids))

    def run(passes):
        seconds, processor = [], []
        for _ in range(passes):
            start, start_processor = time.perf_counter(), time.process_time()
            encodings = encode()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
            del encodings
        return {"seconds": statistics.median(seconds), "processor_seconds": statistics.median(processor)}

    common.serve({"bytes": sum(len(document.encode()) for document in documents)}, run)


def sample(size, said):
    """Beside the time that passed, what a second of processor achieves: it holds where others use the machine too."""
    return common.Sample(size, said["seconds"], {"MB/s of processor": size / said["processor_seconds"] / 1e6})


class Worker(common.Worker):
    """A process with one of the library's calls."""

    def __init__(self, job):
        super().__init__(__file__, job, {"RAYON_NUM_THREADS": str(job["threads"]),
                                         "TOKENIZERS_PARALLELISM": "true" if job["threads"] > 1 else "false"})
        self.bytes = self.ready["bytes"]

    def run(self, passes):
        return sample(self.bytes, self.ask(passes))


class Ours:
    """build/bench/tokenizer, a process for every round."""

    def __init__(self, arguments, threads, ids):
        self.command = [arguments.build / "bench" / "tokenizer", "--no-words", "--tokenizer", arguments.tokenizer,
                        "--threads", threads, "--passes", 3 * arguments.passes, "--document-bytes", DOCUMENT_BYTES,
                        "--input", *arguments.input]
        self.limits = []
        common.run_program(self.command + ["--ids", ids])

    def run(self):
        said = common.run_program(self.command).json
        self.limits.append(said["limit_bytes_per_s"])
        return sample(said["bytes"], said)

    def limit(self):
        return max(self.limits)


def measure(arguments, threads, folder):
    ours = Ours(arguments, threads, folder / "ours")
    sides, workers = [common.Side("photon", ours.run)], []
    calls = ["encode_batch_fast", "encode_batch"] + (["encode"] if threads == 1 else [])
    try:
        for call in calls:
            ids = folder / call
            worker = Worker({"tokenizer": arguments.tokenizer, "inputs": arguments.input, "call": call,
                             "threads": threads, "ids": str(ids)})
            workers.append(worker)
            if ids.read_bytes() != (folder / "ours").read_bytes():
                raise common.ProgramFailed(f"{call} gives other ids than this project")
            sides.append(common.Side(f"tokenizers {call}", lambda worker=worker: worker.run(arguments.passes)))
        count = (folder / "ours").stat().st_size // 4
        print(f"the same {count} ids from all")
        settings = {"tokenizer": arguments.tokenizer, "bytes": workers[0].bytes, "ids": count, "threads": threads,
                    "tokenizers": tokenizers.__version__}
        common.compare("bpe", sides, unit="MB/s", scale=1e6, limit=ours.limit, limit_name="checking for UTF-8",
                       rounds=arguments.rounds, settings=settings)
    finally:
        for worker in workers:
            worker.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_build_option(parser)
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json")
    parser.add_argument("--input", nargs="+", metavar="FILE", help="texts, UTF-8")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=3, help="over the texts, a round (default: 3)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return serve(json.loads(arguments.worker))
    if not arguments.tokenizer or not arguments.input:
        parser.error("give --tokenizer and --input")
    for threads in arguments.threads:
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments, threads, pathlib.Path(folder))


if __name__ == "__main__":
    common.start(main)
