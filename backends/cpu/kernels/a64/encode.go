// Package a64 encodes the vector instructions of arm64 for the generators of
// assembly: Go's assembler lacks many of them (SDOT, SCVTF, SQXTUN and more), so
// all are written as words, with their GNU syntax in a comment. It is used when
// assembly is generated, never by the engine, and imports the standard library.
package a64

import "fmt"

// Inst is an encoded instruction.
type Inst struct {
	Code uint32
	Text string // GNU syntax
}

// V is a vector register, 0 to 31.
type V uint32

// X is a general register, 0 to 30.
type X uint32

// Arr is how a vector register is split into lanes.
type Arr struct {
	q, size uint32
	name    string
}

// The arrangements: lanes and the letter of their size.
var (
	B8  = Arr{0, 0, "8b"}
	B16 = Arr{1, 0, "16b"}
	H4  = Arr{0, 1, "4h"}
	H8  = Arr{1, 1, "8h"}
	S2  = Arr{0, 2, "2s"}
	S4  = Arr{1, 2, "4s"}
	D2  = Arr{1, 3, "2d"}
)

// wide is the arrangement of lanes twice the size, filling a register.
func (a Arr) wide() Arr { return [...]Arr{H8, S4, D2}[a.size] }

func (v V) as(a Arr) string { return fmt.Sprintf("v%d.%s", v, a.name) }

// shape is an encoding class: bits and, for operations on floats, the value of
// the size field (which otherwise is that of the lanes).
type shape struct {
	bits uint32
	size int
}

const bySize = -1

var three = map[string]shape{
	"add":   {0x0e208400, bySize},
	"sub":   {0x2e208400, bySize},
	"mul":   {0x0e209c00, bySize},
	"mla":   {0x0e209400, bySize},
	"sqadd": {0x0e200c00, bySize},
	"smax":  {0x0e206400, bySize},
	"smin":  {0x0e206c00, bySize},
	"umax":  {0x2e206400, bySize},
	"umin":  {0x2e206c00, bySize},
	"and":   {0x0e201c00, 0},
	"bic":   {0x0e201c00, 1},
	"orr":   {0x0e201c00, 2},
	"eor":   {0x2e201c00, 0},
	"bsl":   {0x2e201c00, 1},
	"bit":   {0x2e201c00, 2},
	"bif":   {0x2e201c00, 3},
	"fadd":  {0x0e20d400, 0},
	"fsub":  {0x0e20d400, 2},
	"fmul":  {0x2e20dc00, 0},
	"fdiv":  {0x2e20fc00, 0},
	"fmla":  {0x0e20cc00, 0},
	"fmls":  {0x0e20cc00, 2},
	"fmax":  {0x0e20f400, 0},
	"fmin":  {0x0e20f400, 2},
	"fcmeq": {0x0e20e400, 0},
	"fcmge": {0x2e20e400, 0},
	"fcmgt": {0x2e20e400, 2},
	"zip1":  {0x0e003800, bySize},
	"zip2":  {0x0e007800, bySize},
	"trn1":  {0x0e002800, bySize},
	"trn2":  {0x0e006800, bySize},
	"uzp1":  {0x0e001800, bySize},
	"uzp2":  {0x0e005800, bySize},
}

// Three is an operation on two vectors: op d, n, m.
func Three(op string, a Arr, d, n, m V) Inst {
	s := find(three, op)
	size := a.size
	if s.size != bySize {
		size = uint32(s.size)
	}
	return Inst{
		s.bits | a.q<<30 | size<<22 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s %s, %s, %s", op, d.as(a), n.as(a), m.as(a)),
	}
}

// Mov copies a register.
func Mov(d, n V) Inst { return Three("orr", B16, d, n, n) }

var two = map[string]shape{
	"scvtf":  {0x0e21d800, 0},
	"fcvtns": {0x0e21a800, 0},
	"fcvtzs": {0x0ea1b800, 0},
	"frintn": {0x0e218800, 0},
	"fneg":   {0x2ea0f800, 0},
	"fabs":   {0x0ea0f800, 0},
	"fsqrt":  {0x2ea1f800, 0},
	"frintm": {0x0e219800, 0},
	"frintp": {0x0ea18800, 0},
}

