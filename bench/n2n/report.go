package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nasc-dev/nasc/bench/paired"
	"github.com/nasc-dev/nasc/bench/report"
)

// reached is the episode in which a student got a reward, one more than there
// are where none did.
func reached(best []float64, reward float64) int {
	i := slices.IndexFunc(best, func(v float64) bool { return v >= reward })
	if i < 0 {
		i = len(best)
	}
	return i + 1
}

// firstEpisodes of narrowing show with what a policy begins.
const firstEpisodes = 3.0

func mean(episodes []float64, from int) float64 {
	sum := 0.0
	for i := from; i < from+firstEpisodes && i < len(episodes); i++ {
		sum += episodes[i] / firstEpisodes
	}
	return sum
}

// smoothed is the mean of an episode and the two before it.
func smoothed(episodes []float64) []float64 {
	var out []float64
	for i := range episodes {
		part := episodes[max(0, i-2) : i+1]
		sum := 0.0
		for _, v := range part {
			sum += v / float64(len(part))
		}
		out = append(out, sum)
	}
	return out
}

// markdown is the report.
func (b *bench) markdown(first, seeds int) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# N2N: a ResNet's students, and policies that carry over to a larger teacher\n\n%s, %s, one thread a run. `make n2n MNIST=DIR`.\n\n", time.Now().Format(time.DateOnly), report.CPU())
	var list []string
	for _, k := range settingNames {
		list = append(list, fmt.Sprintf("%s %g", k, settings[k]))
	}
	fmt.Fprintf(&w, `Data: MNIST pooled to 14×14. Of the 2,000 pictures of m2k, 1,600 to train on (teachers and students) and 400 to judge by, split by
the seed; what is reported is the accuracy on all 10,000 test pictures, which nothing was chosen by. The teacher is a ResNet-14
(bench/n2n/teacher.toml), the smaller one a ResNet-8 with two thirds of its channels (small-teacher.toml); both are trained anew for each
seed, %.0f epochs of AdamW. "fresh" is N2N on the ResNet-14 by policies that begin with nothing, "carried" the same by those that N2N left on the
ResNet-8; both have the seed, the episodes and all settings in common. Students have at most a tenth of the teacher's
parameters, or are paid less and less (the constrained reward). fresh's best one by the reward on the 400 is trained on once. Cost: the sum over all trainings of steps × batch × (3 × multiplications of a sample, and the teacher's where it is asked);
the answers of the teacher in the short trainings are computed once.

Settings, and what is compared first below, were chosen on two other seeds (101, without a limit and with a larger teacher, and 102)
by MNIST's training pictures 10,000 to 20,000, a thirtieth of which are among the 2,000. The last cuts were made to save time, without
another look: teachers' epochs from 20, episodes from 14 and the last training's share from 0.5 to what follows.
Settings: %s. A reward is C(2−C)·A/A_teacher by the 400, C the share of parameters that is gone.
A student beyond the limit, and what cannot be built, counts 0 in the means below.
`, settings["teacher-epochs"], strings.Join(list, ", "))
	get := func(arm string, seed int) (run, bool) {
		return b.runs.Get(key(run{Arm: arm, Seed: uint64(seed)}))
	}

	fmt.Fprint(&w, "\n## Ten times smaller within a point\n\n| seed | teacher's parameters | student's | times smaller | times fewer MACs | teacher test % | student test % | points lost | judged by % | before its last training % | epochs of it | networks | within the limit | cost | of it the last | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var left []float64
	small, both := 0, 0
	for seed := first; seed < first+seeds; seed++ {
		r, ok := get("fresh", seed)
		if !ok {
			continue
		}
		fmt.Fprintf(&w, "| %d | %.0f | %.0f | %.1f | %.1f | %.2f | %.2f | %+.2f | %.2f | %.2f | %d | %d | %d | %.3g | %.3g | %.0f |\n", r.Seed, r.TeacherParams, r.Params, r.TeacherParams/r.Params, r.TeacherMACs/r.MACs,
			100*r.TeacherTest, 100*r.Test, 100*(r.TeacherTest-r.Test), 100*r.Valid, 100*r.Early, r.Epochs, r.Networks, r.Within, r.Cost+r.LastCost, r.LastCost, r.Seconds)
		left = append(left, 1-100*(r.TeacherTest-r.Test))
		if r.TeacherParams >= 10*r.Params {
			small++
			if r.TeacherTest-r.Test <= 0.01+1e-12 {
				both++
			}
		}
	}
	fmt.Fprintf(&w, "\n%d of %d students are ten times smaller, %d of %d that and within a point of the teacher. What is left of the point, in points: %v\n", small, len(left), both, len(left), paired.Judge(left))

	fmt.Fprintf(&w, `
## A policy carried over

The reward to reach is the greatest that fresh got in all of its episodes, first of all the mean of an episode's students (over three
episodes, as single ones are few), then that of the best student. Reached in episode n; one more than there are: not reached. The
first %.0f episodes take layers away, which alone never reaches the limit; then channels go.

| seed | episodes: reward | fresh | carried | best student: reward | fresh | carried | its own best | first %.0f narrowing episodes, fresh | carried | cost fresh | carried | learning on the small one |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
`, settings["removal"], firstEpisodes)
	var byStudent, byEpisode, begin []float64
	for seed := first; seed < first+seeds; seed++ {
		f, ok1 := get("fresh", seed)
		c, ok2 := get("carried", seed)
		s, ok3 := get("small", seed)
		if !ok1 || !ok2 || !ok3 {
			continue
		}
		student := f.Best[len(f.Best)-1]
		fe, ce := smoothed(f.Episodes), smoothed(c.Episodes)
		episode := slices.Max(fe)
		a, x := reached(f.Best, student), reached(c.Best, student)
		d, y := reached(fe, episode), reached(ce, episode)
		fb, cb := mean(f.Episodes, int(settings["removal"])), mean(c.Episodes, int(settings["removal"]))
		byStudent, byEpisode, begin = append(byStudent, float64(a-x)), append(byEpisode, float64(d-y)), append(begin, cb-fb)
		fmt.Fprintf(&w, "| %d | %.3f | %d | %d | %.3f | %d | %d | %.3f | %.3f | %.3f | %.3g | %.3g | %.3g |\n", seed, episode, d, y, student, a, x, c.Reward, fb, cb, f.Cost, c.Cost, s.Cost)
	}
	fmt.Fprintf(&w, "\n- Episodes that carried takes less, to the reward of an episode: %v\n- Episodes that it takes less, to the reward of the best student: %v\n- Mean reward of the first %.0f narrowing episodes, carried above fresh: %v\n", paired.Judge(byEpisode), paired.Judge(byStudent), firstEpisodes, paired.Judge(begin))
	fmt.Fprint(&w, "\n### Mean reward of each episode\n\n")
	for seed := first; seed < first+seeds; seed++ {
		for _, arm := range []string{"small", "fresh", "carried"} {
			if r, ok := get(arm, seed); ok {
				fmt.Fprintf(&w, "- seed %d, %s:", seed, arm)
				for _, v := range r.Episodes {
					fmt.Fprintf(&w, " %.2f", v)
				}
				fmt.Fprintln(&w)
			}
		}
	}
	return w.String()
}
