"""OpenAI's own client against `photon serve`: it must find in the answers what it looks for there.

  python3 tests/peers/check_openai.py PHOTON CONFIG     (the program, and configs/tiny.textproto)

Exit code 1 where something is off, 77 where this Python has
no openai.
"""

import sys

from served_model import served_model

try:
    import openai
except ImportError:
    print(f"skipped: {sys.executable} has no openai; pip install openai", file=sys.stderr)
    sys.exit(77)


def refused(kind, call, **fields):
    try:
        call()
    except kind as error:
        for name, value in fields.items():
            assert getattr(error, name) == value, (name, getattr(error, name), value)
    else:
        raise AssertionError(f"no {kind.__name__}")


def check(url):
    client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
    assert [model.id for model in client.models.list()] == ["run"]
    assert client.models.retrieve("run").owned_by == "photon"
    complete = lambda **fields: client.completions.create(**{"model": "run", "prompt": "and god", "seed": 3, **fields})

    whole = complete(max_tokens=20, n=2, logprobs=3, extra_body={"ignore_eos": True})
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 40
    assert len(whole.choices[0].logprobs.tokens) == 20
    assert all(len(top) >= 3 for top in whole.choices[0].logprobs.top_logprobs)

    for mode in ("hier", "hier-parallel", "rec"):
        fields = dict(max_tokens=20, extra_body={"ignore_eos": True, "mode": mode})
        events = list(complete(stream=True, stream_options={"include_usage": True}, **fields))
        text = "".join(choice.text for event in events for choice in event.choices)
        assert text == complete(**fields).choices[0].text, mode
        assert events[-1].usage.completion_tokens == 20
        assert events[-2].choices[0].finish_reason == "length"

    assert len(complete(prompt=[[1, 2], [3]], max_tokens=2).choices) == 2
    refused(openai.BadRequestError, lambda: complete(max_tokens=0), param="max_tokens")
    refused(openai.BadRequestError, lambda: complete(max_tokens=400), code="context_length_exceeded")
    refused(openai.NotFoundError, lambda: complete(model="gpt"), code="model_not_found")
    refused(openai.AuthenticationError, lambda: openai.OpenAI(base_url=url, api_key="no", max_retries=0).models.list(),
            code="invalid_api_key")


def check_chat(url):
    client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
    assert client.models.retrieve("run").has_chat_template
    conversation = [{"role": "system", "content": "light"},
                    {"role": "user", "content": [{"type": "text", "text": "and god "}, {"type": "text", "text": "said"}]}]
    rendered = ("<|im_start|>system\nlight<|im_end|>\n<|im_start|>user\nand god said<|im_end|>\n"
                "<|im_start|>assistant\n")
    chat = lambda **fields: client.chat.completions.create(
        **{"model": "run", "messages": conversation, "seed": 3, "max_completion_tokens": 20, **fields})

    whole = chat(n=2, logprobs=True, top_logprobs=2, extra_body={"ignore_eos": True})
    assert whole.object == "chat.completion" and whole.id.startswith("chatcmpl-")
    assert [choice.index for choice in whole.choices] == [0, 1]
    choice = whole.choices[0]
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
    assert len(choice.logprobs.content) == 20
    assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    if "\ufffd" not in choice.message.content:  # which stands for bytes that are no text
        spelt = bytes(byte for token in choice.logprobs.content for byte in token.bytes or [])
        assert spelt.decode() == choice.message.content
    text = client.completions.create(model="run", prompt=rendered, seed=3, max_tokens=20, n=2, stop="<|im_end|>",
                                     extra_body={"ignore_eos": True})
    assert [choice.message.content for choice in whole.choices] == [choice.text for choice in text.choices]
    assert whole.usage.total_tokens == text.usage.total_tokens

    for mode in ("hier", "hier-parallel", "rec"):
        fields = dict(extra_body={"ignore_eos": True, "mode": mode})
        events = list(chat(stream=True, stream_options={"include_usage": True}, **fields))
        deltas = [event.choices[0] for event in events[:-1]]
        assert (deltas[0].delta.role, deltas[0].delta.content) == ("assistant", "")
        assert "".join(choice.delta.content or "" for choice in deltas) == chat(**fields).choices[0].message.content
        assert (deltas[-1].delta.content, deltas[-1].finish_reason) == (None, "length")
        assert events[-1].usage.completion_tokens == 20

    # What the client gives back can be sent on; replies fill the context unless told.
    conversation += [whole.choices[0].message, {"role": "user", "content": "x"}]
    assert chat().usage.prompt_tokens > whole.usage.prompt_tokens
    assert chat(max_completion_tokens=None, extra_body={"ignore_eos": True}).usage.total_tokens == 400
    refused(openai.BadRequestError, lambda: chat(messages=[{"role": "tool", "content": "x"}]), param="messages[0].role")
    refused(openai.BadRequestError, lambda: chat(response_format={"type": "json_object"}), param="response_format")
    refused(openai.BadRequestError, lambda: chat(max_completion_tokens=400), code="context_length_exceeded")


with served_model(*sys.argv[1:3]) as url:
    check(url + "/v1")
    check_chat(url + "/v1")
print("the client found all it looked for")
