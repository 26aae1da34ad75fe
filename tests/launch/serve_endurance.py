"""Many clients of one `photon serve` for a long time: nothing fails, memory stays where it is, and nonsense is refused.

  python3 tests/launch/serve_endurance.py PHOTON CONFIG [--seconds 600] [--check-times]

One server, in this order:
 1. streams: 64 clients, each with one stream after the other, in all modes; one in twenty hangs up half-way. No stream may
    break. After a warm-up (a fifth of the time) the server's resident memory may grow by what its states did, which
    /metrics tells and --state-memory bounds; by 32 MiB, as tensors' memory is taken from the system that much at a time
    (kMinimumSlab of core/allocator.cc) and its pages count from when they are first used; and by 128 KiB a client, which
    glibc keeps at the end of the heap that a thread uses (M_TRIM_THRESHOLD). Medians of the first and last fifth of the
    time after it are compared.
    Of the times between two bursts of a stream (a chunk of level 1 in hier, a meta-context in the other modes), the 99th
    percentile may be three times the median with --check-times.
 2. malformed requests: 10,000, made of good ones; each must be answered by 4xx.
 3. drain: SIGTERM while 32 streams run. All must end as they would have, and the server with exit code 0.

Exit code 1 where something is off. Prints what it measured.
"""

import argparse
import array
import asyncio
import collections
import json
import math
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

from malformed_requests import MAX_BODY, malformed_request
from served_model import make_model

MODES = ("hier", "hier-parallel", "rec")
WORDS = "and god said let there be light was one two seven the".split()
TRIM_THRESHOLD = 128 << 10
SLAB = 32 << 20


class Connection:
    """One connection that speaks HTTP/1.1, as far as the server's answers need it."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self):
        self.writer.close()

    async def head(self):
        """Status and headers of the next answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([piece async for piece in self.chunks()])
        return await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def chunks(self):
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def ask(self, path, fields=None):
        """Status and body."""
        if fields is None:
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        else:
            self.writer.write(post(json.dumps(fields).encode(), path))
        status, headers = await self.head()
        return status, (await self.body(headers)).decode()

    async def stream(self, fields):
        """Yields the events of a stream of completions, each as it comes; asserts that it is whole."""
        self.writer.write(post(json.dumps({**fields, "stream": True}).encode()))
        status, headers = await self.head()
        assert status == 200, (status, await self.body(headers))
        pending, done = b"", False
        async for piece in self.chunks():
            pending += piece
            *events, pending = pending.split(b"\n\n")
            for event in events:
                assert event.startswith(b"data: ") and not done, event
                done = event == b"data: [DONE]"
                if not done:
                    yield json.loads(event[6:])
        assert done and not pending, (done, pending)


