// Package paired is what comparisons over seeds share: a file of finished runs,
// so that a comparison that was stopped goes on, work on several cores, and the
// verdict on paired differences.
package paired

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/gofrs/flock"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Runs is a file of finished runs, one JSON object a line.
type Runs[T any] struct {
	mu   sync.Mutex
	file *os.File
	lock *flock.Flock
	done map[string]T
	key  func(T) string
}

// Open reads the finished runs, and keeps other processes from the file till
// Close. A torn last line is dropped.
func Open[T any](path string, key func(T) string) (_ *Runs[T], err error) {
	r := &Runs[T]{done: map[string]T{}, key: key, lock: flock.New(path + ".lock")}
	if got, err := r.lock.TryLock(); err != nil {
		return nil, err
	} else if !got {
		return nil, &diag.Error{Place: path, Found: "another process at work on it", Wanted: "one at a time", Fix: "wait for it, or name another file"}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.lock.Close())
		}
	}()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := 0
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<24)
	for n := 1; s.Scan(); n++ {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			if whole+len(s.Bytes()) == len(b) {
				break
			}
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if whole += len(s.Bytes()) + 1; whole > len(b) {
			whole = len(b) - len(s.Bytes()) // written but for its end
			break
		}
		r.done[key(v)] = v
	}
	if r.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	if err := r.file.Truncate(int64(whole)); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	_, err = r.file.Seek(int64(whole), 0)
	return r, err
}

// Get gives a finished run.
func (r *Runs[T]) Get(key string) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.done[key]
	return v, ok
}

// All gives the finished runs in the order of their keys.
func (r *Runs[T]) All() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []T
	for _, k := range slices.Sorted(maps.Keys(r.done)) {
		out = append(out, r.done[k])
	}
	return out
}

// Add keeps a run.
func (r *Runs[T]) Add(v T) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[r.key(v)] = v
	_, err = r.file.Write(append(b, '\n'))
	return errors.Join(err, r.file.Sync())
}

// Close closes the file.
func (r *Runs[T]) Close() error { return errors.Join(r.file.Close(), r.lock.Close()) }

// Each does n pieces of work, jobs at once, until one fails.
func Each(ctx context.Context, n, jobs int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for range max(1, min(jobs, n)) {
		wg.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					cancel()
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	if first == nil {
		return ctx.Err()
	}
	return first
}

// Verdict is what paired differences say.
type Verdict struct {
	Mean, Low, High float64 // mean, and its 95 % interval by Student's t
	Right, N        int     // how many are above 0
	Pass            bool    // all five or more are above 0, or the interval is
}

// Judge judges differences that ought to be above 0.
func Judge(differences []float64) Verdict {
	v := Verdict{N: len(differences)}
	for _, d := range differences {
		if d > 0 {
			v.Right++
		}
	}
	if v.N < 2 {
		v.Low, v.High = math.Inf(-1), math.Inf(1)
		return v
	}
	mean, sd := stat.MeanStdDev(differences, nil)
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(v.N - 1)}.Quantile(0.975) * sd / math.Sqrt(float64(v.N))
	v.Mean, v.Low, v.High = mean, mean-half, mean+half
	v.Pass = v.N >= 5 && (v.Right == v.N || v.Low > 0)
	return v
}

func (v Verdict) String() string {
	s := "not shown"
	if v.Pass {
		s = "holds"
	}
	return fmt.Sprintf("%s: mean %+.2f, 95 %% interval %+.2f to %+.2f, %d of %d above 0", s, v.Mean, v.Low, v.High, v.Right, v.N)
}

// Median gives the median, 0 of no numbers.
func Median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
