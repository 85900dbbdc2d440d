package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Augment says how pictures are varied.
type Augment struct {
	Crop   int     // shift by up to so many pixels, zeros coming in
	Flip   bool    // left to right, every second time
	Cutout int     // a square of so many pixels set to zero
	Mixup  float64 // alpha of mixed pairs (Zhang et al. 2018)
	Cutmix float64 // alpha of pasted rectangles (Yun et al. 2019)
	Auto   int     // so many operations of autoOps, drawn anew for each picture
}

// flags are the flags that ask for it.
func (a Augment) flags() string {
	var out []string
	for _, f := range []struct {
		name string
		is   bool
	}{{"random-crop", a.Crop > 0}, {"flip", a.Flip}, {"cutout", a.Cutout > 0}, {"mixup", a.Mixup > 0}, {"cutmix", a.Cutmix > 0}, {"autoaugment", a.Auto > 0}} {
		if f.is {
			out = append(out, "--"+f.name)
		}
	}
	return strings.Join(out, ", ")
}

// picture is the geometry of one sample in memory.
type picture struct {
	h, w, c int
	planar  bool // [C,H,W], not [H,W,C]
}

// runs calls f with each run of consecutive values of row y, columns [x0,x1).
func (p picture) runs(y, x0, x1 int, f func(from, n int)) {
	if !p.planar {
		f((y*p.w+x0)*p.c, (x1-x0)*p.c)
		return
	}
	for ch := range p.c {
		f((ch*p.h+y)*p.w+x0, x1-x0)
	}
}

// vary writes one sample to dst.
func (a Augment) vary(r *rand.Rand, p picture, dst, src []float32) {
	dy, dx, flip := 0, 0, false
	if a.Crop > 0 {
		dy, dx = r.IntN(2*a.Crop+1)-a.Crop, r.IntN(2*a.Crop+1)-a.Crop
	}
	if a.Flip {
		flip = r.IntN(2) == 1
	}
	p.moved(dst, src, dy, dx, flip)
	for range a.Auto {
		autoOps[r.IntN(len(autoOps))](r, p, dst)
	}
	if a.Cutout > 0 {
		cy, cx := r.IntN(p.h), r.IntN(p.w)
		p.rectangle(cy-a.Cutout/2, cx-a.Cutout/2, a.Cutout, a.Cutout, func(from, n int) { clear(dst[from : from+n]) })
	}
}

// moved shifts a picture down by dy and right by dx after flipping it.
func (p picture) moved(dst, src []float32, dy, dx int, flip bool) {
	if dy == 0 && dx == 0 && !flip {
		copy(dst, src)
		return
	}
	step, width := 1, p.c // between columns; values at a place
	planes, plane := 1, p.h*p.w*p.c
	if p.planar {
		width, planes, plane = 1, p.c, p.h*p.w
	}
	for q := range planes {
		d, s := dst[q*plane:][:plane], src[q*plane:][:plane]
		for y := range p.h {
			row := d[y*p.w*width:][:p.w*width]
			sy := y - dy
			if sy < 0 || sy >= p.h {
				clear(row)
				continue
			}
			from := s[sy*p.w*width:][:p.w*width]
			for x := range p.w {
				sx := x - dx
				if flip {
					sx = p.w - 1 - sx
				}
				at := row[x*width*step:][:width]
				if sx < 0 || sx >= p.w {
					clear(at)
				} else {
					copy(at, from[sx*width:])
				}
			}
		}
	}
}

// rectangle calls f for the runs of a rectangle, as far as it lies inside; it
// gives its area there.
func (p picture) rectangle(y, x, h, w int, f func(from, n int)) int {
	y0, y1 := max(y, 0), min(y+h, p.h)
	x0, x1 := max(x, 0), min(x+w, p.w)
	if y0 >= y1 || x0 >= x1 {
		return 0
	}
	for row := y0; row < y1; row++ {
		p.runs(row, x0, x1, f)
	}
	return (y1 - y0) * (x1 - x0)
}

// mix joins pairs of a batch: x are the samples one after the other, each of
// size values, t their targets.
func (a Augment) mix(r *rand.Rand, p picture, x, t []float32, batch int) {
	if a.Mixup == 0 && a.Cutmix == 0 || batch < 2 {
		return
	}
	size, classes := len(x)/batch, len(t)/batch
	paste := a.Cutmix > 0 && (a.Mixup == 0 || r.IntN(2) == 1)
	alpha := a.Mixup
	if paste {
		alpha = a.Cutmix
	}
	share := beta(r, alpha)
	order := r.Perm(batch)
	other := slices.Clone(x)
	targets := slices.Clone(t)
	if paste {
		h, w := int(float64(p.h)*math.Sqrt(1-share)+0.5), int(float64(p.w)*math.Sqrt(1-share)+0.5)
		cy, cx := r.IntN(p.h), r.IntN(p.w)
		area := 0
		for i, j := range order {
			area = p.rectangle(cy-h/2, cx-w/2, h, w, func(from, n int) { copy(x[i*size+from:][:n], other[j*size+from:]) })
		}
		share = 1 - float64(area)/float64(p.h*p.w)
	} else {
		u, v := float32(share), float32(1-share)
		for i, j := range order {
			for k := range size {
				x[i*size+k] = float32(u*other[i*size+k]) + float32(v*other[j*size+k])
			}
		}
	}
	for i, j := range order {
		for k := range classes {
			t[i*classes+k] = float32(share)*targets[i*classes+k] + float32(1-share)*targets[j*classes+k]
		}
	}
}

// beta draws from Beta(a, a) by Jöhnk's and Gamma sums.
func beta(r *rand.Rand, a float64) float64 {
	x, y := gamma(r, a), gamma(r, a)
	if x+y == 0 {
		return 0.5
	}
	return x / (x + y)
}

// gamma draws from Gamma(a, 1) (Marsaglia and Tsang 2000).
func gamma(r *rand.Rand, a float64) float64 {
	if a < 1 {
		return gamma(r, a+1) * math.Pow(r.Float64(), 1/a)
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-r.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
