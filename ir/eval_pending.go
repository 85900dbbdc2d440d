package ir

import "fmt"

func errPending(n *Node) error { return fmt.Errorf("%s has no evaluation yet", n.Op.Name) }

func evalConvolution(n *Node, in []*Tensor) ([]*Tensor, error)          { return nil, errPending(n) }
func evalConvolutionTranspose(n *Node, in []*Tensor) ([]*Tensor, error) { return nil, errPending(n) }
func evalDot(n *Node, in []*Tensor) ([]*Tensor, error)                  { return nil, errPending(n) }
func evalDotGeneral(n *Node, in []*Tensor) ([]*Tensor, error)           { return nil, errPending(n) }
func evalBinary(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalCompare(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalSelect(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalLogical(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalNot(n *Node, in []*Tensor) ([]*Tensor, error)                  { return nil, errPending(n) }
func evalUnary(n *Node, in []*Tensor) ([]*Tensor, error)                { return nil, errPending(n) }
func evalPRelu(n *Node, in []*Tensor) ([]*Tensor, error)                { return nil, errPending(n) }
func evalIsNaN(n *Node, in []*Tensor) ([]*Tensor, error)                { return nil, errPending(n) }
func evalConvert(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalSoftmax(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalBatchNorm(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
func evalLayerNorm(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
func evalRMSNorm(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalGroupNorm(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
func evalInstanceNorm(n *Node, in []*Tensor) ([]*Tensor, error)         { return nil, errPending(n) }
func evalMaxPool(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalAveragePool(n *Node, in []*Tensor) ([]*Tensor, error)          { return nil, errPending(n) }
func evalReduce(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalArgMax(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalConcatenate(n *Node, in []*Tensor) ([]*Tensor, error)          { return nil, errPending(n) }
func evalSlice(n *Node, in []*Tensor) ([]*Tensor, error)                { return nil, errPending(n) }
func evalPad(n *Node, in []*Tensor) ([]*Tensor, error)                  { return nil, errPending(n) }
func evalReshape(n *Node, in []*Tensor) ([]*Tensor, error)              { return nil, errPending(n) }
func evalTranspose(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
func evalBroadcast(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
func evalGather(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalSplit(n *Node, in []*Tensor) ([]*Tensor, error)                { return nil, errPending(n) }
func evalResize(n *Node, in []*Tensor) ([]*Tensor, error)               { return nil, errPending(n) }
func evalIota(n *Node, in []*Tensor) ([]*Tensor, error)                 { return nil, errPending(n) }
func evalLSTM(n *Node, in []*Tensor) ([]*Tensor, error)                 { return nil, errPending(n) }
func evalGRU(n *Node, in []*Tensor) ([]*Tensor, error)                  { return nil, errPending(n) }
func evalAttention(n *Node, in []*Tensor) ([]*Tensor, error)            { return nil, errPending(n) }
