package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

func vectorGemm() []gemmKernel {
	row := func(name string, l isa.Level, cols int, f format, run ...func(*gemmArgs)) gemmKernel {
		return gemmKernel{kernel: kernel{name, l}, cols: cols, rows: len(run), quad: 4, format: f, run: run}
	}
	return []gemmKernel{
		row("gemm_s8s8s32_6x16c4_neondot", isa.NEONDot, 16, signedFormat, gemmDot1x16, gemmDot2x16, gemmDot3x16, gemmDot4x16, gemmDot5x16, gemmDot6x16),
		row("gemm_s8s8s32_8x8c4_neondot", isa.NEONDot, 8, signedFormat, gemmDot1x8, gemmDot2x8, gemmDot3x8, gemmDot4x8, gemmDot5x8, gemmDot6x8, gemmDot7x8, gemmDot8x8),
		row("gemm_s16s16s32_6x16_neon", isa.NEON, 16, rowsFormat, gemmNEON1x16, gemmNEON2x16, gemmNEON3x16, gemmNEON4x16, gemmNEON5x16, gemmNEON6x16),
		row("gemm_s16s16s32_8x8_neon", isa.NEON, 8, rowsFormat, gemmNEON1x8, gemmNEON2x8, gemmNEON3x8, gemmNEON4x8, gemmNEON5x8, gemmNEON6x8, gemmNEON7x8, gemmNEON8x8),
	}
}

func vectorFinish() [][]finishKernel {
	row := func(name string, vectors, rest func(*finishArgs), size int) []finishKernel {
		return []finishKernel{{kernel{name, isa.NEON}, wholeFinish(vectors, rest, size)}}
	}
	bytes := row("finish_bytes_neon", finishBytesNEON, finishBytesPortable, 1)
	residual := row("finish_residual_neon", finishResidualNEON, finishResidualPortable, 1)
	return [][]finishKernel{
		finishBytes:       bytes,
		finishResidual:    residual,
		finishBytesAny:    bytes,
		finishResidualAny: residual,
		finishFloats:      row("finish_f32_neon", finishFloatsNEON, finishFloatsPortable, 4),
	}
}

func vectorDepthwise() []dwKernel {
	return []dwKernel{
		{kernel: kernel{"dw_u8s8u8_1x16_neondot", isa.NEONDot}, width: 16, group: 4, taken: 128, run: depthwiseDot},
		{kernel: kernel{"dw_u8s8u8_1x16_neon", isa.NEON}, width: 16, group: 1, run: depthwiseNEON},
		{kernel: kernel{"dw_u8s8s32_1x16_neondot", isa.NEONDot}, width: 16, group: 4, taken: 128, sums: true, run: depthwiseSumsDot},
		{kernel: kernel{"dw_u8s8s32_1x16_neon", isa.NEON}, width: 16, group: 1, sums: true, run: depthwiseSumsNEON},
	}
}

func vectorDepthwiseLines() []dwLineKernel { return nil }

func vectorLookup() []lookupKernel {
	return []lookupKernel{{kernel{"neon", isa.NEON}, lookupWholeNEON, 16, nil}}
}

func lookupWholeNEON(dst, src []byte, table *[256]uint8) {
	n := len(src) &^ 15
	lookupNEON(&lookupArgs{y: base(dst), x: base(src), n: n, table: table})
	lookupPortable(dst[n:], src[n:], table)
}

func vectorAdd() [][]pairKernel {
	return [][]pairKernel{{{kernel{"add_bytes_neon", isa.NEON}, wholePairs(addBytesNEON, (*pairArgs).sum)}}}
}

func vectorMultiply() [][]pairKernel {
	return [][]pairKernel{{{kernel{"multiply_bytes_neon", isa.NEON}, wholePairs(multiplyBytesNEON, (*pairArgs).product)}}}
}

func vectorQuantize() []convertKernel {
	return []convertKernel{{kernel{"quantize_neon", isa.NEON}, wholeConvert(quantizeNEON, quantizePortable, 8, 4, 1)}}
}

func vectorDequantize() []convertKernel {
	return []convertKernel{{kernel{"dequantize_neon", isa.NEON}, wholeConvert(dequantizeNEON, dequantizePortable, 8, 1, 4)}}
}

func vectorMax() []windowKernel {
	return []windowKernel{{kernel{"neon", isa.NEON}, wholeWindow(maxNEON, maxPortable, 16, 1)}}
}

func vectorSum() []windowKernel {
	return []windowKernel{{kernel{"neon", isa.NEON}, wholeWindow(sumNEON, sumPortable, 8, 4)}}
}

func vectorSoftmax() []softmaxKernel {
	return []softmaxKernel{{kernel{"neon", isa.NEON}, softmaxNEON}}
}

// softmaxNEON looks exponentials up one by one, which has no vector form that
// pays, and does the rest with the kernels of maxima and of finishing.
func softmaxNEON(p *softmaxArgs) {
	const piece = 64
	var e [piece]int32
	var mult [piece]float32
	flip := uint8(p.flip)
	f := finishArgs{
		sums: base(e[:]), mult: base(mult[:]), rows: 1, zero: p.zero, yFlip: p.yFlip,
		least: uint32(int32(p.lo) + p.zero), most: uint32(int32(p.hi) + p.zero),
	}
	for r := range p.rows {
		x := view[uint8](unsafe.Add(p.x, r*p.k), p.k)
		y := view[uint8](unsafe.Add(p.y, r*p.k), p.k)
		var tops [16]uint8
		fill(tops[:], flip)
		if p.k >= len(tops) {
			maxNEON(&windowArgs{y: base(tops[:]), x: base(x), n: len(tops), ny: p.k / len(tops), nx: 1, yStep: len(tops), flip: p.flip, count: 1})
		}
		top := uint8(0)
		for _, v := range tops {
			top = max(top, v^flip)
		}
		for _, v := range x[p.k&^15:] {
			top = max(top, v^flip)
		}
		var sum int32
		for _, v := range x {
			sum += p.table[top-(v^flip)]
		}
		m := p.factor / float32(sum)
		for i := range mult {
			mult[i] = m
		}
		for at := 0; at < p.k; at += piece {
			n := min(piece, p.k-at)
			for i, v := range x[at : at+n] {
				e[i] = p.table[top-(v^flip)]
			}
			f.y, f.cols = base(y[at:]), n
			finishBytesNEON(&f)
			for i := n &^ 7; i < n; i++ {
				y[at+i] = uint8(requant(float32(float32(e[i])*m), p.lo, p.hi, p.zero)) ^ uint8(p.yFlip)
			}
		}
	}
}

func vectorWiden() []convertKernel {
	return []convertKernel{{kernel{"widen_neon", isa.NEON}, wholeConvert(widenNEON, widenPortable, 16, 1, 2)}}
}

func vectorWinograd() []winogradKernel { return nil }

func vectorNorm() []normKernel { return nil }
