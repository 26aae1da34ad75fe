"""Prints what a ctest run did, from its JUnit file: each skipped test with its reason, failed tests, and the counts.

The last line reads "N passed, N failed, N skipped". Exits with 1 where a test failed or none ran.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree


def skip_reason(output):
    """What GTEST_SKIP() << ... said: the lines between its location and the verdict. A script says `skipped: ...`."""
    match = re.search(r": Skipped\n(.*?)\n?\[  SKIPPED \]", output, re.DOTALL)
    match = match or re.search(r"^skipped: (.*)$", output, re.MULTILINE)
    return " ".join(match.group(1).split()) if match and match.group(1).strip() else "no reason given"


def main(path):
    passed, failed, skipped = [], [], []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("name")
        if case.find("skipped") is not None:
            message = case.find("skipped").get("message") or ""
            if message == "SKIP_REGULAR_EXPRESSION_MATCHED":
                skipped.append((name, skip_reason(case.findtext("system-out") or "")))
            else:  # ctest could not start it: no test program, a missing folder
                failed.append(f"{name} (not run: {message})")
        elif case.get("status") == "run" and case.find("failure") is None:
            passed.append(name)
        elif case.get("status") == "disabled":
            skipped.append((name, "disabled"))
        else:
            failed.append(name)
    print()
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    for name in failed:
        print(f"FAILED: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
