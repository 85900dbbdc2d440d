package passes

import (
	"maps"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/fmath"
	"github.com/nasc-dev/nasc/ir"
)

// winograd chooses Winograd's F(2×2, 3×3) or F(4×4, 3×3) for float convolutions
// of 3×3 with stride 1, where an estimate says that it is faster.
//
//	%y = convolution %x @w   →   %y = convolution %x @w winograd=4
//
// Other arithmetic, so other last bits: F(2×2, 3×3) has less error than one chain
// of sums, F(4×4, 3×3) 1.7 to 1.8 times as much (fmath.WinogradInput). With
// tile=2 or 4 every one that can be gets it, tile=0 takes it back.
func winograd(g *ir.Graph, a Args) (bool, error) {
	choose := func(n *ir.Node) int { return fasterTile(n) }
	if t, ok := a["tile"]; ok {
		tile := map[string]int{"0": 0, "2": 2, "4": 4}
		m, ok := tile[t]
		if !ok {
			return false, &diag.Error{Place: "tile=" + t, Found: "no such tiles", Wanted: "2, 4, or 0 for none"}
		}
		choose = func(*ir.Node) int { return m }
	}
	changed := false
	for _, n := range g.Nodes {
		if a.takes(n) && CanWinograd(n) {
			changed = SetWinograd(n, choose(n)) || changed
		}
	}
	return changed, nil
}

// CanWinograd says whether a node is a float convolution with constant weights
// and of the geometry that Winograd's algorithms are for.
func CanWinograd(n *ir.Node) bool {
	if n.Op.Name != "convolution" || n.Out().Type.DType != ir.F32 || !n.Inputs[1].IsConst() {
		return false
	}
	w, err := ir.WindowOf(n)
	return err == nil && w.Winograd()
}

// SetWinograd gives a convolution tiles of m×m results, or 0: the chain; it says
// whether that is new.
func SetWinograd(n *ir.Node, m int) bool {
	if n.Int("winograd") == m {
		return false
	}
	n.Attrs = maps.Clone(n.Attrs)
	if n.Attrs == nil {
		n.Attrs = ir.Attrs{}
	}
	if n.Attrs["winograd"] = m; m == 0 {
		delete(n.Attrs, "winograd")
	}
	return true
}

// Direct takes Winograd's algorithms back, as for training and int8.
func Direct(g *ir.Graph) {
	for _, n := range g.Nodes {
		if n.Op.Name == "convolution" {
			SetWinograd(n, 0)
		}
	}
}

// Costs in multiplications as a core makes them, measured on a Zen 5 with AVX-512
// (BenchmarkWinograd, and networks whose weights come from memory): of a channel
// of a tile before and after the products, by the tiles' width.
var tileCost = map[int]float64{2: 180, 4: 450}

const (
	// A byte of weights costs as much as weightCost products, as far as it is not
	// fetched behind hidden of all of them.
	weightCost = 4
	hidden     = 0.4
	// winogradLeast is how much less Winograd must be estimated at.
	winogradLeast = 0.9
)

// productCost is that of products with float32 weights that are read once.
func productCost(products, weights float64) float64 {
	return products + max(0, weightCost*4*weights-hidden*products)
}

// fasterTile estimates which tiles compute a convolution fastest; 0: none.
func fasterTile(n *ir.Node) int {
	w, err := ir.WindowOf(n)
	if err != nil {
		return 0
	}
	ws := n.Inputs[1].Type.Shape
	c, k := float64(ws[2]), float64(ws[3])
	batch := float64(max(1, n.Out().Type.Shape[0])) // a symbolic one counts as 1
	results, taps := batch*float64(w.Out[0]*w.Out[1]), float64(w.Taps())
	best, least := 0, winogradLeast*productCost(results*taps*c*k, taps*c*k)
	for _, m := range []int{2, 4} {
		tiles := batch * float64(((w.Out[0]+m-1)/m)*((w.Out[1]+m-1)/m))
		places := float64(fmath.WinogradSide(m) * fmath.WinogradSide(m))
		if cost := productCost(tiles*places*c*k, places*c*k) + tiles*tileCost[m]*(c+k); cost < least {
			best, least = m, cost
		}
	}
	return best
}
