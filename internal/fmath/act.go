package fmath

// Silu returns x*Sigmoid(x).
func Silu(x float32) float32 { return float32(x * Sigmoid(x)) }

// Gelu returns 0.5*x*(1+erf(x/sqrt 2)), as (0.5*x) * (1 + Erf(x*0.70710678)).
func Gelu(x float32) float32 { return float32(float32(0.5*x) * (1 + Erf(float32(x*0.70710678)))) }

// GeluTanh returns the tanh form of GELU: (0.5*x) * (1 + Tanh(u)) with
// u = (x*0.79788456) * fma(0.044715, x*x, 1).
func GeluTanh(x float32) float32 {
	u := float32(float32(x*0.79788456) * FMA32(0.044715, float32(x*x), 1))
	return float32(float32(0.5*x) * (1 + Tanh(u)))
}

// HardSigmoid returns clamp(alpha*x+beta, 0, 1), two roundings before the clamp.
func HardSigmoid(x, alpha, beta float32) float32 { return Clamp(float32(alpha*x)+beta, 0, 1) }

// HardSwish returns x * HardSigmoid(x, 1/6, 1/2).
func HardSwish(x float32) float32 { return float32(x * HardSigmoid(x, 1.0/6, 0.5)) }

// LeakyRelu returns alpha*x for x < 0 and x otherwise.
func LeakyRelu(x, alpha float32) float32 {
	if x < 0 {
		return float32(alpha * x)
	}
	return x
}

// Elu returns alpha*(e^x-1) for x < 0 and x otherwise.
func Elu(x, alpha float32) float32 {
	if x < 0 {
		return float32(alpha * (Exp(x) - 1))
	}
	return x
}

// Selu returns scale * (x where x >= 0, alpha*(e^x-1) elsewhere) (Klambauer et al. 2017).
func Selu(x, alpha, scale float32) float32 { return float32(scale * Elu(x, alpha)) }

// Mish returns x*Tanh(Softplus(x)).
func Mish(x float32) float32 { return float32(x * Tanh(Softplus(x))) }
