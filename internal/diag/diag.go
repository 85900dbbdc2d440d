// Package diag holds nasc's one error form: where, what was found, what was
// wanted, what to do. It owns no policy and imports only the standard library,
// so that every other package can return its errors.
package diag

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a fault in something the user gave: a file, a flag, a graph.
// It prints as "place: found; wanted; fix", leaving out what is empty.
type Error struct {
	Place  string // file:line:col, node name, flag
	Found  string // what is there
	Wanted string // what should be there
	Fix    string // what to do about it
	Err    error  // the cause, where there is one
	// Unmet says that what was given is sound: a run of it came out otherwise
	// than it must, such as a training whose loss is not finite.
	Unmet bool
}

// ErrUnmet is what an error is, by errors.Is, where it or one in it has Unmet.
var ErrUnmet = errors.New("it ran, and did not come out as it must")

// Is finds Unmet.
func (e *Error) Is(target error) bool { return target == ErrUnmet && e.Unmet }

// Error prints the parts that are set.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Place != "" {
		b.WriteString(e.Place)
		b.WriteString(": ")
	}
	b.WriteString(e.Found)
	if e.Err != nil {
		if e.Found != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Wanted != "" {
		b.WriteString("; wanted ")
		b.WriteString(e.Wanted)
	}
	if e.Fix != "" {
		b.WriteString("; ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose Found is the formatted text.
func Errorf(place, format string, args ...any) *Error {
	return &Error{Place: place, Found: fmt.Sprintf(format, args...)}
}

// At puts a place in front of err: a diag.Error without a place gets it, any
// other error is wrapped. A nil err stays nil.
func At(place string, err error) error {
	if err == nil {
		return nil
	}
	var d *Error
	if errors.As(err, &d) && d == err && d.Place == "" {
		c := *d
		c.Place = place
		return &c
	}
	var l List
	if errors.As(err, &l) {
		out := make(List, len(l))
		for i, e := range l {
			out[i] = At(place, e)
		}
		return out
	}
	return &Error{Place: place, Err: err}
}

// List is several errors of one run, printed a line each.
type List []error

// Error prints one error a line.
func (l List) Error() string {
	s := make([]string, len(l))
	for i, e := range l {
		s[i] = e.Error()
	}
	return strings.Join(s, "\n")
}

// Unwrap gives the errors to errors.Is and errors.As.
func (l List) Unwrap() []error { return l }

// Add appends err where it is not nil.
func (l *List) Add(err error) {
	if err != nil {
		*l = append(*l, err)
	}
}

// Err gives nil for an empty list.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}
