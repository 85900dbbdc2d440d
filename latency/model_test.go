package latency

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// conv is the key of an invented pointwise convolution, what it does and what it
// takes: work, traffic, and a staircase of 16 channels.
func conv(hw, in, out int) (Row, float64) {
	key := fmt.Sprintf("q_convolution[strides=[1,1] padding=[0,0,0,0] dilation=[1,1]] | u8[1,%d,%d,%d] w:s8[1,1,%d,%d] -> u8[1,%d,%d,%d] | conv_1x1x%dx%d_gemm_7x64c4", hw, hw, in, in, out, hw, hw, out, hw*hw, in)
	macs, bytes := int64(hw*hw*in*out), int64(hw*hw*(in+out)+in*out)
	t := 0.3 + float64(hw*hw*in*((out+15)/16*16))/4e5 + float64(bytes)/2e4
	return Row{Key: key, Median: t, P10: t, P90: t, Runs: 20, MACs: macs, Bytes: bytes}, t
}

// Kernels that a table lacks are predicted from their family within the interval
// that is given.
func TestFamilyModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	table := &Table{}
	draw := func() (Row, float64) {
		return conv(7<<r.IntN(4), 8+8*r.IntN(40), 8+8*r.IntN(40))
	}
	for range 400 {
		row, _ := draw()
		row.Median *= 1 + 0.02*r.NormFloat64()
		if _, ok := table.Find(row.Key); !ok {
			if err := table.add(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, within, covered, sources := 0, 0, 0, map[string]int{}
	for range 400 {
		row, want := draw()
		e, source, ok := table.kernelTime(row.Key, row.MACs, row.Bytes)
		if !ok {
			t.Fatal("no estimate")
		}
		sources[source]++
		if source == Hit {
			continue
		}
		n++
		if math.Abs(e.t/want-1) < 0.1 {
			within++
		}
		if e.lo <= want && want <= e.hi {
			covered++
		}
	}
	t.Logf("%d not in the table: %d within 10 %%, %d covered; %v", n, within, covered, sources)
	if float64(within) < 0.9*float64(n) || float64(covered) < 0.85*float64(n) || sources[Interpolated] == 0 {
		t.Error("the model is worse than that")
	}
	if _, _, ok := table.kernelTime("tanh | f32[8] -> f32[8] | tanh_f32", 0, 64); ok {
		t.Error("a kernel of another kind has a time")
	}
}

// What whole networks take beside their kernels is learned from them.
func TestCorrection(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	table := &Table{}
	for i := range 60 {
		row, _ := conv(14, 8+8*i, 64)
		if err := table.add(row); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		var uses []Use
		sum, steps := 0.0, 0
		for range 5 + r.IntN(60) {
			u := Use{Row: r.IntN(60), N: 1 + r.IntN(3)}
			u.Time = table.Rows[u.Row].Median
			uses = append(uses, u)
			sum, steps = sum+u.Time*float64(u.N), steps+u.N
		}
		total := 8 + 1.03*sum + 0.06*float64(steps)
		if err := table.add(Row{Key: netKey(fmt.Sprint("net", i), uses), Median: total, P10: total, P90: total, Runs: 20}); err != nil {
			t.Fatal(err)
		}
	}
	c := table.learned().net
	for _, v := range [][2]float64{{100, 20}, {1000, 100}, {3000, 120}} {
		if got, want := c.a+c.b*v[0]+c.c*v[1], 8+1.03*v[0]+0.06*v[1]; math.Abs(got/want-1) > 0.02 {
			t.Errorf("learned %+v: %v for %v", c, got, want)
		}
	}
	if c.off != leastOff || c.nets != 30 {
		t.Errorf("learned %+v", c)
	}
}

// The clock's drift counts, the anchor's noise does not.
func TestDrift(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var still, moved []Net
	for i := range 96 {
		noise := 1 + 0.03*r.NormFloat64()
		still = append(still, Net{Row: Row{Anchor: 16 * noise}})
		clock := 1.0
		if i >= 48 {
			clock = 1.06
		}
		moved = append(moved, Net{Row: Row{Anchor: 16 * noise * clock}})
	}
	if d := drift(still); d > 0.03 {
		t.Errorf("noise of 3 %% drifts by %.3f", d)
	}
	if d := drift(moved); d < 0.025 || d > 0.06 {
		t.Errorf("two clocks 6 %% apart drift by %.3f from their middle", d)
	}
	if d := drift(nil); d != 0 {
		t.Errorf("no networks drift by %v", d)
	}
}

func TestParseKey(t *testing.T) {
	k, err := parseKey("q_convolution[strides=[2,2] padding=[1,1,1,1] groups=72]+q_lookup | u8[1,56,56,72] w:s8[3,3,1,72] w:i32[72] -> u8[1,28,28,72] | depthwise_1x56x56x72_28x28x72_k3x3s2g72_dw_u8s8u8_9x64_avx512vnni")
	if err != nil || k.family != "depthwise convolution" || k.kernel != "depthwise_dw_u8s8u8_avx512vnni" || len(k.ops) != 2 || k.attrs["groups"] != "72" || len(k.w) != 2 {
		t.Errorf("%+v, %v", k, err)
	}
	// Winograd's algorithms have a model of their own: the chain tells nothing of them.
	if f := KeyFamily("convolution[padding=[1,1,1,1] winograd=4] | f32[1,56,56,64] w:f32[3,3,64,64] -> f32[1,56,56,64] | conv_f32_1x56x56x64_56x56x64_k3x3s1g1_winograd4_avx512"); f != "Winograd convolution f32" {
		t.Errorf("family %q", f)
	}
	k, err = parseKey("pad[low=[0,1,0] high=[0,0,0]] |  -> u8[1,197,192] | fill")
	if err != nil || k.family != "pad" || len(k.in) != 0 || len(k.out) != 1 {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := parseKey("nonsense"); err == nil {
		t.Error("nonsense is a key")
	}
}
