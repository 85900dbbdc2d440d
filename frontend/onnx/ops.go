package onnx

import (
	"maps"
)

// converters is the table of ONNX ops that nasc reads; ops of other domains
// are listed as domain.Op.
var converters = func() map[string]converter {
	all := map[string]converter{}
	for _, m := range []map[string]converter{contractionOps, elementwiseOps, normOps, poolOps, movementOps, shapeOps, recurrentOps, quantizedOps} {
		maps.Copy(all, m)
	}
	return all
}()