// Two is an operation on one vector of float32 or int32: op d, n.
func Two(op string, a Arr, d, n V) Inst {
	s := find(two, op)
	return Inst{s.bits | a.q<<30 | uint32(n)<<5 | uint32(d), fmt.Sprintf("%s %s, %s", op, d.as(a), n.as(a))}
}

var across = map[string]uint32{"fminv": 0x6eb0f800, "fmaxv": 0x6e30f800, "umaxv": 0x6eb0a800}

// Across folds the four 32-bit lanes of n into the first of d.
func Across(op string, d, n V) Inst {
	return Inst{find(across, op) | uint32(n)<<5 | uint32(d), fmt.Sprintf("%s s%d, %s", op, d, n.as(S4))}
}

var long = map[string]uint32{"smull": 0x0e20c000, "smlal": 0x0e208000, "umull": 0x2e20c000, "umlal": 0x2e208000}

// Long multiplies the lanes of n and m, of which a fills the lower half of a
// register or, for an arrangement of 16 bytes, the upper one: op d, n, m.
func Long(op string, a Arr, d, n, m V) Inst {
	return Inst{
		find(long, op) | a.q<<30 | a.size<<22 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s%s %s, %s, %s", op, half(a), d.as(a.wide()), n.as(a), m.as(a)),
	}
}

var addWide = map[string]uint32{"saddw": 0x0e201000, "uaddw": 0x2e201000, "usubw": 0x2e203000}

// AddWide adds the lanes of m, or its upper half, to the wider ones of n: op d, n, m.
func AddWide(op string, a Arr, d, n, m V) Inst {
	return Inst{
		find(addWide, op) | a.q<<30 | a.size<<22 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s%s %s, %s, %s", op, half(a), d.as(a.wide()), n.as(a.wide()), m.as(a)),
	}
}

var extend = map[string]uint32{"sshll": 0x0f00a400, "ushll": 0x2f00a400}

// Extend widens the lanes of n, or of its upper half: op d, n, #0.
func Extend(op string, a Arr, d, n V) Inst {
	return Inst{
		find(extend, op) | a.q<<30 | 1<<(19+a.size) | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s%s %s, %s, #0", op, half(a), d.as(a.wide()), n.as(a)),
	}
}

var narrow = map[string]uint32{"xtn": 0x0e212800, "sqxtn": 0x0e214800, "sqxtun": 0x2e212800}

// Narrow halves the size of lanes, to those of a: op d, n.
func Narrow(op string, a Arr, d, n V) Inst {
	return Inst{
		find(narrow, op) | a.q<<30 | a.size<<22 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s%s %s, %s", op, half(a), d.as(a), n.as(a.wide())),
	}
}

// half is the suffix of operations on the upper half of a register.
func half(a Arr) string {
	if a.q == 1 {
		return "2"
	}
	return ""
}

var shifts = map[string]uint32{"shl": 0x0f005400, "sshr": 0x0f000400, "ushr": 0x2f000400}

// Shift shifts 32-bit lanes by a constant: op d, n, #by.
func Shift(op string, d, n V, by uint32) Inst {
	imm := 32 + by
	if op != "shl" {
		imm = 64 - by
	}
	return Inst{
		find(shifts, op) | 1<<30 | imm<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s %s, %s, #%d", op, d.as(S4), n.as(S4), by),
	}
}

// Dot adds to each 32-bit lane of d four products of signed bytes.
func Dot(d, n, m V) Inst {
	return Inst{0x4e809400 | uint32(m)<<16 | uint32(n)<<5 | uint32(d), fmt.Sprintf("sdot %s, %s, %s", d.as(S4), n.as(B16), m.as(B16))}
}

