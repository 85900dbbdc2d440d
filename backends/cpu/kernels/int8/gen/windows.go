package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// windowTaps goes through the taps of a window that begins at x.
func windowTaps(a reg.Register, x, xStep, yStep reg.GPVirtual, tap func(x reg.GPVirtual)) {
	line, ny := GP64(), load(a, winNY)
	MOVQ(x, line)
	Label("line")
	p, nx := GP64(), load(a, winNX)
	MOVQ(line, p)
	Label("tap")
	tap(p)
	ADDQ(xStep, p)
	DECQ(nx)
	JNZ(LabelRef("tap"))
	ADDQ(yStep, line)
	DECQ(ny)
	JNZ(LabelRef("line"))
}

// nextPixel goes to the next of a window kernel's pixels.
func nextPixel(a, x, y reg.Register) {
	ADDQ(field(a, winXMove), x)
	ADDQ(field(a, winYMove), y)
	DECQ(field(a, winCount))
	JNZ(LabelRef("pixel"))
}
