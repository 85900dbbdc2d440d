package train

import (
	"math"
	"math/rand/v2"
	"slices"
)

// autoOps are the operations of AutoAugment (Cubuk et al. 2019) that make sense
// on pictures already normalized, drawn uniformly and with a uniform magnitude
// as in RandAugment (Cubuk et al. 2020): places first, then values.
var autoOps = []func(r *rand.Rand, p picture, x []float32){
	func(r *rand.Rand, p picture, x []float32) { p.warped(x, 1, spread(r, 0.3), 0, 1) }, // shear along x
	func(r *rand.Rand, p picture, x []float32) { p.warped(x, 1, 0, spread(r, 0.3), 1) }, // along y
	func(r *rand.Rand, p picture, x []float32) {
		s, c := math.Sincos(spread(r, math.Pi/6))
		p.warped(x, c, -s, s, c)
	},
	func(r *rand.Rand, p picture, x []float32) { // shift
		old := slices.Clone(x)
		p.moved(x, old, int(math.Round(spread(r, 0.3)*float64(p.h))), int(math.Round(spread(r, 0.3)*float64(p.w))), false)
	},
	func(r *rand.Rand, p picture, x []float32) { // contrast: away from the mean or towards it
		f, m := float32(1+spread(r, 0.6)), mean(x)
		for i, v := range x {
			x[i] = m + float32(f*(v-m))
		}
	},
	func(r *rand.Rand, p picture, x []float32) { // brightness, in deviations
		d := float32(spread(r, 0.6))
		for i := range x {
			x[i] += d
		}
	},
	func(r *rand.Rand, p picture, x []float32) { // colour: towards each pixel's gray, or away
		if p.c == 1 {
			return
		}
		f := float32(1 + spread(r, 0.6))
		for at := range p.h * p.w {
			gray := float32(0)
			for c := range p.c {
				gray += x[p.index(at, c)]
			}
			gray /= float32(p.c)
			for c := range p.c {
				v := &x[p.index(at, c)]
				*v = gray + float32(f*(*v-gray))
			}
		}
	},
	func(*rand.Rand, picture, []float32) {}, // identity
}

// spread draws from ±limit.
func spread(r *rand.Rand, limit float64) float64 { return limit * (2*r.Float64() - 1) }

func mean(x []float32) float32 {
	s := 0.0
	for _, v := range x {
		s += float64(v)
	}
	return float32(s / float64(max(1, len(x))))
}

// index is where channel c of a pixel lies.
func (p picture) index(pixel, c int) int {
	if p.planar {
		return c*p.h*p.w + pixel
	}
	return pixel*p.c + c
}

// warped gives every pixel the value at its place under the matrix (a b; c d)
// about the middle, between pixels linearly, zeros from outside.
func (p picture) warped(x []float32, a, b, c, d float64) {
	old := slices.Clone(x)
	my, mx := float64(p.h-1)/2, float64(p.w-1)/2
	for y := range p.h {
		for col := range p.w {
			dx, dy := float64(col)-mx, float64(y)-my
			sx, sy := a*dx+b*dy+mx, c*dx+d*dy+my
			x0, y0 := int(math.Floor(sx)), int(math.Floor(sy))
			fx, fy := float32(sx-float64(x0)), float32(sy-float64(y0))
			for ch := range p.c {
				at := func(yy, xx int) float32 {
					if yy < 0 || yy >= p.h || xx < 0 || xx >= p.w {
						return 0
					}
					return old[p.index(yy*p.w+xx, ch)]
				}
				top := float32((1-fx)*at(y0, x0)) + float32(fx*at(y0, x0+1))
				low := float32((1-fx)*at(y0+1, x0)) + float32(fx*at(y0+1, x0+1))
				x[p.index(y*p.w+col, ch)] = float32((1-fy)*top) + float32(fy*low)
			}
		}
	}
}
