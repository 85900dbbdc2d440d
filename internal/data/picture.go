package data

import (
	"fmt"
	"image"
	"image/draw"

	xdraw "golang.org/x/image/draw"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/internal/nascfile"
	"github.com/nasc-dev/nasc/ir"
)

// Picture is a decoded picture: H rows of W pixels of C bytes (1 gray, 3 RGB).
type Picture struct {
	W, H, C int
	Pix     []byte
}

func fromImage(m image.Image) *Picture {
	b := m.Bounds()
	rgba := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(rgba, rgba.Bounds(), m, b.Min, draw.Src)
	return fromRGBA(rgba)
}

func fromRGBA(m *image.RGBA) *Picture {
	p := &Picture{W: m.Rect.Dx(), H: m.Rect.Dy(), C: 3}
	p.Pix = make([]byte, 0, p.W*p.H*3)
	for y := range p.H {
		for x := range p.W {
			i := y*m.Stride + 4*x
			p.Pix = append(p.Pix, m.Pix[i:i+3]...)
		}
	}
	return p
}

// channels gives the picture in gray or RGB. Gray is ITU-R 601 luma, as PIL's.
func (p *Picture) channels(c int) *Picture {
	if p.C == c {
		return p
	}
	out := &Picture{W: p.W, H: p.H, C: c, Pix: make([]byte, p.W*p.H*c)}
	for i := range p.W * p.H {
		if c == 3 {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = p.Pix[i], p.Pix[i], p.Pix[i]
			continue
		}
		r, g, b := int(p.Pix[3*i]), int(p.Pix[3*i+1]), int(p.Pix[3*i+2])
		out.Pix[i] = byte((r*19595 + g*38470 + b*7471 + 1<<15) >> 16)
	}
	return out
}

// scaledTo resizes with a bilinear filter (widened when shrinking, as PIL's).
func (p *Picture) scaledTo(w, h int) *Picture {
	if p.W == w && p.H == h {
		return p
	}
	c := p.C
	rgb := p.channels(3)
	src, dst := image.NewRGBA(image.Rect(0, 0, p.W, p.H)), image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range p.W * p.H {
		src.Pix[4*i], src.Pix[4*i+1], src.Pix[4*i+2], src.Pix[4*i+3] = rgb.Pix[3*i], rgb.Pix[3*i+1], rgb.Pix[3*i+2], 255
	}
	xdraw.BiLinear.Scale(dst, dst.Rect, src, src.Rect, draw.Src, nil)
	return fromRGBA(dst).channels(c)
}

// Input makes the tensor that a picture becomes, without a batch axis.
func (p *Picture) Input(pp *nascfile.Preprocess) (*ir.Tensor, error) {
	c := 3
	if pp.Order == "gray" {
		c = 1
	}
	q := p.channels(c)
	short := min(q.W, q.H)
	want := pp.Resize
	if want == 0 && (q.W < pp.Width || q.H < pp.Height) {
		want = max(pp.Width, pp.Height)
	}
	if want > 0 && want != short {
		q = q.scaledTo(max(pp.Width, (q.W*want+short/2)/short), max(pp.Height, (q.H*want+short/2)/short))
	}
	if q.W < pp.Width || q.H < pp.Height {
		return nil, &diag.Error{Found: fmt.Sprintf("a picture of %d×%d after resizing", q.W, q.H), Wanted: fmt.Sprintf("%d×%d or more", pp.Width, pp.Height)}
	}
	x0, y0 := (q.W-pp.Width)/2, (q.H-pp.Height)/2
	shape := ir.Shape{pp.Height, pp.Width, c}
	if pp.Layout == "nchw" {
		shape = ir.Shape{c, pp.Height, pp.Width}
	}
	out := ir.NewTensor(ir.F32, shape...)
	y := out.F32()
	for ch := range c {
		from := ch
		if pp.Order == "bgr" {
			from = c - 1 - ch
		}
		mean, std := at(pp.Mean, ch, 0), at(pp.Std, ch, 1)
		for r := range pp.Height {
			for x := range pp.Width {
				v := (float64(q.Pix[((y0+r)*q.W+x0+x)*c+from])*pp.Scale - mean) / std
				i := (r*pp.Width+x)*c + ch
				if pp.Layout == "nchw" {
					i = (ch*pp.Height+r)*pp.Width + x
				}
				y[i] = float32(v)
			}
		}
	}
	return out, nil
}

func at(v []float64, i int, def float64) float64 {
	switch {
	case len(v) == 0:
		return def
	case i < len(v):
		return v[i]
	}
	return v[0]
}

// Assume guesses how pictures become an input of this type, which no file
// said: N×3×H×W is RGB, ImageNet's mean and deviation; one channel is gray
// from 0 to 1. nil where the input is no picture.
func Assume(t ir.Type) *nascfile.Preprocess {
	s := t.Shape
	if t.DType != ir.F32 || len(s) != 4 {
		return nil
	}
	p := &nascfile.Preprocess{Scale: 1.0 / 255, Assumed: true}
	var c int
	switch {
	case s[1] == 3 || s[1] == 1 && s[3] != 3 && s[3] != 1:
		p.Layout, c, p.Height, p.Width = "nchw", s[1], s[2], s[3]
	case s[3] == 3 || s[3] == 1:
		p.Layout, c, p.Height, p.Width = "nhwc", s[3], s[1], s[2]
	default:
		return nil
	}
	if p.Height < 1 || p.Width < 1 {
		return nil
	}
	if p.Order = "gray"; c == 3 {
		p.Order = "rgb"
		p.Mean, p.Std = []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	}
	return p
}
