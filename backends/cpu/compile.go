package cpu

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/nasc-dev/nasc/backends"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/ir"
)

// errNoKernel is returned by lowerings that have no kernel for a node's shapes
// or types; the node then runs as a fallback.
var errNoKernel = errors.New("no kernel")

// group is one future step: one or more nodes that a kernel computes at once.
type group struct {
	nodes    []*ir.Node
	main     int       // the node of nodes that gives the kernel its kind
	residual *ir.Value // added to the main node's result
	act      *ir.Node  // the activation that ends the group
	affine   *affine   // or what comes behind it

	in     []*ir.Value // operands in the order the work wants them
	out    []*ir.Value // results
	work   work
	recipe Recipe   // how work was made
	check  checker  // of its operands, where work has one
	eval   *ir.Node // run by evaluation instead

	// alias: the result is the operand's memory from byte aliasAt on; no step.
	alias   bool
	aliasAt []int // one offset for each result

	// inPlace lists operands whose memory the result may take.
	inPlace []int
	// inPlaces is inPlace for each of several results.
	inPlaces [][]int

	rows    *quantizedRows // what a dynamic quantization makes for its readers
	product *rowProduct    // of such rows
	attend  *attendGroup   // an attention of int8 products

	rowGroup *rowGroup // a norm with what stands around it

	parts []*group // what a pointwise group has become one of

	// rest: what another group of the same nodes began is finished here; that
	// one's step counts their multiply-accumulates.
	rest bool

	// expand, where set, are the groups that do this one's work.
	expand []*group

	// dst, where set, is the part of the result's memory that this group
	// writes: a concatenation's parts are groups of their own.
	dst  *ir.Value
	part view // offset and length in dst
	skip bool // the part is computed where it belongs: nothing to do
}

// compiler holds what is known while a graph becomes a plan.
type compiler struct {
	g       *ir.Graph
	level   isa.Level
	kernels map[string]string // named for layers, by label
	single  bool              // only steps of one kernel each, which have recipes
	parts   bool              // float products of computed matrices may go by parts
	uses    map[*ir.Value][]ir.Use
	consts  map[*ir.Value]*ir.Tensor // results of nodes computed at compile time
	groups  []*group

	pointwise int // the least bytes of a tensor that pointwise groups are for
}

// Single compiles to steps of one kernel each, which have recipes: for code
// generation. The bits are the same.
func Single(g *ir.Graph, o backends.Options) (backends.Executable, error) {
	return compile(g, o, true, pointwiseBytes)
}

// compile plans a static graph; pointwise groups are for tensors of least bytes.
func compile(g *ir.Graph, o backends.Options, single bool, least int) (backends.Executable, error) {
	if err := backends.CheckStatic(g); err != nil {
		return nil, err
	}
	level, err := pickLevel(o.ISA)
	if err != nil {
		return nil, err
	}
	c := &compiler{g: g, level: level, kernels: o.Kernels, single: single, parts: o.Parts && !single, uses: g.Uses(), consts: map[*ir.Value]*ir.Tensor{}, pointwise: least}
	if err := c.foldConstants(); err != nil {
		return nil, err
	}
	c.fuse()
	c.lowerAll()
	threads := min(max(o.Threads, 1), maxThreads, runtime.GOMAXPROCS(0))
	if !single {
		c.putPointwise(threads)
		c.putBeside()
	}
	p := c.assemble(threads)
	p.shares = p.threads > 1 && slices.ContainsFunc(p.steps, func(s step) bool { return s.share })
	if p.threads > 1 {
		retainHelpers(p.threads - 1)
	}
	return p, nil
}

func pickLevel(name string) (isa.Level, error) {
	if name == "" {
		return isa.Best()
	}
	l, err := isa.Parse(name)
	if err != nil {
		return l, err
	}
	for _, a := range isa.Available() {
		if a == l {
			return l, nil
		}
	}
	return l, &diag.Error{Place: "instruction set " + name, Found: "this CPU does not have it", Wanted: "one of " + isa.Names(isa.Available()), Fix: "leave the choice to nasc, or take portable"}
}

