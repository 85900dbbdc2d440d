package gradient

// products is the table: the vector-Jacobian product of every op that the op
// table calls differentiable.
var products = map[string]product{}

func init() { // the table's functions look ops up in it by way of the builder
	for _, m := range []map[string]product{unary, binary, contractions, norms, reductions, movements, fakes} {
		for name, f := range m {
			products[name] = f
		}
	}
}