def post(body, path="/v1/completions"):
    return (f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode() + body


class Server:
    def __init__(self, photon, config, folder):
        run = make_model(photon, config, folder)
        chunks = [int(chunk) for chunk in re.findall(r"chunk: (\d+)", pathlib.Path(config).read_text())]
        self.burst = {mode: chunks[0] if mode == "hier" else math.prod(chunks) for mode in MODES}  # tokens
        self.process = subprocess.Popen(
            [photon, "serve", "--checkpoint", str(run), "--port", "0", "--max-context", "400", "--state-memory", "16MiB",
             # Each connection's thread comes to touch its stack: few, so that all have before the warm-up ends.
             "--max-connections", "80", "--max-body-bytes", str(MAX_BODY)], stderr=subprocess.PIPE, text=True,
            # All clients are one process on the server's machine, and at equal priority the times would mostly tell how long
            # that process waits for a core.
            preexec_fn=lambda: os.nice(10))
        self.port = int(re.search(r"http://[^:]*:(\d+)", self.process.stderr.readline()).group(1))

    def resident_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def metric(self, name):
        connection = await Connection.open(self.port)
        status, text = await connection.ask("/metrics")
        connection.close()
        assert status == 200, status
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    async def state_bytes(self):
        return sum([await self.metric(f"photon_{of}_bytes") for of in ("state", "window", "prefix")])


def some_request(dice, mode):
    return {"prompt": " ".join(dice.choices(WORDS, k=dice.randint(1, 40))), "max_tokens": dice.randint(20, 200),
            "mode": mode, "temperature": dice.choice([0, 0.7, 1]), "seed": dice.getrandbits(31),
            "ignore_eos": True, "n": dice.choice([1, 1, 1, 2]), "return_token_ids": True,
            "stream_options": {"include_usage": True}}


def gaps_between_bursts(arrivals, begin, size):
    """Seconds from one burst's last token to the next one's; the first token stands at position `begin`."""
    ends = {(begin + i) // size: time for i, time in enumerate(arrivals)}
    times = list(ends.values())
    return [after - before for before, after in zip(times, times[1:])]


async def client(server, number, until, gaps, counts):
    dice = random.Random(number)
    mode = MODES[number % len(MODES)]
    connection = await Connection.open(server.port)
    while time.monotonic() < until:
        request = some_request(dice, mode)
        leaves_after = dice.randint(1, 10) if dice.random() < 0.05 else None
        arrivals, prompt_tokens, events, ends = collections.defaultdict(list), 0, 0, 0
        async for event in connection.stream(request):
            assert "error" not in event, event
            now = time.monotonic()
            for choice in event["choices"]:
                ends += choice["finish_reason"] == "length"
                arrivals[choice["index"]] += [now] * len(choice["token_ids"])
            if event.get("usage"):
                prompt_tokens = event["usage"]["prompt_tokens"]
            events += 1
            if events == leaves_after:
                break
        if events == leaves_after:
            counts["left"] += 1
            connection.close()
            connection = await Connection.open(server.port)
        else:
            assert ends == request["n"], (ends, request)
            assert all(len(times) == request["max_tokens"] for times in arrivals.values()), request
            for times in arrivals.values():
                gaps[mode].extend(gaps_between_bursts(times, prompt_tokens, server.burst[mode]))
            counts["whole"] += 1
    connection.close()


async def watch_memory(server, begin, until, samples):
    while time.monotonic() < until:
        samples.append((time.monotonic() - begin, server.resident_bytes(), await server.state_bytes()))
        await asyncio.sleep(0.5)


async def streams(server, clients, seconds, check_times):
    begin = time.monotonic()
    until, counts, samples = begin + seconds, collections.Counter(), []
    # Millions: over as many in a list, Python's collector walks for longer than a burst takes.
    gaps = {mode: array.array("d") for mode in MODES}
    await asyncio.gather(watch_memory(server, begin, until, samples),
                         *(client(server, number, until, gaps, counts) for number in range(clients)))
    tokens = await server.metric("photon_generated_tokens_total")
    print(f"streams: {counts['whole']} whole, {counts['left']} left early, {tokens / seconds:.0f} tokens/s")
    check_memory([sample for sample in samples if sample[0] > seconds / 5], clients)
    for mode in MODES:
        median = statistics.median(gaps[mode])
        late = statistics.quantiles(gaps[mode], n=100)[98]
        print(f"time between bursts, {mode}: median {median * 1e3:.1f} ms, 99th percentile {late * 1e3:.1f} ms, "
              f"ratio {late / median:.2f} of {len(gaps[mode])}")
        assert not check_times or late <= 3 * median, mode
    assert await server.metric("photon_sequences_running") == 0
    assert await server.metric("photon_requests_waiting") == 0


def check_memory(samples, clients):
    fifth = max(len(samples) // 5, 1)
    first, last = samples[:fifth], samples[-fifth:]
    resident = [statistics.median(sample[1] for sample in part) for part in (first, last)]
    states = [statistics.median(sample[2] for sample in part) for part in (first, last)]
    bound = max(states[1] - states[0], 0) + SLAB + clients * TRIM_THRESHOLD
    mib = lambda value: f"{value / 2**20:.2f} MiB"
    steps = samples[::max(len(samples) // 12, 1)]
    print("resident memory, MiB:", *(f"{sample[1] / 2**20:.1f}" for sample in steps))
    print(f"resident memory after the warm-up: {mib(resident[0])}, at the end {mib(resident[1])}: "
          f"{mib(resident[1] - resident[0])} more, {mib(bound)} allowed; states {mib(states[0])}, then {mib(states[1])}")
    assert resident[1] - resident[0] <= bound


async def nonsense(server, dice, count, answers):
    connection = await Connection.open(server.port)
    for _ in range(count):
        kind, request = malformed_request(dice)
        connection.writer.write(request)
        try:
            status, headers = await connection.head()
            await connection.body(headers)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise AssertionError(f"{kind}: no answer to {request[:300]}") from error
        answers[kind, status] += 1
        assert 400 <= status < 500, (kind, status, request[:2000])
        if headers.get("connection") == "close":
            connection.close()
            connection = await Connection.open(server.port)
    connection.close()


async def malformed(server, count):
    answers = collections.Counter()
    before = server.resident_bytes()
    await asyncio.gather(*(nonsense(server, random.Random(seed), count // 8, answers) for seed in range(8)))
    print(f"malformed: {sum(answers.values())} requests, memory {(server.resident_bytes() - before) / 2**20:+.2f} MiB")
    for (kind, status), times in sorted(answers.items()):
        print(f"  {kind}: {status} {times} times")
    connection = await Connection.open(server.port)
    status, body = await connection.ask("/v1/completions", {"prompt": "and god", "max_tokens": 5, "ignore_eos": True})
    assert status == 200 and json.loads(body)["usage"]["completion_tokens"] == 5, body
    connection.close()


async def drain(server, count):
    started = asyncio.Semaphore(0)

    async def run(number):
        connection = await Connection.open(server.port)
        tokens = 0
        async for event in connection.stream({"prompt": "and god", "max_tokens": 300, "ignore_eos": True, "seed": number,
                                              "mode": MODES[number % len(MODES)], "return_token_ids": True}):
            assert "error" not in event, event
            if tokens == 0:
                started.release()
            tokens += len(event["choices"][0]["token_ids"])
        connection.close()
        return tokens

    running = [asyncio.create_task(run(number)) for number in range(count)]
    for _ in range(count):
        await asyncio.wait_for(started.acquire(), 60)
    unfinished = sum(not task.done() for task in running)
    server.process.send_signal(signal.SIGTERM)
    tokens = await asyncio.gather(*running)
    assert tokens == [300] * count, tokens
    code = await asyncio.to_thread(server.process.wait, 30)
    print(f"drain: {unfinished} of {count} streams ran at SIGTERM; all got their tokens, exit code {code}")
    assert code == 0, code


async def endure(server, arguments):
    await streams(server, arguments.clients, arguments.seconds, arguments.check_times)
    await malformed(server, arguments.malformed)
    await drain(server, 32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photon")
    parser.add_argument("config")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--malformed", type=int, default=10000)
    parser.add_argument("--check-times", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.photon, arguments.config, pathlib.Path(folder))
        try:
            asyncio.run(endure(server, arguments))
        finally:
            server.process.kill()
            server.process.wait()
    print("the server endured it")


main()
