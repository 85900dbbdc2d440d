package latency

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Groups get as much time each, until one has no more networks; without groups
// the order is the source's.
func TestOrder(t *testing.T) {
	var src List
	for i := range 6 {
		for _, space := range []string{"slow", "fast"} {
			src = append(src, Work{Name: fmt.Sprintf("%s/%d", space, i)})
		}
	}
	take := func(fair bool) (names []string) {
		o := newOrder(src, fair)
		for range src {
			i := o.next()
			names = append(names, src[i].Name)
			d := time.Second
			if src[i].Name[0] == 's' {
				d *= 3
			}
			o.took(i, d)
		}
		return names
	}
	want := []string{"slow/0", "fast/0", "fast/1", "fast/2", "slow/1", "fast/3", "fast/4", "fast/5", "slow/2", "slow/3", "slow/4", "slow/5"}
	if got := take(true); !slices.Equal(got, want) {
		t.Errorf("the order is %v, wanted %v", got, want)
	}
	for i, name := range take(false) {
		if name != src[i].Name {
			t.Errorf("network %d is %s", i, name)
		}
	}
}

// A network that was given back is taken again, and each is taken once.
func TestOrderBack(t *testing.T) {
	src := List{}
	for _, name := range []string{"a/0", "a/1", "b/0"} {
		src = append(src, Work{Name: name})
	}
	o := newOrder(src, true)
	var got []string
	for range src {
		i := o.next()
		o.took(i, time.Second)
		o.back(i)
		if i = o.next(); src[i].Name == "" {
			t.Fatal("no network")
		}
		o.took(i, time.Second)
		got = append(got, src[i].Name)
	}
	slices.Sort(got)
	if want := []string{"a/0", "a/1", "b/0"}; !slices.Equal(got, want) {
		t.Errorf("taken: %v, wanted %v", got, want)
	}
}