// DotLane is Dot with four bytes of m for all lanes.
func DotLane(d, n, m V, lane uint32) Inst {
	return Inst{
		0x4f80e000 | lane&1<<21 | uint32(m)<<16 | lane>>1<<11 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("sdot %s, %s, v%d.4b[%d]", d.as(S4), n.as(B16), m, lane),
	}
}

// LongLane is smlal with the 16-bit lanes of n, H4, or of its upper half, H8,
// and one lane of m, a register below 16.
func LongLane(a Arr, d, n, m V, lane uint32) Inst {
	if m > 15 {
		panic("BUG: 16-bit lanes are those of registers 0 to 15")
	}
	return Inst{
		0x0f402000 | a.q<<30 | lane&1<<20 | lane>>1&1<<21 | lane>>2<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("smlal%s %s, %s, v%d.h[%d]", half(a), d.as(S4), n.as(a), m, lane),
	}
}

// FmaLane adds products of the float32 lanes of n and one lane of m.
func FmaLane(d, n, m V, lane uint32) Inst {
	return Inst{
		0x4f801000 | lane&1<<21 | lane>>1<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("fmla %s, %s, v%d.s[%d]", d.as(S4), n.as(S4), m, lane),
	}
}

// MulLane gives the products of the float32 lanes of n and one lane of m.
func MulLane(d, n, m V, lane uint32) Inst {
	return Inst{
		0x4f809000 | lane&1<<21 | lane>>1<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("fmul %s, %s, v%d.s[%d]", d.as(S4), n.as(S4), m, lane),
	}
}

// Table looks bytes of m up in regs registers from n on: tbl gives 0 where they
// lie outside, tbx leaves d as it is.
func Table(op string, d, n V, regs uint32, m V) Inst {
	bit := map[string]uint32{"tbl": 0, "tbx": 1}[op]
	list := n.as(B16)
	for i := V(1); i < V(regs); i++ {
		list += ", " + (n + i).as(B16)
	}
	return Inst{
		0x4e000000 | (regs-1)<<13 | bit<<12 | uint32(m)<<16 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("%s %s, {%s}, %s", op, d.as(B16), list, m.as(B16)),
	}
}

// Dup fills d with lane of n.
func Dup(a Arr, d, n V, lane uint32) Inst {
	letter := "bhsd"[a.size]
	return Inst{
		0x0e000400 | a.q<<30 | (lane<<1|1)<<(16+a.size) | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("dup %s, v%d.%c[%d]", d.as(a), n, letter, lane),
	}
}

// DupX fills d with the low bits of a general register.
func DupX(a Arr, d V, n X) Inst {
	return Inst{0x0e000c00 | a.q<<30 | 1<<(16+a.size) | uint32(n)<<5 | uint32(d), fmt.Sprintf("dup %s, w%d", d.as(a), n)}
}

// Movi fills d with a byte.
func Movi(d V, b uint32) Inst {
	return Inst{0x4f00e400 | b>>5<<16 | b&31<<5 | uint32(d), fmt.Sprintf("movi %s, #0x%x", d.as(B16), b)}
}

// Size is that of what a load or store moves.
type Size struct {
	letter string
	bytes  uint32
	offset uint32 // load with an unsigned offset
	post   uint32 // load that moves the address on
	index  uint32 // load at the sum of two registers
}

// The sizes: 16, 8 and 4 bytes and one.
var (
	Q = Size{"q", 16, 0x3dc00000, 0x3cc00400, 0x3ce06800}
	D = Size{"d", 8, 0xfd400000, 0xfc400400, 0xfc606800}
	S = Size{"s", 4, 0xbd400000, 0xbc400400, 0xbc606800}
	B = Size{"b", 1, 0x3d400000, 0x3c400400, 0x3c606800}
)

const store = 1 << 22 // cleared in stores

// Load reads memory at base plus a multiple of the size.
func Load(s Size, d V, base X, offset uint32) Inst {
	return Inst{s.offset | s.scaled(offset)<<10 | uint32(base)<<5 | uint32(d), fmt.Sprintf("ldr %s%d, [x%d, #%d]", s.letter, d, base, offset)}
}

