package fmath

// ErfSmall bounds the polynomial part of Erf; from ErfBig on it is 1.
const (
	ErfSmall = 0.93
	ErfBig   = 4
)

// ErfPoly approximates erf(x)/x-1 in x^2 for |x| <= ErfSmall; ErfcPoly
// approximates -log(erfc(t))/t-1 in t on [ErfSmall, ErfBig].
var (
	ErfPoly  = [6]float32{0x1.06eba6p-03, -0x1.8126dcp-02, 0x1.ce1904p-04, -0x1.b676c8p-06, 0x1.46c228p-08, -0x1.382598p-11}
	ErfcPoly = [7]float32{0x1.0778dcp-03, 0x1.45328ep-01, 0x1.b32576p-04, -0x1.855166p-06, 0x1.dd6cfep-09, -0x1.527cc6p-12, 0x1.78defp-17}
)

// Erf returns the error function of x within 4 ulp: x+x*P(x^2) for
// |x| <= ErfSmall, 1-e^(-t-t*Q(t)) with t = min(|x|, ErfBig) beyond.
func Erf(x float32) float32 {
	a := Abs(x)
	y := FMA32(a, horner(float32(a*a), ErfPoly[:]), a)
	if a > ErfSmall {
		t := a
		if t > ErfBig {
			t = ErfBig
		}
		y = 1 - Exp(-FMA32(t, horner(t, ErfcPoly[:]), t))
	}
	return copySign(y, x)
}
