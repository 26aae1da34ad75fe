"""bench/gpu: the page, its verdicts, how lines are run and read. Needs no GPU. PHOTON_BUILD: the tests' programs."""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "gpu"))
sys.dont_write_bytecode = True

import figures
import lines
import page
import run
import tokens


def entry(value, text="text", device="a GPU"):
    return {"value": value, "text": text, "detail": "", "date": "2026-01-02", "commit": "abc", "device": device}


class Page(unittest.TestCase):
    def rows(self, results):
        return {line.split(" | ")[0].strip("| "): line for line in page.render(results).splitlines()
                if line.startswith("| ")}

    def test_nothing_measured_is_pending_with_a_command(self):
        rows = self.rows({})
        for figure in figures.FIGURES:
            self.assertIn("| pending |", rows[figure.what])
            self.assertIn(f"{figure.line}`", rows[figure.what])
        self.assertEqual(page.pending({}), list(figures.FIGURES))

    def test_met_and_missed(self):
        rows = self.rows({"figures": {"memory": entry(50), "decode": entry(0.3, "30 %"), "copy": entry(4000)}})
        self.assertIn("| met, 1.20 |", rows[figures.BY_KEY["memory"].what])
        self.assertIn("| **30 %** | **missed**, 0.50 |", rows[figures.BY_KEY["decode"].what])
        self.assertIn("2026-01-02, abc, A", rows[figures.BY_KEY["copy"].what])
        self.assertNotIn("met", rows[figures.BY_KEY["copy"].what].replace("missed", ""))

    def test_a_figure_that_suffices_instead(self):
        attention = figures.BY_KEY["attention-forward"]
        self.assertFalse(figures.met(attention, {attention.key: 0.5}))
        self.assertFalse(figures.met(attention, {attention.key: 0.5, attention.instead: 0.9}))
        self.assertTrue(figures.met(attention, {attention.key: 0.5, attention.instead: 1.1}))

    def test_failures_and_devices_are_told(self):
        text = page.render({"figures": {"copy": entry(1, device="one"), "product": entry(1, device="other")},
                            "failures": {"decode": {"what": "it ended with 9", "output": "last words", "date": "d",
                                                    "commit": "c", "device": "one"}}})
        for part in ("A: one", "B: other", "`decode` failed", "it ended with 9", "last words"):
            self.assertIn(part, text)

    def test_the_page_in_the_project_is_of_its_results(self):
        folder = ROOT / "docs" / "benchmarks"
        self.assertEqual((folder / "gpu.md").read_text(), page.render(json.loads((folder / "gpu.json").read_text())))


