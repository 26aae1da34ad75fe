#!/usr/bin/env python3
"""left_factors.py on listings of a few instructions."""

import contextlib
import io
import pathlib
import tempfile
import unittest
from unittest import mock

import left_factors

HEAD = "\t\tFunction : kernel\n"
PRODUCT = "HGMMA.64x64x16.F32.BF16 R24, R8, gdesc[UR4], R24, gsb0"


def listing(*instructions):
    """As cuobjdump prints it, 16 bytes an instruction."""
    return HEAD + "".join(f"        /*{16 * i:04x}*/   {text} ;   /* 0x00 */\n" for i, text in enumerate(instructions))


class LeftFactors(unittest.TestCase):
    def expect(self, products, wrong, *instructions):
        found, complaints = left_factors.check(listing(*instructions))
        self.assertEqual((found, len(complaints)), (products, wrong), complaints)

    def test_loaded_or_packed_before_each_product_is_well(self):
        self.expect(1, 0, "LDSM.16.M88.4 R8, [R2]", PRODUCT, "EXIT")
        packed = [f"F2FP.BF16.F32.PACK_AB R{r}, R60, R61" for r in range(8, 12)]
        self.expect(2, 0, "LDSM.16.M88.4 R8, [R2]", PRODUCT, *packed, PRODUCT, "@P0 BRA 0x0", "EXIT")

    def test_a_loop_that_packs_what_it_loaded_once_is_found(self):
        packed = [f"F2FP.BF16.F32.PACK_AB R{r}, R60, R61" for r in range(8, 12)]
        self.expect(2, 1, "LDSM.16.M88.4 R8, [R2]", PRODUCT, *packed, PRODUCT, "@!P0 BRA 0x10", "EXIT")

    def test_other_values_are_found_in_any_of_the_registers(self):
        self.expect(1, 1, "LDSM.16.M88.4 R8, [R2]", "VIADD R11, R3, 0x3f", PRODUCT, "EXIT")
        self.expect(1, 1, "LDSM.16.M88.4 R8, [R2]", "@P1 IMAD.WIDE R10, R3, R4, R6", PRODUCT, "EXIT")
        self.expect(1, 1, "LDSM.16.M88.4 R8, [R2]", "SHFL.BFLY P0, R9, R9, 0x1, 0x1f", PRODUCT, "EXIT")
        self.expect(1, 0, "LDSM.16.M88.4 R8, [R2]", "VIADD R12, R3, 0x3f", "STS [R8], R9", PRODUCT, "EXIT")

    def test_a_register_that_nothing_writes_is_found(self):
        self.expect(1, 1, "LDSM.16.M88.2 R8, [R2]", PRODUCT, "EXIT")
        self.expect(1, 0, "S2R R0, SR_TID.X", "@P0 BRA 0x30", "LDSM.16.M88.4 R8, [R2]", PRODUCT, "EXIT")

    def test_the_command_says_how_it_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            for code, text in ((0, listing("LDSM.16.M88.4 R8, [R2]", PRODUCT, "EXIT")), (1, listing("EXIT"))):
                disassembler = pathlib.Path(folder) / "cuobjdump"
                disassembler.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
                disassembler.chmod(0o755)
                with mock.patch.dict("os.environ", {"PATH": f"{folder}:/bin:/usr/bin"}), \
                        contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(left_factors.main(["module.so"]), code)
        said = io.StringIO()
        with mock.patch.dict("os.environ", {"PATH": folder}), contextlib.redirect_stdout(said):
            self.assertEqual(left_factors.main(["module.so"]), 77)
        self.assertRegex(said.getvalue(), "^skipped: ")

    def test_paths_end_where_the_program_does(self):
        self.expect(1, 0, "@P0 BRA 0x30", "VIADD R8, R3, 0x3f", "EXIT", "LDSM.16.M88.4 R8, [R2]", PRODUCT, "EXIT")

    def test_factors_in_shared_memory_are_of_no_concern(self):
        self.expect(0, 0, "HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24, gsb0", "EXIT")


if __name__ == "__main__":
    unittest.main()
