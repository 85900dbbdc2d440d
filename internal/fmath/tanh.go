package fmath

// TanhSmall bounds the polynomial part of Tanh.
const TanhSmall = 0.625

// TanhPoly approximates (tanh(x)-x)/x^3 as a polynomial in x^2 for |x| <= TanhSmall.
var TanhPoly = [5]float32{-0x1.555532p-02, 0x1.110726p-03, -0x1.b83c5cp-05, 0x1.5226a2p-06, -0x1.75e1e4p-08}

// Tanh returns the hyperbolic tangent of x within 4 ulp: an odd polynomial for
// |x| <= TanhSmall, 1-2/(e^2|x|+1) beyond.
func Tanh(x float32) float32 {
	a := Abs(x)
	z := float32(a * a)
	y := FMA32(float32(a*z), horner(z, TanhPoly[:]), a)
	if a > TanhSmall {
		y = 1 - 2/(Exp(a+a)+1)
	}
	return copySign(y, x)
}

// Sigmoid returns 1/(1+e^-x) within 4 ulp, as z/(1+z) with z = e^x for x < 0 so
// that small results keep their precision.
func Sigmoid(x float32) float32 {
	z := Exp(-Abs(x))
	n := float32(1)
	if x < 0 {
		n = z
	}
	return n / (1 + z)
}