class Lines(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.settings = lines.Settings(device="cpu", work=folder.name)

    def report(self, line, report):
        pathlib.Path(self.settings.report(line)).write_text(json.dumps(report))

    def test_every_figure_has_a_line_and_the_plan_fits(self):
        self.assertEqual({figure.line for figure in figures.FIGURES}, set(lines.BY_NAME))
        self.assertLess(sum(line.planned for line in lines.LINES), 600)
        for figure in figures.FIGURES:
            self.assertTrue(not figure.instead or figure.instead in figures.BY_KEY)
            self.assertTrue(not figure.also or figure.also in lines.BY_NAME)

    def test_what_is_built_is_what_the_lines_start_and_bundles_hold(self):
        script = (ROOT / "launch" / "bundle.sh").read_text()
        packed = set()
        for words in re.findall(r"(?:tests|bench)/\{.*?\}(?:_test)?", script):
            folder, names, suffix = re.fullmatch(r"(\w+)/\{(.*)\}(\w*)", words).groups()
            packed |= {f"{folder}/{name}{suffix}" for name in names.split(",")}
        self.assertEqual(packed, {f"tests/{t}" for t in lines.TEST_PROGRAMS} | {f"bench/{b}" for b in lines.BENCHES})
        self.assertEqual(set(run.TARGETS), {"photon", *lines.TEST_PROGRAMS, *(f"bench_{b}" for b in lines.BENCHES)})
        started = {lines.program_of(command) for line in lines.LINES for command in line.commands(self.settings)}
        ours = {program for program in started if program.startswith("build/")}
        self.assertEqual(ours, {f"build/{program}" for program in packed | {"photon"}})

    def test_filters_name_tests_that_there_are(self):
        filters = [(program, part) for (*_, program), tests in lines.TESTS
                   for part in (tests.partition(":-")[0] if tests[0] != "-" else tests).split(":")]
        for program, tests in filters + [("core_test", part) for part in lines.SANITIZED.split(":")]:
            listed = subprocess.run([f"{os.environ['PHOTON_BUILD']}/tests/{program}", "--gtest_list_tests",
                                     f"--gtest_filter={tests}"], check=True, capture_output=True, text=True).stdout
            self.assertRegex(listed, r"(?m)^  \w", f"{program}: {tests}")

    def test_a_program_without_its_tests_is_no_success(self):
        with self.assertRaises(ValueError):
            lines.read_tests(self.settings, "[  PASSED  ] 12 tests.\n[==========] 0 tests from 0 test suites ran.", {})

    def test_errors_and_races_are_read(self):
        output = "ERROR SUMMARY: 2 errors\n[  PASSED  ] 3 tests.\n" \
                 "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n"
        self.assertEqual(lines.read_sanitizer(self.settings, output, {})["sanitizer"].text,
                         "2 errors of memory, 1 races")
        with self.assertRaises(ValueError):
            lines.read_sanitizer(self.settings, "ERROR SUMMARY: 0 errors", {})

    def test_generation_is_judged_by_what_memory_allows(self):
        def write(model, mode, tpm):
            runs = [{"weight_bytes_read": 9, "cache_bytes_read": 9, "read_bytes_per_s": 1, "seconds": 1, "tpm": 1,
                     "batch": 1, "tokens_per_s": 1.0},
                    {"weight_bytes_read": 100, "cache_bytes_read": 200, "read_bytes_per_s": 10.0, "seconds": 60, "tpm": tpm,
                     "batch": 8, "tokens_per_s": 5.0}]
            result = {"model": model, "mode": mode, "runs": runs, "bytes_per_sequence": 2**30}
            pathlib.Path(lines.heavy_report(self.settings, model)).write_text(json.dumps({"results": [result]}))
        write("vanilla-600m", "hier", 20.0)
        write("photon-600m", "rec", 30000.0)
        found = lines.read_heavy(self.settings)
        self.assertAlmostEqual(found["heavy-vanilla"].value, 0.5)
        self.assertEqual((found["heavy-rec"].value, found["heavy-ratio"].value), (30000, 1500))
        self.report("decode", {"results": [{"share_of_weights": 0.5, "share_of_read": 0.75, "tokens_per_s": 100.0}]})
        self.assertEqual(lines.read_decode(self.settings)["decode"].value, 0.5)

    def test_tests_are_counted(self):
        output = ("[  PASSED  ] 12 tests.\n[  SKIPPED ] 1 test.\n[  PASSED  ] 3 tests.\n"
                  "[  FAILED  ] A.B (3 ms)\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.B\n")
        value = lines.read_tests(self.settings, output, {})["tests"]
        self.assertEqual((value.value, value.text, value.detail), (1, "15 passed, 1 failed, 1 skipped", "A.B"))
        with self.assertRaises(ValueError):
            lines.read_tests(self.settings, "cannot start", {})

    def test_training_leaves_out_the_warm_up(self):
        folder = pathlib.Path(self.settings.work) / "vanilla"
        folder.mkdir()
        slow = {"tokens": 100, "tokens_per_s": 1, "step_s": 100, "mfu": 0.001}
        fast = {"tokens": 100, "tokens_per_s": 50, "step_s": 2, "mfu": 0.5}
        steps = [slow] * lines.WARM_UP_STEPS + [fast] * (lines.TRAINING_STEPS - lines.WARM_UP_STEPS)
        text = "".join(json.dumps(step) + "\n" for step in steps)
        (folder / "metrics.jsonl").write_text(text + '{"torn')
        self.assertTrue(lines.BY_NAME["training-vanilla"].done(self.settings))
        self.report("training-photon", {"tokens_per_s": 100})
        found = lines.read_training("vanilla")(self.settings, "matrix peak 800000 GFLOP/s", {
            "product": lines.Value(800, "")})
        self.assertAlmostEqual(found["mfu-vanilla"].value, 400e12 / figures.PEAK_FLOPS)
        self.assertEqual(found["mfu-vanilla"].detail, "50 tokens/s, 400 TFLOP/s, 50.0 % of the product")
        self.assertAlmostEqual(found["photon-over-vanilla"].value, 2)
        (folder / "metrics.jsonl").write_text(text[:len(text) // 2])
        self.assertFalse(lines.BY_NAME["training-vanilla"].done(self.settings))
        found = lines.read_training("vanilla")(self.settings, "matrix peak 800000 GFLOP/s", {})
        self.assertAlmostEqual(found["mfu-vanilla"].value, 400e12 / figures.PEAK_FLOPS)
        self.assertRegex(found["mfu-vanilla"].detail, r"steps of 200 in the time there was$")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps[:lines.FEWEST_STEPS - 1]))
        with self.assertRaises(ValueError):
            lines.read_training("vanilla")(self.settings, "", {})

    def test_the_slowest_kernel_of_the_large_ones(self):
        def result(name, share, megabytes):
            return {"name": name, "share_of_copy": share, "us": 1000.0, "gb_per_s": float(megabytes)}
        self.report("rows", {"results": [result("good", 0.95, 100), result("slow", 0.7, 64), result("slower", 0.6, 64),
                                         result("small", 0.1, 1)]})
        value = lines.BY_NAME["rows"].read(self.settings, "", {})["row-kernels"]
        self.assertEqual((value.value, value.detail), (0.6, "slower; 1 of 3 reach it; next: slow 70.0 %"))

    def test_from_which_length_on_warpgroups_are_faster(self):
        def write(kernels, forward, backward):
            results = [{"name": f"1 x {length} positions, heads 1/1 x 64 {which}", "us": us}
                       for which, times in (("forward", forward), ("backward", backward))
                       for length, us in zip((128, 512, 2048), times)]
            pathlib.Path(lines.kernels_report(self.settings, kernels)).write_text(json.dumps({"results": results}))
        write("warpgroups", (30, 40, 50), (10, 20, 99))
        write("mma", (20, 40, 100), (20, 30, 90))
        found = lines.read_attention_kernels(self.settings)
        self.assertEqual(found["attention-kernels-forward"].text, "512 positions")
        self.assertEqual(found["attention-kernels-forward"].detail, "128: 0.67 x, 512: 1.00 x, 2,048: 2.00 x")
        self.assertEqual(found["attention-kernels-backward"].text, "never")

    def test_narrow_heads_are_compared(self):
        self.report("attention", {"results": [
            {"name": f"4 x 8192 positions, heads 16/16 x {d} {which}", "us": us, "share_of_product": 0.5, "tflops": 400.0}
            for d, us in ((64, 100), (60, 101), (52, 130)) for which in ("forward", "backward")]})
        found = lines.read_attention(self.settings)["attention-narrow"]
        self.assertEqual((found.value, found.detail), (1.3, "60 forward: 1.01, 52 forward: 1.30, 60 backward: 1.01, "
                                                       "52 backward: 1.30"))

    def test_attention_against_the_fastest_of_pytorch(self):
        def results(*rows):
            return {"results": [{"name": name, "us": us, "share_of_product": 0.5, "tflops": 400.0} for name, us in rows]}
        self.report("attention", results(("x forward", 100), ("x backward", 200)))
        torch = results(("F: x forward", 120), ("C: x forward", 90), ("F: x backward", 300))
        torch["results"].append({"name": "C: x", "refused": "no"})
        self.report("attention-torch", torch)
        found = lines.read_attention_torch(self.settings)
        self.assertAlmostEqual(found["attention-forward-torch"].value, 0.9)
        self.assertEqual(found["attention-forward-torch"].detail, "C")
        self.assertAlmostEqual(found["attention-backward-torch"].value, 1.5)

    def test_tokens_fill_sequences(self):
        prefix = f"{self.settings.work}/tokens"
        tokens.write(prefix, sequences=3, length=8, vocabulary=100)
        ids = struct.unpack("<24H", pathlib.Path(prefix + ".bin").read_bytes())
        self.assertLess(max(ids), 100)
        index = pathlib.Path(prefix + ".idx").read_bytes()
        self.assertEqual(struct.unpack_from("<9sQBQQ3i3q4q", index),
                         (b"MMIDIDX\0\0", 1, 8, 3, 4, 8, 8, 8, 0, 16, 32, 0, 1, 2, 3))


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.settings = lines.Settings(device="cpu", work=folder.name)

    def line(self, script, **more):
        read = more.pop("read", lambda s, output, values: {"copy": lines.Value(len(output.splitlines()), "")})
        return lines.Line("copy", lambda s: [["bash", "-c", script]], read, 1, 1, **more)

    def run_line(self, line, seconds=20):
        return run.run_line(line, self.settings, dict(os.environ), seconds, {})

    def test_output_is_read(self):
        self.assertEqual(self.run_line(self.line("echo one; echo two"))["copy"].value, 3)  # the command's line too

    def test_a_failure_keeps_the_last_words(self):
        with self.assertRaises(run.Failed) as caught:
            self.run_line(self.line("seq 100; exit 3"))
        self.assertIn("bash ended with 3", caught.exception.what)
        self.assertEqual(caught.exception.output.splitlines()[-1], "100")
        self.assertEqual(len(caught.exception.output.splitlines()), run.TAIL)

    def test_what_gives_no_figures_failed(self):
        def read(s, output, values):
            raise KeyError("share")
        with self.assertRaisesRegex(run.Failed, "no figures.*share"):
            self.run_line(self.line("true", read=read))
        with self.assertRaisesRegex(run.Failed, "No such file"):
            self.run_line(lines.Line("copy", lambda s: [["/no/such"]], lambda *_: {}, 1, 1))

    def test_time_is_bounded_and_children_end_too(self):
        with self.assertRaisesRegex(run.Failed, "stopped after"):
            self.run_line(self.line("sleep 600 & echo $!; wait"), seconds=0.5)

    def test_what_was_done_in_time_counts_where_parts_do(self):
        stuck = self.line("echo one; sleep 600", partial=True)
        self.assertEqual(self.run_line(stuck, seconds=0.5)["copy"].value, 2)

    def test_what_is_done_is_ended(self):
        marker = pathlib.Path(self.settings.work) / "marker"
        line = self.line(f"touch {marker}; sleep 600", done=lambda s: marker.exists())
        self.assertIn("copy", self.run_line(line))

    def test_without_a_driver_it_refuses(self):
        with mock.patch("ctypes.CDLL", side_effect=OSError("not there")), self.assertRaises(SystemExit) as ended:
            run.check_driver()
        self.assertEqual(ended.exception.code, 4)

    def test_a_cpu_measures_no_figures(self):
        said = subprocess.run([ROOT / "bench" / "gpu.sh", "--device", "cpu"], capture_output=True, text=True)
        self.assertEqual(said.returncode, 2)
        self.assertIn("--smoke", said.stderr)


if __name__ == "__main__":
    unittest.main()
