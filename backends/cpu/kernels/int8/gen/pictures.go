package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// copyPictures writes the kernel that puts lines of 64 bytes of several pictures
// side by side, four lines of each at a time.
func copyPictures() {
	a := text("copyPicturesAMX", "pictureArgs", "puts lines of pictures side by side; it advances a.")
	xStep, yStep := load(a, picXStep), load(a, picYStep)
	VPBROADCASTD(field(a, picFlip), reg.Z31)
	for _, count := range []int{4, 1} {
		label := func(s string) string { return fmt.Sprint(s, count) }
		Label(label("next"))
		CMPQ(field(a, picLines), Imm(uint64(count)))
		JLT(LabelRef(label("done")))
		x, y, n := load(a, picX), load(a, picY), load(a, picN)
		far := GP64()
		LEAQ(Mem{Base: yStep, Index: yStep, Scale: 2}, far)
		Label(label("picture"))
		for i := range count {
			VPXORD(at(x, 64*i), reg.Z31, zmms[i])
		}
		for i := range count {
			VMOVDQU32(zmms[i], lines{y, yStep, far}.at(i))
		}
		ADDQ(xStep, x)
		ADDQ(Imm(64), y)
		DECQ(n)
		JNZ(LabelRef(label("picture")))
		ADDQ(I32(64*count), field(a, picX))
		for range count {
			ADDQ(yStep, field(a, picY))
		}
		SUBQ(Imm(uint64(count)), field(a, picLines))
		JMP(LabelRef(label("next")))
		Label(label("done"))
	}
	VZEROUPPER()
	RET()
}
