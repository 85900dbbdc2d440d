package gopkg

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// blob gathers constants, each at a multiple of 64 bytes.
type blob struct {
	data []byte
	seen map[string]int // contents' place, by address and length
}

// put adds bytes and says where they lie.
func (b *blob) put(x []byte) int {
	key := ""
	if len(x) > 0 {
		key = fmt.Sprintf("%p/%d", &x[0], len(x))
		if at, ok := b.seen[key]; ok {
			return at
		}
	}
	for len(b.data)%64 != 0 {
		b.data = append(b.data, 0)
	}
	at := len(b.data)
	b.data = append(b.data, x...)
	if key != "" {
		b.seen[key] = at
	}
	return at
}

// readers name, by element type, the generated functions that read the blob.
var readers = map[reflect.Kind]string{reflect.Float32: "f32s", reflect.Int32: "i32s", reflect.Int8: "s8s", reflect.Uint8: "u8s"}

// literal writes a specification as a Go expression; numbers of its slices go
// to the blob.
func (b *blob) literal(v reflect.Value) (string, error) {
	switch v.Kind() {
	case reflect.Struct:
		return b.structLiteral(v)
	case reflect.Pointer:
		if v.IsNil() {
			return "nil", nil
		}
		e := v.Elem()
		if e.Kind() == reflect.Array {
			s, err := b.reader(e.Slice(0, e.Len()))
			return fmt.Sprintf("(*[%d]%s)(%s)", e.Len(), e.Type().Elem(), s), err
		}
		s, err := b.literal(e)
		return "&" + s, err
	case reflect.Slice:
		if v.IsNil() {
			return "nil", nil
		}
		if readers[v.Type().Elem().Kind()] != "" && v.Len() > 0 {
			return b.reader(v)
		}
		parts := make([]string, v.Len())
		for i := range parts {
			s, err := b.literal(v.Index(i))
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return v.Type().String() + "{" + strings.Join(parts, ", ") + "}", nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		switch {
		case math.IsInf(f, 0):
			return fmt.Sprintf("%s(math.Inf(%d))", v.Type(), int(math.Copysign(1, f))), nil
		case f != f:
			return fmt.Sprintf("%s(math.NaN())", v.Type()), nil
		case f == 0 && math.Signbit(f):
			return fmt.Sprintf("%s(math.Copysign(0, -1))", v.Type()), nil
		}
		return strconv.FormatFloat(f, 'g', -1, v.Type().Bits()), nil
	case reflect.String:
		return strconv.Quote(v.String()), nil
	}
	return "", fmt.Errorf("gopkg: a specification holds a %v", v.Type())
}

func (b *blob) structLiteral(v reflect.Value) (string, error) {
	var parts []string
	t := v.Type()
	for i := range t.NumField() {
		f := v.Field(i)
		if f.IsZero() && !(f.Kind() == reflect.Float32 && math.Signbit(f.Float())) {
			continue
		}
		if !t.Field(i).IsExported() {
			return "", fmt.Errorf("gopkg: %v has a private field %s", t, t.Field(i).Name)
		}
		s, err := b.literal(f)
		if err != nil {
			return "", err
		}
		parts = append(parts, t.Field(i).Name+": "+s)
	}
	return t.String() + "{" + strings.Join(parts, ", ") + "}", nil
}

// reader puts a slice of numbers into the blob.
func (b *blob) reader(v reflect.Value) (string, error) {
	name := readers[v.Type().Elem().Kind()]
	if name == "" {
		return "", fmt.Errorf("gopkg: a specification holds a %v", v.Type())
	}
	return fmt.Sprintf("%s(%d, %d)", name, b.put(rawSlice(v)), v.Len()), nil
}
