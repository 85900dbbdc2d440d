package cpu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// An attention of int8 products is one step, with the reference's bits, where
// nothing else wants its parts; without it on levels that have no kernel.
func TestAttentionPlans(t *testing.T) {
	const whole = "transpose+transpose+transpose+q_dot_general+softmax+uniform_quantize+q_dot_general+transpose"
	masked := strings.Replace(whole, "softmax", "add+softmax", 1)
	text := func(q, extra, softmax, out string) string {
		return fmt.Sprintf(`
graph @g(%%q: u8[2,%s,3,16]<0.05:128>, %%k: s8[2,21,3,16]<0.05:3>, %%v: s8[2,21,3,32]<0.02:-7>, %%m: f32[2,1,1,21], %%n: f32[2,1,%s,21]) {
  %%qt = transpose %%q permutation=[0,2,1,3]
  %%kt = transpose %%k permutation=[0,2,1,3]
  %%vt = transpose %%v permutation=[0,2,1,3]
  %%s = q_dot_general %%qt %%kt out_dtype="f32" transpose_b=true
%s
  %%w = softmax %s
  %%wq = uniform_quantize %%w out_scale=0.00390625 out_zero=0
  %%y = q_dot_general %%wq %%vt out_scale=0.01 out_zero=120
  %%yt = transpose %%y permutation=[0,2,1,3]
  return %%yt%s
}`, q, q, extra, softmax, out)
	}
	for _, c := range []struct{ name, text, ops string }{
		{"plain", text("17", "", "%s", ""), whole},
		{"mask", text("17", "  %a = add %m %s", "%a", ""), masked},
		{"a mask for each query stays outside", text("17", "  %a = add %s %n", "%a", ""), "transpose transpose transpose q_dot_general add softmax uniform_quantize q_dot_general transpose"},
		{"scores that others read", text("17", "", "%s", ", %s"), "transpose transpose transpose q_dot_general softmax uniform_quantize q_dot_general transpose"},
		{"keys that others read", text("17", "", "%s", ", %kt"), strings.Replace("transpose "+whole, "transpose+", "", 1)},
		{"one query", text("1", "", "%s", ""), whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := parse(t, c.text)
			if l, err := isa.Best(); err != nil || !l.Has(isa.VNNI) {
				t.Skip("this CPU has no AVX512-VNNI: attention runs in parts")
			}
			if got := ops(plan(t, g)); got != c.ops {
				t.Errorf("the plan is %q; wanted %q", got, c.ops)
			}
			everyLevel(t, g)
		})
	}
}
