package int8

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// attendTileArgs is the argument block of attention on tile registers, which
// computes tiles of 16 rows up to the sums of weighted values: one after the other,
// each through the same scratch memory. gen/ knows this layout; TestAttendLayouts
// compares.
type attendTileArgs struct {
	config       *isa.TileConfig
	q            uintptr // moves on with the tiles, in the end behind the tensor
	qStep, qMove uintptr // bytes from row to row and from tile to tile
	keys         unsafe.Pointer
	keyMove      uintptr        // bytes of a register of keys
	initK        unsafe.Pointer // what the sums of each key begin with
	keyTiles     int            // registers of keys, a multiple of four
	rowTiles     int
	shift        unsafe.Pointer // a register of weights whose product with q is added to its sums, or nil
	shifts       unsafe.Pointer // a register
	scores       unsafe.Pointer // a register for each one of keys
	n            int            // keys
	fill         int            // registers without a key
	bias         unsafe.Pointer // float32 a key; nil for the kernel without
	lanes        unsafe.Pointer // a vector a row
	tmp          unsafe.Pointer // a vector
	weights      unsafe.Pointer
	weightStep   uintptr
	total        unsafe.Pointer // int32 a row of all tiles: the sums of the weights times times
	values       unsafe.Pointer
	valueStep    uintptr // bytes of a group of four values, and of a register of such
	valueMove    uintptr
	valueTiles   int
	valueSteps   int
	out          unsafe.Pointer // sums of all tiles
	outStep      uintptr
	outMove      uintptr
	order        unsafe.Pointer // pieces
	rowOrder     unsafe.Pointer
	mult, inv    float32
	times        int32

	other                       unsafe.Pointer // scores of the next tile
	keysNow, initNow, scoresNow uintptr        // the kernel's own, as all that follows
	keysLeft                    int
	valuesNow, outNow           uintptr
	valuesLeft                  int
}

// startArgs is the argument block of the kernel that finds what the sums of n
// vectors of columns begin with: base less zero times the sums of packed weights,
// quads groups of four elements. gen/ knows this layout; TestAttendLayouts compares.
type startArgs struct {
	w          unsafe.Pointer
	quads, n   int
	init       unsafe.Pointer
	zero, base int32
}

// rowOrder says in which lane fold16 of gen/ leaves each row.
var rowOrder = [16]uint32{0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15}

// fitsTiles says that heads are narrow enough for tile registers and their weights
// bytes that attention on tiles packs, and that there are rows to fill them.
func (k *AttendKernel) fitsTiles() bool {
	return k.T >= tileRows && k.S >= tileRows && k.D%16 == 0 && k.V%16 == 0 && k.D <= 64 && k.V <= 64 && k.plainBytes() && k.keyZero() > -128
}

// keyZero is the zero point of packed keys.
func (k *AttendKernel) keyZero() int32 { return k.KZero - 128 + offset(k.KSigned) }

// newAttendConfig gives the tile registers of attention on heads of d elements, as
// gen/attention_amx.go takes them.
func newAttendConfig(d int) *isa.TileConfig {
	c := &isa.TileConfig{Palette: 1}
	for t := range c.Rows {
		c.Rows[t], c.ColBytes[t] = tileRows, 64
	}
	c.ColBytes[4], c.Rows[5] = uint16(d), uint8(d/4)
	return c
}

func (k *AttendKernel) prepareTiles() {
	k.cols = ceilDiv(k.S, attendLine) * attendLine
	k.kPad = k.cols
	// A block is what one call computes, a few tiles.
	k.block = evenBlock(k.T, tileRows, max(1, min(4, 4096/k.cols))*tileRows)
	k.cost = float64(k.T) * float64(k.S) * 0.35
	k.split()
	k.fin = k.finisher()
	k.config = newAttendConfig(k.D)
	if z := k.keyZero(); z != 0 {
		k.shift = aligned[byte](tileRows * 64)
		fill(k.shift, uint8(-z))
	}
	at := 0
	take := taker(&at)
	o := &k.at
	o.q = take(k.block * k.D)
	o.keys, o.initK = take(k.D*k.cols), take(k.cols*4)
	o.values = take(k.kPad * k.V)
	o.rowAdd, o.lanes, o.tmp, o.total = take(tileRows*64), take(tileRows*64), take(64), take(k.block*4)
	scores := (tileRows*64 + 64) * k.cols / 16 // as gen/attention_amx.go has it
	o.sums, o.other, o.weights = take(scores), take(scores), take(tileRows*k.kPad)
	o.out = take(k.block*k.V*4 + sumSlack)
	k.scratch = at
	k.run = (*AttendKernel).tiles
}