// Store writes memory at base plus a multiple of the size.
func Store(s Size, d V, base X, offset uint32) Inst {
	return Inst{s.offset&^store | s.scaled(offset)<<10 | uint32(base)<<5 | uint32(d), fmt.Sprintf("str %s%d, [x%d, #%d]", s.letter, d, base, offset)}
}

func (s Size) scaled(offset uint32) uint32 {
	if offset%s.bytes != 0 || offset/s.bytes > 4095 {
		panic(fmt.Sprintf("BUG: offset %d of %d bytes", offset, s.bytes))
	}
	return offset / s.bytes
}

// LoadPost reads memory at base, which then moves on by step, −256 to 255.
func LoadPost(s Size, d V, base X, step int) Inst {
	return Inst{s.post | uint32(step)&0x1ff<<12 | uint32(base)<<5 | uint32(d), fmt.Sprintf("ldr %s%d, [x%d], #%d", s.letter, d, base, step)}
}

// StorePost writes memory at base, which then moves on by step, −256 to 255.
func StorePost(s Size, d V, base X, step int) Inst {
	return Inst{s.post&^store | uint32(step)&0x1ff<<12 | uint32(base)<<5 | uint32(d), fmt.Sprintf("str %s%d, [x%d], #%d", s.letter, d, base, step)}
}

// LoadAt reads memory at base plus index.
func LoadAt(s Size, d V, base, index X) Inst {
	return Inst{s.index | uint32(index)<<16 | uint32(base)<<5 | uint32(d), fmt.Sprintf("ldr %s%d, [x%d, x%d]", s.letter, d, base, index)}
}

// StoreAt writes memory at base plus index.
func StoreAt(s Size, d V, base, index X) Inst {
	return Inst{s.index&^store | uint32(index)<<16 | uint32(base)<<5 | uint32(d), fmt.Sprintf("str %s%d, [x%d, x%d]", s.letter, d, base, index)}
}

// LoadDup fills d with the value at base.
func LoadDup(a Arr, d V, base X) Inst {
	return Inst{0x0d40c000 | a.q<<30 | a.size<<10 | uint32(base)<<5 | uint32(d), fmt.Sprintf("ld1r {%s}, [x%d]", d.as(a), base)}
}

// LoadDupPost is LoadDup that then moves base on by a register.
func LoadDupPost(a Arr, d V, base, step X) Inst {
	return Inst{
		0x0dc0c000 | a.q<<30 | a.size<<10 | uint32(step)<<16 | uint32(base)<<5 | uint32(d),
		fmt.Sprintf("ld1r {%s}, [x%d], x%d", d.as(a), base, step),
	}
}

// LoadLane reads one float32 into a lane of d and leaves the others.
func LoadLane(d V, lane uint32, base X) Inst {
	return Inst{
		0x0d408000 | lane>>1<<30 | lane&1<<12 | uint32(base)<<5 | uint32(d),
		fmt.Sprintf("ld1 {v%d.s}[%d], [x%d]", d, lane, base),
	}
}

// Store3Post writes the lanes of three registers from d on in turn, and moves
// base on behind them.
func Store3Post(a Arr, d V, base X) Inst {
	return Inst{
		0x0c9f4000 | a.q<<30 | a.size<<10 | uint32(base)<<5 | uint32(d),
		fmt.Sprintf("st3 {%s, %s, %s}, [x%d], #%d", d.as(a), (d + 1).as(a), (d + 2).as(a), base, 24<<a.q),
	}
}

// StoreLane writes one float32 lane of d.
func StoreLane(d V, lane uint32, base X) Inst {
	return Inst{
		0x0d008000 | lane>>1<<30 | lane&1<<12 | uint32(base)<<5 | uint32(d),
		fmt.Sprintf("st1 {v%d.s}[%d], [x%d]", d, lane, base),
	}
}

func find[T any](m map[string]T, op string) T {
	t, ok := m[op]
	if !ok {
		panic("BUG: no encoding of " + op)
	}
	return t
}
