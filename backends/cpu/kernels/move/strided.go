package move

import (
	"fmt"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// StridedSpec is a copy between two layouts: axis d has Dims[d] indices, each
// Src[d] bytes apart in X (0 repeats, negative walks down) and Dst[d] in Y. The
// first element lies SrcAt and DstAt bytes from the beginnings. Elem is the
// size of an element in bytes. Y may not be X.
type StridedSpec struct {
	Elem           int
	Dims, Src, Dst []int
	SrcAt, DstAt   int
}

type strided struct {
	name       string
	elem       int
	dims       []int
	src, dst   []int
	srcAt      int // bytes before the first element
	dstAt      int
	kind       moveKind
	tiles      int
	block      int // indices of the turned axis in a unit
	blocks     int // units of the turned axis
	planes     planes
	tiles8     turn
	turned     int // the axis that is contiguous in the operand
	outer      []int
	rows       int
	rowsATile  int
	innerBytes int
}

type moveKind uint8

const (
	moveRows    moveKind = iota // the last axis is contiguous on both sides
	moveTurn                    // two axes change places
	moveStrided                 // anything else
)

// turnBlock and planeBlock are how many indices of the transposed axis one unit takes;
// planeBlock where three planes are brought together by interleave3.
const (
	turnBlock  = 32
	planeBlock = 4096
	// vectorBlock is such a block where a vector kernel transposes it.
	vectorBlock = 64
)

// Strided prepares a copy; axes that can be joined are.
func Strided(s StridedSpec, l isa.Level) (Kernel, error) {
	if s.Elem < 1 || len(s.Src) != len(s.Dims) || len(s.Dst) != len(s.Dims) {
		return nil, fmt.Errorf("kernel copy: %d axes with %d and %d strides of %d-byte elements", len(s.Dims), len(s.Src), len(s.Dst), s.Elem)
	}
	elem, src, dst := s.Elem, s.Src, s.Dst
	m := &strided{elem: elem, srcAt: s.SrcAt, dstAt: s.DstAt}
	for d, n := range s.Dims {
		if n < 1 {
			return nil, fmt.Errorf("kernel copy: extents %v", s.Dims)
		}
		if n == 1 {
			continue
		}
		if k := len(m.dims) - 1; k >= 0 && m.src[k] == src[d]*n && m.dst[k] == dst[d]*n {
			m.dims[k] *= n
			m.src[k], m.dst[k] = src[d], dst[d]
			continue
		}
		m.dims, m.src, m.dst = append(m.dims, n), append(m.src, src[d]), append(m.dst, dst[d])
	}
	r := len(m.dims)
	if r == 0 || m.src[r-1] != elem || m.dst[r-1] != elem {
		m.dims, m.src, m.dst = append(m.dims, 1), append(m.src, elem), append(m.dst, elem)
		r++
	}
	m.turned = -1
	if m.dims[r-1] == 1 && r > 1 { // the axis just added: try to do without
		r--
		for j := r - 1; j >= 0; j-- {
			if m.src[j] == elem && j != r-1 && m.dst[r-1] == elem && m.src[r-1] >= 0 {
				m.turned = j
			}
		}
		m.dims, m.src, m.dst = m.dims[:r], m.src[:r], m.dst[:r]
		m.kind = moveStrided
		if m.turned >= 0 {
			m.kind = moveTurn
		}
	}
	switch m.kind {
	case moveTurn:
		m.name = fmt.Sprintf("transpose_x%d", 8*elem)
		m.block = turnBlock
		if m.dims[r-1] == 3 && m.dst[m.turned] == 3*elem {
			if m.planes = interleave3(elem, l); m.planes != nil {
				m.block, m.name = planeBlock, fmt.Sprintf("interleave3_x%d_%v", 8*elem, vectors)
			}
		}
		if m.planes == nil && m.dims[r-1] >= 8 {
			if m.tiles8 = turner(elem, l); m.tiles8 != nil {
				m.block, m.name = vectorBlock, fmt.Sprintf("transpose_x%d_%v", 8*elem, vectors)
			}
		}
		m.blocks = (m.dims[m.turned] + m.block - 1) / m.block
		m.tiles = m.blocks
		for d := range r - 1 {
			if d != m.turned {
				m.outer = append(m.outer, d)
				m.tiles *= m.dims[d]
			}
		}
	default:
		m.name = fmt.Sprintf("copy_strided_x%d", 8*elem)
		if m.kind == moveRows {
			m.name = "copy_rows"
		}
		m.rows = 1
		for d := range r - 1 {
			m.outer = append(m.outer, d)
			m.rows *= m.dims[d]
		}
		m.innerBytes = m.dims[r-1] * elem
		m.rowsATile = max(1, 16<<10/m.innerBytes)
		m.tiles = (m.rows + m.rowsATile - 1) / m.rowsATile
	}
	return m, nil
}

func (m *strided) Name() string      { return m.name }
func (m *strided) Tiles() int        { return m.tiles }
func (m *strided) ScratchBytes() int { return 0 }

// place gives the byte offsets of outer index i.
func (m *strided) place(i int) (src, dst int) {
	src, dst = m.srcAt, m.dstAt
	for k := len(m.outer) - 1; k >= 0; k-- {
		d := m.outer[k]
		r := i % m.dims[d]
		i /= m.dims[d]
		src += r * m.src[d]
		dst += r * m.dst[d]
	}
	return src, dst
}

func (m *strided) Run(lo, hi int, a *Args) {
	switch m.kind {
	case moveTurn:
		for t := lo; t < hi; t++ {
			s, d := m.place(t / m.blocks)
			m.turn(a, s, d, t%m.blocks)
		}
	default:
		end := min(hi*m.rowsATile, m.rows)
		for i := lo * m.rowsATile; i < end; {
			n, ss, ds := 1, 0, 0 // rows of the last outer axis lie a step apart
			if k := len(m.outer) - 1; k >= 0 {
				o := m.outer[k]
				n, ss, ds = min(m.dims[o]-i%m.dims[o], end-i), m.src[o], m.dst[o]
			}
			s, d := m.place(i)
			if m.kind == moveRows {
				copyRows(a.Y, a.X, d, s, ds, ss, m.innerBytes, n)
			} else {
				for range n {
					m.each(a, s, d)
					s, d = s+ss, d+ds
				}
			}
			i += n
		}
	}
}

// copyRows copies n rows of some bytes; the usual short ones without a call.
func copyRows(y, x []byte, d, s, ds, ss, bytes, n int) {
	switch bytes {
	case 16:
		for range n {
			*(*[16]byte)(y[d:]) = *(*[16]byte)(x[s:])
			s, d = s+ss, d+ds
		}
	case 32:
		for range n {
			*(*[32]byte)(y[d:]) = *(*[32]byte)(x[s:])
			s, d = s+ss, d+ds
		}
	case 64:
		for range n {
			*(*[64]byte)(y[d:]) = *(*[64]byte)(x[s:])
			s, d = s+ss, d+ds
		}
	default:
		for range n {
			copy(y[d:d+bytes], x[s:s+bytes])
			s, d = s+ss, d+ds
		}
	}
}

// each copies the last axis element by element.
func (m *strided) each(a *Args, s, d int) {
	r := len(m.dims) - 1
	n, ss, ds := m.dims[r], m.src[r], m.dst[r]
	switch m.elem {
	case 1:
		for range n {
			a.Y[d] = a.X[s]
			s, d = s+ss, d+ds
		}
	case 4:
		x, y := elems[int32](a.X), elems[int32](a.Y)
		s, d, ss, ds = s/4, d/4, ss/4, ds/4
		for range n {
			y[d] = x[s]
			s, d = s+ss, d+ds
		}
	default:
		for range n {
			copy(a.Y[d:d+m.elem], a.X[s:s+m.elem])
			s, d = s+ss, d+ds
		}
	}
}

// turn moves one block of the turned axis for all of the last axis.
func (m *strided) turn(a *Args, s, d, block int) {
	r := len(m.dims) - 1
	from := block * m.block
	n := min(m.block, m.dims[m.turned]-from)
	s += from * m.elem
	d += from * m.dst[m.turned]
	if m.planes != nil {
		done := m.planes(a.Y[d:], a.X[s:], m.src[r], n)
		s, d, n = s+done*m.elem, d+done*m.dst[m.turned], n-done
		if n == 0 {
			return
		}
	}
	cols, sx, dy := m.dims[r], m.src[r], m.dst[m.turned]
	if m.tiles8 != nil {
		doneN, doneCols := m.tiles8(a.Y[d:], a.X[s:], n, cols, sx, dy)
		if doneCols < cols { // the columns left, of the rows done
			m.plainTurn(a, s+doneCols*sx, d+doneCols*m.elem, doneN, cols-doneCols)
		}
		s, d, n = s+doneN*m.elem, d+doneN*dy, n-doneN
		if n == 0 {
			return
		}
	}
	m.plainTurn(a, s, d, n, cols)
}

// plainTurn moves n indices of the turned axis for cols of the last.
func (m *strided) plainTurn(a *Args, s, d, n, cols int) {
	if n == 0 {
		return
	}
	sx, dy := m.src[len(m.dims)-1], m.dst[m.turned]
	switch m.elem {
	case 1:
		turnElems(a.X[s:], a.Y[d:], n, cols, sx, dy)
	case 2:
		turnElems(elems[uint16](a.X[s:]), elems[uint16](a.Y[d:]), n, cols, sx/2, dy/2)
	case 4:
		turnElems(elems[int32](a.X[s:]), elems[int32](a.Y[d:]), n, cols, sx/4, dy/4)
	default:
		turnElems(elems[int64](a.X[s:]), elems[int64](a.Y[d:]), n, cols, sx/8, dy/8)
	}
}

// turnElems writes y[i·dy + j] = x[j·sx + i] for i < n, j < cols.
func turnElems[E uint8 | uint16 | int32 | int64](x, y []E, n, cols, sx, dy int) {
	j := 0
	for ; j+4 <= cols; j += 4 {
		a, b, e, f := x[j*sx:][:n], x[(j+1)*sx:][:n], x[(j+2)*sx:][:n], x[(j+3)*sx:][:n]
		for i := range a {
			q := y[i*dy+j:][:4]
			q[0], q[1], q[2], q[3] = a[i], b[i], e[i], f[i]
		}
	}
	if cols-j == 3 {
		a, b, e := x[j*sx:][:n], x[(j+1)*sx:][:n], x[(j+2)*sx:][:n]
		for i := range a {
			q := y[i*dy+j:][:3]
			q[0], q[1], q[2] = a[i], b[i], e[i]
		}
		return
	}
	for ; j < cols; j++ {
		for i, v := range x[j*sx:][:n] {
			y[i*dy+j] = v
		}
	}
}

// planes interleaves the first elements of three planes, step bytes apart in x,
// at most n of each, and says how many it did.
type planes func(y, x []byte, step, n int) int

// turn transposes whole blocks of the first n columns of cols rows, sx bytes
// apart in x, to rows dy bytes apart in y, and says how many of both it did.
type turn func(y, x []byte, n, cols, sx, dy int) (int, int)