// constant gives the tensor of a value known at compile time, nil for others.
func (c *compiler) constant(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	if v.Const != nil {
		return v.Const
	}
	return c.consts[v]
}

// foldConstants computes nodes whose operands are all known.
func (c *compiler) foldConstants() error {
	for _, n := range c.g.Nodes {
		in := make([]*ir.Tensor, max(len(n.Inputs), len(n.Op.In)))
		known := true
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			if in[i] = c.constant(v); in[i] == nil {
				known = false
				break
			}
		}
		if !known {
			continue
		}
		out, err := n.Op.Eval(n, in)
		if err != nil {
			return diag.At(n.Op.Name+" "+n.Label(), err)
		}
		for i, v := range n.Outputs {
			c.consts[v] = out[i]
		}
	}
	return nil
}

// lowerAll prepares every group's work, several at once since packing weights
// is most of a cold start. A group that has no kernel is cut into its nodes,
// and those without one fall back.
func (c *compiler) lowerAll() {
	errs := make([]error, len(c.groups))
	var next sync.Mutex
	at := 0
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(c.groups)) {
		wg.Go(func() {
			for {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= len(c.groups) {
					return
				}
				errs[i] = c.lower(c.groups[i])
			}
		})
	}
	wg.Wait()
	var out []*group
	for i, g := range c.groups {
		if errs[i] == nil {
			out = append(out, g.expanded()...)
			continue
		}
		if len(g.nodes) == 1 {
			out = append(out, c.fallback(g.nodes[0]))
			continue
		}
		for _, n := range g.nodes {
			s := &group{nodes: []*ir.Node{n}}
			if c.lower(s) != nil {
				s = c.fallback(n)
			}
			out = append(out, s.expanded()...)
		}
	}
	c.groups = out
}

// expanded gives the groups that do g's work: usually g.
func (g *group) expanded() []*group {
	if g.expand != nil {
		return g.expand
	}
	return []*group{g}
}

func (c *compiler) fallback(n *ir.Node) *group {
	return &group{nodes: []*ir.Node{n}, in: n.Inputs, out: n.Outputs, eval: n}
}

// lower finds the work of a group by its first node's op.
func (c *compiler) lower(g *group) error {
	f := lowerings[g.nodes[g.main].Op.Name]
	if f == nil {
		return errNoKernel
	}
	last := g.nodes[len(g.nodes)-1]
	g.out = last.Outputs
	return f(c, g)
}

// kernelName says how a group runs.
func (g *group) kernelName() string {
	switch {
	case g.work != nil:
		return g.work.Name()
	case g.eval != nil:
		return "eval"
	}
	return "none"
}

// info describes the group's step.
func (g *group) info() backends.Step {
	s := backends.Step{Nodes: g.nodes, Label: g.nodes[0].Label(), Kernel: g.kernelName(), Fallback: g.eval != nil}
	// A norm's step is its block's, though the sum before it is the last block's.
	if g.attend != nil || g.rowGroup != nil {
		s.Label = g.nodes[g.main].Label()
	}
	if g.parts != nil {
		g.pointwiseInfo(&s)
		return s
	}
	ops := make([]string, len(g.nodes))
	inner := map[*ir.Value]bool{}
	for i, n := range g.nodes {
		ops[i] = n.Op.Name
		if !g.rest {
			s.MACs += n.Op.MACs(n)
		}
		for _, v := range n.Outputs {
			if i < len(g.nodes)-1 && !slices.Contains(g.out, v) {
				inner[v] = true
			} else {
				s.Bytes += v.Type.Bytes()
			}
		}
	}
	read := map[*ir.Value]bool{}
	for _, n := range g.nodes {
		for _, v := range n.Inputs {
			if v != nil && !inner[v] && !read[v] && !slices.Contains(g.out, v) {
				s.Bytes += v.Type.Bytes()
				read[v] = true
			}
		}
	}
	s.Op = strings.Join(ops, "+")
	return s
}
