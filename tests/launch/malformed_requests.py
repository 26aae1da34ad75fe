"""Requests to `photon serve` that no server should accept, made of good ones by chance."""

import json

MAX_BODY = 64 << 10  # the server's --max-body-bytes

GOOD = [
    {"prompt": "and god said", "max_tokens": 2, "temperature": 0.5, "seed": 3, "mode": "rec"},
    {"prompt": ["let there", "be light"], "n": 2, "max_tokens": 1, "stop": ["x", "y"], "logprobs": 1},
    {"prompt": [1, 2, 3], "max_tokens": 2, "top_p": 0.9, "top_k": 5, "stream": True, "stream_options": {}},
    {"prompt": "and", "max_tokens": 1, "logit_bias": {"3": -5}, "stop_token_ids": [4], "ignore_eos": True, "user": "é"},
]
# A value that each field refuses, whatever the others are.
WRONG_TYPES = {
    "prompt": [3, True, {}, [], [[]] + [1], [None], ["a", 1], [1, "a"], [-1], [1.5]],
    "max_tokens": ["1", [], {}, 1.5, True], "temperature": ["1", [], True], "top_p": ["1", {}], "top_k": [1.5, "1"],
    "seed": ["1", 1.5, []], "mode": [1, [], {}], "n": ["2", 1.5], "stop": [1, {}, [1], [None]], "logprobs": [True, "1"],
    "stream": [1, "true", []], "logit_bias": [1, [], {"a": 1}, {"1": "x"}], "stop_token_ids": [1, ["a"], [1.5]],
    "ignore_eos": [1, "true"], "user": [1, []], "model": [1, [], "another"], "vote": [1, [], "("], "echo": [1],
    "best_of": ["2", []], "min_p": ["0"], "suffix": ["x"], "guided_json": [{}], "return_token_ids": ["x"],
    "allowed_token_ids": [1, [], ["a"], [1.5]], "bad_words": ["x", [1], {}], "truncate_prompt_tokens": [3, "x"],
}
NEGATIVE = {"max_tokens": -1, "n": -3, "logprobs": -2, "top_k": -7, "temperature": -0.5, "top_p": -0.1, "min_p": -1,
            "best_of": -1, "min_tokens": -4, "stop_token_ids": [-1], "prompt": [-5], "typical_p": -1}
HUGE = {"max_tokens": "9223372036854775807", "n": "1000000000000", "logprobs": "18446744073709551616", "top_k": "1e300",
        "temperature": "1e999", "top_p": "1e308", "best_of": "4294967297", "seed": "9" * 400, "min_tokens": "1" * 25,
        "stop_token_ids": "[4294967296]", "prompt": "[2147483648]", "logit_bias": '{"99999999999": 1}',
        "presence_penalty": "1e18"}


def post(body, content_type="application/json", path="/v1/completions", method="POST"):
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


def with_field(request, name, text):
    """The body, `text` as it is being the value of that field."""
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in request.items() if key != name]
    return ("{" + ", ".join(fields + [f"{json.dumps(name)}: {text}"]) + "}").encode()


def truncated(dice, request):
    body = json.dumps(request).encode()
    return post(body[:dice.randrange(len(body))])


def wrong_type(dice, request):
    name = dice.choice(sorted(WRONG_TYPES))
    return post(with_field(request, name, json.dumps(dice.choice(WRONG_TYPES[name]))))


def bad_utf8(dice, request):
    body = json.dumps(request, ensure_ascii=False).encode()
    at = dice.randrange(len(body) + 1)
    return post(body[:at] + dice.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5", b"\x80"]) + body[at:])


def wrong_content_type(dice, request):
    return post(json.dumps(request).encode(), dice.choice(["", "text/plain", "application/x-www-form-urlencoded", "json",
                                                           "multipart/form-data; boundary=x", "application/jsonl"]))


def unknown_mode(dice, request):
    return post(json.dumps({**request, "mode": "".join(dice.choices("hierpalc-", k=dice.randint(0, 3)))}).encode())


def negative_number(dice, request):
    name = dice.choice(sorted(NEGATIVE))
    return post(json.dumps({**request, name: NEGATIVE[name]}).encode())


def huge_number(dice, request):
    name = dice.choice(sorted(HUGE))
    return post(with_field(request, name, HUGE[name]))


def deep_nesting(dice, request):
    depth = dice.choice([2, 10, 1000, 30000])
    opening, closing = dice.choice([("[", "]"), ('{"a":', "}"), ("[[],", "]")])
    depth = min(depth, (MAX_BODY - 2000) // (len(opening) + 1))
    body = with_field(request, dice.choice(["prompt", "stop", "mode"]), opening * depth + "null" + closing * depth)
    return post(body if dice.random() < 0.5 else body[:len(body) - dice.randint(1, depth)])


def oversized_body(dice, request):
    body = with_field(request, "prompt", json.dumps("x" * dice.randint(MAX_BODY, MAX_BODY + 5000)))
    if dice.random() < 0.5:
        return post(body)
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


def wrong_path_or_method(dice, request):
    body = json.dumps(request).encode()
    path = dice.choice(["/v1/completion", "/v2/completions", "/", "/v1/completions/", "/%00", "/metrics"])
    return post(body, path=path) if dice.random() < 0.5 else post(b"", method=dice.choice(["GET", "PUT", "DELETE"]))


def no_length(dice, request):
    return b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"


KINDS = [truncated, wrong_type, bad_utf8, wrong_content_type, unknown_mode, negative_number, huge_number, deep_nesting,
         oversized_body, wrong_path_or_method, no_length]


def malformed_request(dice):
    """What is wrong with it, and its bytes."""
    kind = dice.choice(KINDS)
    return kind.__name__, kind(dice, dice.choice(GOOD))
