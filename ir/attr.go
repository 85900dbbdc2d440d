package ir

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// AttrKind is the Go type that an attribute holds.
type AttrKind uint8

// The attribute kinds. Dims is a list of dimensions: negative entries are
// multiples of the symbolic batch and are replaced by Specialize.
const (
	Int    AttrKind = iota // int
	Float                  // float64
	Str                    // string
	BoolA                  // bool
	Ints                   // []int
	Floats                 // []float64
	Dims                   // Shape
)

var attrKindNames = []string{"int", "float", "string", "bool", "ints", "floats", "dims"}

// String names the kind for messages.
func (k AttrKind) String() string { return attrKindNames[k] }

// AttrSpec is one attribute of an op. Default nil means required.
type AttrSpec struct {
	Name    string
	Kind    AttrKind
	Default any
	Doc     string
	Enum    []string // the allowed words of a Str, where limited
}

// Attrs are the attributes of a node by name; values have the Go types of
// their kind. Those equal to the op's default need not be set.
type Attrs map[string]any

// Clone copies the map; the values are treated as immutable.
func (a Attrs) Clone() Attrs { return maps.Clone(a) }

func attrEqual(a, b any) bool {
	switch x := a.(type) {
	case []int:
		y, ok := b.([]int)
		return ok && slices.Equal(x, y)
	case Shape:
		y, ok := b.(Shape)
		return ok && slices.Equal(x, y)
	case []float64:
		y, ok := b.([]float64)
		return ok && slices.Equal(x, y)
	}
	return a == b
}

// normAttr brings a value to the Go type of its kind, where it can.
func normAttr(k AttrKind, v any) (any, error) {
	switch k {
	case Int:
		switch x := v.(type) {
		case int:
			return x, nil
		case int64:
			return int(x), nil
		case int32:
			return int(x), nil
		}
	case Float:
		switch x := v.(type) {
		case float64:
			return x, nil
		case float32:
			return float64(x), nil
		case int:
			return float64(x), nil
		}
	case Str:
		switch x := v.(type) {
		case string:
			return x, nil
		case DType:
			return x.String(), nil
		}
	case BoolA:
		if x, ok := v.(bool); ok {
			return x, nil
		}
	case Ints:
		switch x := v.(type) {
		case []int:
			return x, nil
		case Shape:
			return []int(x), nil
		case []int64:
			out := make([]int, len(x))
			for i := range x {
				out[i] = int(x[i])
			}
			return out, nil
		}
	case Dims:
		switch x := v.(type) {
		case Shape:
			return x, nil
		case []int:
			return Shape(x), nil
		}
	case Floats:
		switch x := v.(type) {
		case []float64:
			return x, nil
		case []float32:
			out := make([]float64, len(x))
			for i := range x {
				out[i] = float64(x[i])
			}
			return out, nil
		case []int:
			out := make([]float64, len(x))
			for i := range x {
				out[i] = float64(x[i])
			}
			return out, nil
		}
	}
	return nil, fmt.Errorf("found %T, wanted %v", v, k)
}

func formatAttr(v any) string {
	switch x := v.(type) {
	case int:
		return strconv.Itoa(x)
	case float64:
		return formatF64(x)
	case string:
		return strconv.Quote(x)
	case bool:
		return strconv.FormatBool(x)
	case []int:
		s := make([]string, len(x))
		for i, e := range x {
			s[i] = strconv.Itoa(e)
		}
		return "[" + strings.Join(s, ",") + "]"
	case Shape:
		return x.String()
	case []float64:
		s := make([]string, len(x))
		for i, e := range x {
			s[i] = formatF64(e)
		}
		return "[" + strings.Join(s, ",") + "]"
	}
	return fmt.Sprint(v)
}

// formatF64 prints the shortest form that reads back as the same number and
// always as a float: 1 becomes 1.0.
func formatF64(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
