package f32

import "math"

// bandBytes is how much input one band may touch: it should stay in the second
// level cache together with a block of weights. A quarter more is tried, where
// fewer bands are dealt better.
const bandBytes = 192 << 10

// wholeBytes is how much input may be one band where the weights are more, which
// each band reads.
const wholeBytes = 512 << 10

// bandPixels is how many pixels a band has at least that is cut only to make
// units.
const bandPixels = 56

// wantUnits is how many units a kernel is cut into, if it is large.
const wantUnits = 8

// cutBands cuts the strips of an image into bands and the blocks into parts: a
// unit is a part of a band. Of the ways that keep what a unit reads near, it
// takes the one that threads would finish first.
func (c *conv) cutBands(ktotal int) {
	least, most, mostUnits := c.bandCounts(ktotal)
	best := math.Inf(1)
	costs := c.stripCosts(ktotal)
	for n := least; n <= most; n++ {
		bands := c.bandsOf(n)
		for parts := 1; parts <= len(c.blocks); parts++ {
			units := c.N * (len(bands) - 1) * parts
			if parts > 1 && units > mostUnits {
				break
			}
			if cost := c.cost(bands, parts, costs); cost < best {
				best, c.bands, c.parts = cost, bands, parts
			}
		}
	}
	if c.copied {
		for i := range c.bands[1:] {
			c.scratch = max(c.scratch, align64(c.boxBytes(c.box(c.bands, i))))
		}
	}
}

// bandCounts is how few and how many bands an image may have, and how many units
// there may be where bands are cut into parts.
func (c *conv) bandCounts(ktotal int) (least, most, units int) {
	in, weights := c.ph*c.pw*c.C*4, ktotal*c.K*4
	rows := c.OH
	if c.OH == 1 {
		in, rows = c.OW*c.C*4, len(c.strips)
	}
	macs := c.OH * c.OW * c.K * ktotal
	units = min(2*wantUnits, macs>>18)
	// Where the weights are more than an input that stays near, they are read
	// once for all of it; where each unit copies the input, only if that would
	// be several bands anyway.
	whole := in <= wholeBytes && weights >= in
	if c.copied {
		whole = whole && in > bandBytes && weights >= 2*in
	}
	if whole {
		if c.copied {
			units = min(units, wantUnits/2)
		}
		return 1, 1, units
	}
	least = min(rows, ceilDiv(in, bandBytes*5/4))
	most = max(ceilDiv(in, bandBytes), min(ceilDiv(min(wantUnits, units), c.N), c.OH*c.OW/bandPixels))
	return least, max(least, min(most, rows)), units
}

// bandsOf cuts the strips into at most n bands of nearly equal length. A band
// ends where an output row does.
func (c *conv) bandsOf(n int) []int {
	n = min(n, len(c.strips))
	bands := []int{0}
	for i := 1; i <= n; i++ {
		e := cut(len(c.strips), n, i)
		for e < len(c.strips) && c.OH > 1 && c.strips[e].first == c.strips[e-1].first {
			e++
		}
		if e > bands[len(bands)-1] {
			bands = append(bands, e)
		}
	}
	return bands
}

// stripCosts estimates the cycles of the first i strips for each width of
// blocks.
func (c *conv) stripCosts(k int) [][]float64 {
	const call = 40
	sums := make([][]float64, len(c.set.run)+1)
	for _, b := range c.blocks {
		if sums[b.vecs] != nil {
			continue
		}
		sum := make([]float64, len(c.strips)+1)
		for i, s := range c.strips {
			sum[i+1] = sum[i] + float64(k)*c.set.stepCost(s.rows, b.vecs, k) + call
		}
		sums[b.vecs] = sum
	}
	return sums
}

// dealings are the speeds of threads for which a way to cut units is judged: one
// alone, two and four, and two of which one has a neighbour.
var dealings = [][]float64{{1}, {1, 1}, {1, 1, 1, 1}, {1, 0.7}}

// manyUnits: from here on threads get nearly equal shares however units are cut.
const manyUnits = 128

// cost estimates what the units of a way to cut take, in cycles of all threads,
// the mean of dealings.
func (c *conv) cost(bands []int, parts int, strips [][]float64) float64 {
	n := len(bands) - 1
	images := min(c.N, ceilDiv(manyUnits, n*parts))
	unit, copies := make([]float64, n*parts), make([]float64, n)
	for i := range n {
		if c.copied {
			copies[i] = float64(c.boxBytes(c.box(bands, i))) / copyCycle
		}
		for p := range parts {
			sum := 0.0
			for _, b := range c.blocks[cut(len(c.blocks), parts, p):cut(len(c.blocks), parts, p+1)] {
				sum += strips[b.vecs][bands[i+1]] - strips[b.vecs][bands[i]]
				sum += float64(len(b.w)*4) / weightCycle
			}
			unit[i*parts+p] = sum
		}
	}
	sum := 0.0
	for _, speeds := range dealings {
		all := 0.0
		for _, s := range speeds {
			all += s
		}
		sum += all * makespan(images*n*parts, speeds, func(u, last int) float64 {
			cost := unit[u%len(unit)]
			if band := u / parts; last < 0 || last/parts != band {
				cost += copies[band%n]
			}
			return cost
		})
	}
	return sum * float64(c.N) / float64(images)
}

// Bytes a cycle that are copied, and of weights that come nearer, of which most
// is hidden behind the products.
const (
	copyCycle   = 8
	weightCycle = 48
)

// makespan is when threads of the given speeds are done with a step's units, if
// these are dealt as the engine does it: each thread takes its own share from the
// front, then what others have left. cost is that of a unit for a thread that
// did unit last before (-1: none).
func makespan(units int, speeds []float64, cost func(unit, last int) float64) float64 {
	type thread struct {
		now       float64
		last      int
		next, end int
	}
	count := len(speeds)
	var threads [8]thread
	for i := range count {
		threads[i] = thread{last: -1, next: cut(units, count, i), end: cut(units, count, i+1)}
	}
	chunk := max(1, units/(4*count))
	end := 0.0
	for left := units; left > 0; {
		first := 0 // free before the others
		for i := range count {
			if threads[i].now < threads[first].now {
				first = i
			}
		}
		me := &threads[first]
		from := me
		for k := 1; from.next == from.end; k++ {
			from = &threads[(first+k)%count]
		}
		for range min(chunk, from.end-from.next) {
			me.now += cost(from.next, me.last) / speeds[first]
			me.last = from.next
			from.next++
			left--
		}
		end = max(end, me.now)
	}
	return end
}
