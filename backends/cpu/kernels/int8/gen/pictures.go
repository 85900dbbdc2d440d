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
	for _, lines := range []int{4, 1} {
		label := func(s string) string { return fmt.Sprint(s, lines) }
		Label(label("next"))
		CMPQ(field(a, picLines), Imm(uint64(lines)))
		JLT(LabelRef(label("done")))
		x, y, n := load(a, picX), load(a, picY), load(a, picN)
		far := GP64()
		LEAQ(Mem{Base: yStep, Index: yStep, Scale: 2}, far)
		Label(label("picture"))
		for i := range lines {
			VPXORD(at(x, 64*i), reg.Z31, zmms[i])
		}
		for i := range lines {
			to := Mem{Base: y}
			switch i {
			case 1, 2:
				to.Index, to.Scale = yStep, uint8(i)
			case 3:
				to.Index, to.Scale = far, 1
			}
			VMOVDQU32(zmms[i], to)
		}
		ADDQ(xStep, x)
		ADDQ(Imm(64), y)
		DECQ(n)
		JNZ(LabelRef(label("picture")))
		ADDQ(I32(64*lines), field(a, picX))
		for range lines {
			ADDQ(yStep, field(a, picY))
		}
		SUBQ(Imm(uint64(lines)), field(a, picLines))
		JMP(LabelRef(label("next")))
		Label(label("done"))
	}
	VZEROUPPER()
	RET()
}