// tiles computes rows [t0, t1) of a head.
func (k *AttendKernel) tiles(head, t0, t1 int, a *AttendArgs, packed bool) {
	p := attendPool.Get().(*attendArgs)
	n, h := head/k.H, head%k.H
	mem := base(a.Scratch)
	o := &k.at
	if !packed {
		k.packTiles(p, mem, a, n, h)
	}
	bias, biased := k.bias(a, n), 0
	if bias != nil {
		biased = 1
	}
	g := &p.tiles
	*g = attendTileArgs{
		config: k.config,
		keys:   unsafe.Add(mem, o.keys), keyMove: uintptr(k.D * 16), initK: unsafe.Add(mem, o.initK), keyTiles: k.cols / 16,
		shifts: unsafe.Add(mem, o.rowAdd), n: k.S, fill: k.cols/16 - ceilDiv(k.S, 16), bias: bias,
		lanes: unsafe.Add(mem, o.lanes), tmp: unsafe.Add(mem, o.tmp), weights: unsafe.Add(mem, o.weights), weightStep: uintptr(k.kPad),
		values: unsafe.Add(mem, o.values), valueStep: uintptr(k.V * 4), valueMove: uintptr(k.V * 64), valueTiles: k.V / 16, valueSteps: k.kPad / 64,
		outStep: uintptr(k.V * 4), outMove: uintptr(k.V * 64), order: unsafe.Pointer(&pieces), rowOrder: unsafe.Pointer(&rowOrder),
		mult: k.Score, inv: k.Inv, times: 128 - offset(k.VSigned) - k.VZero,
	}
	if k.shift != nil {
		g.shift = base(k.shift)
	}
	for t := t0; t < t1; {
		rows := min(k.block, t1-t)
		if rows > tileRows {
			rows &^= tileRows - 1
		}
		x, step := unsafe.Pointer(&a.X[((n*k.T+t)*k.H+h)*k.D]), k.H*k.D
		if k.QSigned || rows%tileRows != 0 { // a tile reads all of its rows
			q := view[byte](unsafe.Add(mem, o.q), k.block*k.D)
			for r := range rows {
				from, to := a.X[((n*k.T+t+r)*k.H+h)*k.D:][:k.D], q[r*k.D:][:k.D]
				if k.QSigned {
					flipInto(to, from)
				} else {
					copy(to, from)
				}
			}
			x, step = base(q), k.D
		}
		g.q, g.qStep, g.qMove, g.rowTiles = uintptr(x), uintptr(step), uintptr(tileRows*step), ceilDiv(rows, tileRows)
		g.scores, g.other = unsafe.Add(mem, o.sums), unsafe.Add(mem, o.other)
		g.total, g.out = unsafe.Add(mem, o.total), unsafe.Add(mem, o.out)
		k.rows.tiles[biased](g)
		p.finish.rowAdd = unsafe.Add(mem, o.total)
		k.fin.apply(&p.finish, unsafe.Add(mem, o.out), g.outStep, rows, k.V, 0, unsafe.Pointer(&a.Y[((n*k.T+t)*k.H+h)*k.V]), nil, k.H*k.V)
		t += rows
	}
	*p = attendArgs{}
	attendPool.Put(p)
}

// packTiles packs a head's keys and values, and the sums that the products with keys
// start from, as pack does; weights have no zero point.
func (k *AttendKernel) packTiles(p *attendArgs, mem unsafe.Pointer, a *AttendArgs, n, h int) {
	const keys = 16 // of a register
	at := n * k.S * k.H
	o := &k.at
	w := view[byte](unsafe.Add(mem, o.keys), k.D*k.cols)
	for s := 0; s < k.S; s += keys {
		k.packKeys(p, a.X2[(at+s*k.H+h)*k.D:], w[s*k.D:], 64, min(keys, k.S-s))
	}
	zero := k.QZero + offset(k.QSigned)
	p.starts = startArgs{w: base(w), quads: k.D / 4, n: k.cols / 16, init: unsafe.Add(mem, o.initK), zero: zero, base: int32(k.D) * zero * k.keyZero()}
	k.rows.starts(&p.starts)
	k.packValues(p, a.V[(at+h)*k.V:], view[byte](unsafe.Add(mem, o.values), k.kPad*k.V), k.V*4, k.V)
}
