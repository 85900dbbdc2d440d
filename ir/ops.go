package ir

// Table is the op table: every operation of the IR, a family a file. Adding an
// op is one row in its family's file, and its Eval.
var Table = [][]Op{
	contractionOps,
	binaryOps,
	unaryOps,
	normOps,
	poolOps,
	movementOps,
	recurrentOps,
	gradientOps,
	fakeOps,
	quantizeOps,
	quantizedOps,
	dynamicOps,
}

// Operand lists that many rows share.
var (
	oneIn  = []Operand{{Name: "x"}}
	twoIn  = []Operand{{Name: "a"}, {Name: "b"}}
	convIn = []Operand{{Name: "x"}, {Name: "w"}, {Name: "bias", Optional: true}}
)

// join concatenates attribute lists.
func join(lists ...[]AttrSpec) []AttrSpec {
	var out []AttrSpec
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}
