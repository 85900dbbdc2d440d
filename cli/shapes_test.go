package cli_test

import (
	"math/rand/v2"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"

	"github.com/nasc-dev/nasc/internal/onnxpb"
)

// convnet FILE writes an ONNX network whose pictures may have any height and
// width: two convolutions, the mean of what is left, a dense layer.
func convnet(ts *testscript.TestScript, _ bool, args []string) {
	const float = onnxpb.TensorProto_FLOAT
	rng := rand.New(rand.NewPCG(3, 4))
	g := &onnxpb.GraphProto{Name: proto.String("g")}
	weights := func(name string, dims ...int64) string {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() / 3)
		}
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), Dims: dims, DataType: proto.Int32(int32(float)), FloatData: v})
		return name
	}
	node := func(op, out string, in ...string) {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(out), Input: in, Output: []string{out}})
	}
	shape := &onnxpb.TensorShapeProto{}
	for _, name := range []string{"N", "", "H", "W"} {
		d := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
		if name == "" {
			d.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 3}
		}
		shape.Dim = append(shape.Dim, d)
	}
	g.Input = []*onnxpb.ValueInfoProto{{Name: proto.String("x"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(float)), Shape: shape},
	}}}}
	g.Output = []*onnxpb.ValueInfoProto{{Name: proto.String("y")}}
	node("Conv", "c1", "x", weights("w1", 16, 3, 3, 3), weights("b1", 16))
	node("Relu", "r1", "c1")
	node("Conv", "c2", "r1", weights("w2", 32, 16, 3, 3), weights("b2", 32))
	node("Relu", "r2", "c2")
	node("GlobalAveragePool", "p", "r2")
	node("Flatten", "f", "p")
	node("Gemm", "y", "f", weights("w3", 32, 10), weights("b3", 10))
	b, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(13)}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}
