"""The ids of texts by the library `tokenizers`, for byte_level_bpe_peer_test.cc.

    python3 tokenizers_ids.py TOKENIZER_JSON TEXTS IDS

TEXTS holds texts, each an int32 count of bytes and UTF-8; IDS gets, for each, an int32 count and int32 ids, then an
int32 count of bytes and the decoded text.
"""
import struct
import sys

from tokenizers import Tokenizer


def main(tokenizer_json, texts, ids):
    tokenizer = Tokenizer.from_file(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    data = open(texts, "rb").read()
    with open(ids, "wb") as out:
        at = 0
        while at < len(data):
            (size,) = struct.unpack_from("<i", data, at)
            text = data[at + 4 : at + 4 + size].decode()
            at += 4 + size
            found = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(found, skip_special_tokens=True).encode()
            out.write(struct.pack(f"<i{len(found)}ii", len(found), *found, len(decoded)) + decoded)


main(*sys.argv[1:])
