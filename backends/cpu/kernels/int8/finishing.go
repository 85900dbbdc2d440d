package int8

// finishing is what a matrix kernel makes of its sums. gen/ has the same numbers.
type finishing uint64

const (
	keepSums     finishing = iota
	packBytes              // 8-bit results
	addBytes               // with a residual
	packWhole              // 8-bit results of the whole range, which need no clamps
	packPlain              // u8 of the whole range with zero point 0
	addPlain               // with a residual in u8, too; of 64 columns
	packLookedUp           // 8-bit results of a table
	toFloats               // float32
)

// finishing says what of f the kernel does itself; residual is whether there is one.
func (k *gemmKernel) finishing(f *finisher, residual bool) finishing {
	switch {
	case !k.fuses:
		return keepSums
	case f.pack == nil:
		if k.more && f.out == F32 {
			return toFloats
		}
		return keepSums
	case residual && k.short && k.cols == 64 && f.plain != 0:
		return addPlain
	case residual:
		return addBytes
	case k.more && f.looked != nil:
		return packLookedUp
	case k.short && f.plain != 0:
		return packPlain
	case k.short && f.args.least == 0 && f.args.most == 255:
		return packWhole
	}
	return packBytes
}
