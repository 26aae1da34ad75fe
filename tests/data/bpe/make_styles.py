"""Prints styles.json: a small byte-level BPE tokenizer, changes that turn it into the styles in use, and for each the
ids and the decoded text that the library `tokenizers` gives for texts.

    pip install tokenizers && python3 make_styles.py TEXT_FILE > styles.json
"""
import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PLAIN_BYTES = {**BYTE_LEVEL, "use_regex": False}


def token(id, content, **flags):
    defaults = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": id, "content": content, **defaults, **flags}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def base(text_file):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train(
        [text_file],
        trainers.BpeTrainer(
            vocab_size=640, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
        ),
    )
    result = json.loads(tokenizer.to_str())
    assert len(result["model"]["vocab"]) == 640
    return result


def styles(base):
    """Name -> JSON merge patch."""
    model = base["model"]
    end = token(640, "<|endoftext|>", special=True)
    found = {
        "gpt2": {
            "added_tokens": [{**end, "normalized": True}],
            "model": {"merges": [" ".join(pair) for pair in model["merges"]]},
        },
        "gpt_neox": {
            "added_tokens": [end] + [token(641 + i, " " * (24 - i), normalized=True) for i in range(23)],
            "normalizer": {"type": "NFC"},
            "post_processor": {**BYTE_LEVEL, "add_prefix_space": True},
        },
        "llama3": {
            "added_tokens": [
                token(640, "<|begin_of_text|>", special=True),
                token(641, "<|end_of_text|>", special=True),
                token(642, "<|eot_id|>", special=True),
            ],
            "pre_tokenizer": sequence(split({"Regex": LLAMA3}), PLAIN_BYTES),
            "post_processor": {
                "type": "Sequence",
                "processors": [
                    PLAIN_BYTES,
                    {
                        "type": "TemplateProcessing",
                        "single": [
                            {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
                            {"Sequence": {"id": "A", "type_id": 0}},
                        ],
                        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                        "special_tokens": {
                            "<|begin_of_text|>": {
                                "id": "<|begin_of_text|>",
                                "ids": [640],
                                "tokens": ["<|begin_of_text|>"],
                            }
                        },
                    },
                ],
            },
            "model": {"ignore_merges": True},
        },
        "qwen2": {
            "added_tokens": [end, token(641, "<|im_start|>", special=True), token(642, "<tool_call>")],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": sequence(split({"Regex": QWEN2}), PLAIN_BYTES),
        },
        "digits": {
            "added_tokens": [end],
            "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, BYTE_LEVEL),
        },
        "digit_runs": {
            "added_tokens": [end],
            "pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, PLAIN_BYTES),
        },
        "prefix_space": {"added_tokens": [end], "pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}},
        "prefix_space_of_pieces": {
            "added_tokens": [end],
            "pre_tokenizer": sequence(split({"String": "a.b*"}), {**BYTE_LEVEL, "add_prefix_space": True}),
        },
        "ignored_merges": {  # pieces that no merge makes
            "added_tokens": [end],
            "model": {"ignore_merges": True, "merges": fewer(model["merges"])},
        },
        "flags": {
            "added_tokens": [
                end,
                token(641, "<left>", lstrip=True),
                token(642, "<right>", rstrip=True),
                token(643, "<both>", lstrip=True, rstrip=True),
                token(644, "word", single_word=True),
                token(645, "Z\u0301", normalized=True),
                token(646, "<left><"),
                token(647, "  "),
            ],
            "normalizer": {"type": "NFC"},
        },
    }
    for behavior in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
        for invert in (False, True):
            name = "split_" + behavior.lower() + ("_inverted" if invert else "")
            found[name] = {"pre_tokenizer": sequence(split({"Regex": r"[\s\p{P}]"}, behavior, invert), PLAIN_BYTES)}
    return found


def fewer(merges):
    """Two thirds of the merges, and of those the ones whose parts are still made."""
    kept, made = [], set()
    for i, (left, right) in enumerate(merges):
        if i % 3 and all(len(part) == 1 or part in made for part in (left, right)):
            kept.append([left, right])
            made.add(left + right)
    return kept


TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    " \n \n  x",
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n",
    "hello world",
    "  two  spaces  ",
    "I'll say it's HE'S, we've, they'D, I'm; don't 's'' 'S",
    "the year 1851 and 007, 3.14159, 12345678",
    "tab\tand\r\nline\r\n\r\n  indented\n\tmore",
    "na\u00efve caf\u00e9, e\u0301 a\u0323\u0302 \u1e69 \uac00 \u1100\u1161",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002\u3000\u5168\u89d2\u3000\uff11\uff12",
    "\u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0645\u0631\u062d\u0628\u0627 \u0661\u0662\u0663",
    "mixed \U0001f600 emoji \U0001f469\u200d\U0001f469\u200d\U0001f467 end",
    "a\u00a0b\u2003c\u2028d\u0085e\u180ef\u200bg\x1ch",
    "\u017f '\u017f \u212a \u0130",
    "\u0897\u1c89 \U00010d40\U00010d41 \U0002ebf0 \U0001fae9 \U00016d70",
    "x<|endoftext|>y <|endoftext|> z<|endoftext|",
    "<|begin_of_text|>a<|eot_id|>\n\nb<|end_of_text|>",
    "<|im_start|>user\nhi<tool_call> {} ",
    "a  <left> b <right>  c \n <both> \t d<left><right>  <left><",
    "word words sword word, (word) word_ \u00e9word word\u200d",
    "if x:\n    return  [ 1,   2 ]        # " + " " * 30 + "end",
    "a.b*c a.b* a\nb*",
    "Z\u0301t\u00e9 \u0179te\u0301",
    "zzzzzzzz" * 12,
    "-" * 70 + "\n" + "=" * 50,
]


def main(text_file):
    result = {"base": base(text_file), "texts": TEXTS, "styles": {}}
    for name, patch in styles(result["base"]).items():
        tokenizer = Tokenizer.from_str(json.dumps(merge(result["base"], patch)))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        decoded = [tokenizer.decode(found) for found in ids]
        result["styles"][name] = {"patch": patch, "ids": ids, "decoded": decoded}
    print(json.dumps(result, separators=(",", ":")).replace('],"', '],\n"'))


def merge(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge(target.get(key), value)
    return target


main(*sys.argv[1:])
