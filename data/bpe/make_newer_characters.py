"""Prints the table of newer_characters.cc: code points whose general category differs between the Unicode version of
PCRE2 10.42 (14.0, which Python 3.11's unicodedata has too) and that of the `tokenizers` package, each with a stand-in:
the nearest code point of the wanted category that both agree on and that has as many bytes in UTF-8.

    pip install tokenizers && python3 make_newer_characters.py
"""
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, ALL))


def newer_categories():
    category = dict.fromkeys(ALL, "Cn")
    for name in CATEGORIES:
        split = pre_tokenizers.Split(Regex(r"\P{%s}+" % name), "removed")
        for run, _ in split.pre_tokenize_str(TEXT):
            for c in run:
                category[ord(c)] = name
    return category


def main():
    assert unicodedata.unidata_version == "14.0.0", "run with the Python of Debian 12"
    new = newer_categories()
    old = {c: unicodedata.category(chr(c)) for c in ALL}
    size = lambda c: len(chr(c).encode())
    agreed = {}
    for c in ALL:
        if old[c] == new[c]:
            agreed.setdefault((new[c], size(c)), []).append(c)
    rows = []
    for c in ALL:
        # PCRE2's \s also takes U+180E, which has not been white space since Unicode 6.3.
        if old[c] == new[c] and c != 0x180E:
            continue
        choice = [a for a in agreed[new[c], size(c)] if a != 0x180E]
        stand_in = min(choice, key=lambda a: abs(a - c))
        if rows and rows[-1][1] == c - 1 and new[c] == rows[-1][3]:
            rows[-1][1] = c
        else:
            rows.append([c, c, stand_in, new[c]])
    for first, last, stand_in, name in rows:
        print("    {0x%04X, 0x%04X, 0x%04X},  // %s" % (first, last, stand_in, name))
    print(len(rows), "rows", file=sys.stderr)


main()
