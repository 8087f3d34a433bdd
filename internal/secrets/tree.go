package secrets

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A value is nil, a string, an int64, a float64, a bool, a time.Time, a comment, a
// mapping or a []any of values: what sops tells apart.

// comment is the text of a comment behind its sign.
type comment string

// mapping is a document, or a part of one, in its order.
type mapping []entry

// entry is a key with its value, or a comment between two of them.
type entry struct {
	comment bool // then key is its text
	key     string
	value   any
}

// without gives a document without the entry of sops, and that entry's value: nil if
// there is none.
func (m mapping) without(key string) (rest mapping, value any, err error) {
	found := false
	for _, e := range m {
		switch {
		case e.comment || e.key != key:
			rest = append(rest, e)
		case found:
			return nil, nil, fail(Malformed, "the file has sops metadata twice")
		default:
			found, value = true, e.value
		}
	}
	return rest, value, nil
}

// flatten writes a value's leaves as sops does in formats that have no nesting:
// age__list_0__map_recipient. Names that are longer than any of sops's are left out,
// as a deep tree of long keys is a thousand times itself when it is flat.
func flatten(into map[string]string, name string, value any) {
	if len(name) > 200 {
		return
	}
	switch v := value.(type) {
	case nil, comment:
	case mapping:
		for _, e := range v {
			if !e.comment {
				flatten(into, join(name, "__map_", e.key), e.value)
			}
		}
	case []any:
		i := 0
		for _, item := range v {
			if _, ok := item.(comment); ok {
				continue
			}
			flatten(into, name+"__list_"+strconv.Itoa(i), item)
			i++
		}
	default:
		into[name] = text(v)
	}
}

func join(name, separator, key string) string {
	if name == "" {
		return key
	}
	return name + separator + key
}

// text is a scalar as sops writes it where a file has only strings.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		s := strconv.FormatFloat(v, 'G', -1, 64)
		if !strings.ContainsAny(s, ".E") {
			s = strconv.FormatFloat(v, 'f', 1, 64)
		}
		return s
	case time.Time:
		return v.Format(time.RFC3339)
	case nil:
		return "<nil>"
	default:
		return fmt.Sprint(v)
	}
}

// plain is a scalar as it is encrypted, and as it goes into the MAC.
func plain(value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return []byte(v), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64), nil
	case bool:
		if v {
			return []byte("True"), nil // as in Python, in which sops began
		}
		return []byte("False"), nil
	case time.Time:
		b, err := v.MarshalText()
		if err != nil {
			return nil, fail(Malformed, "a timestamp is out of range")
		}
		return b, nil
	default:
		return nil, fail(Malformed, "a value is of an unknown type (%T)", value)
	}
}
