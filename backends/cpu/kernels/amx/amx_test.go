package amx

import (
	"bytes"
	"testing"

	"github.com/mmcloughlin/avo/reg"
)

// TestEncodings compares with what LLVM's assembler writes.
func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want []uint8
	}{
		{"tdpbf16ps %tmm5, %tmm4, %tmm3", vexBytes(false, false, false, 5, 2, 0x5C, 0xC0|3<<3|4), []uint8{0xC4, 0xE2, 0x52, 0x5C, 0xDC}},
		{"tdpbusd %tmm3, %tmm2, %tmm1", vexBytes(false, false, false, 3, 1, 0x5E, 0xC0|1<<3|2), []uint8{0xC4, 0xE2, 0x61, 0x5E, 0xCA}},
		{"tilezero %tmm5", vexBytes(false, false, false, 0, 3, 0x49, 0xC0|5<<3), []uint8{0xC4, 0xE2, 0x7B, 0x49, 0xE8}},
		{"tilerelease", vexBytes(false, false, false, 0, 0, 0x49, 0xC0), []uint8{0xC4, 0xE2, 0x78, 0x49, 0xC0}},
		{"tileloadd 0x10000000(%rbp,%r14,8), %tmm6, but for the scale", vexBytes(false, true, false, 0, 3, 0x4B, sib(6, reg.RBP, reg.R14, 0x10000000)...), []uint8{0xC4, 0xA2, 0x7B, 0x4B, 0xB4, 0x35, 0, 0, 0, 0x10}},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s is %x, wanted %x", c.name, c.got, c.want)
		}
	}
}
