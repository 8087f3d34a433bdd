package secrets

import (
	"bytes"
	"encoding/json"
)

func loadJSON(content []byte) ([]mapping, map[string]string, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if !json.Valid(content) {
		return nil, nil, fail(Malformed, "the file is not valid JSON")
	}
	l := jsonLoader{decoder: json.NewDecoder(bytes.NewReader(content)), budget: fullBudget}
	value, err := l.value(0)
	if err != nil {
		return nil, nil, err
	}
	m, ok := value.(mapping)
	if !ok {
		return nil, nil, fail(Malformed, "the file is JSON, and is not an object")
	}
	m, value, err = m.without(metadataKey)
	if err != nil {
		return nil, nil, err
	}
	flat := map[string]string{}
	flatten(flat, "", value)
	return []mapping{m}, flat, nil
}

// jsonLoader reads JSON in its order, which encoding/json has no type for. Numbers are
// float64, as for sops, even where that is not all of them.
type jsonLoader struct {
	decoder *json.Decoder
	budget  budget
}

func (l *jsonLoader) value(depth int) (any, error) {
	token, err := l.decoder.Token()
	if err != nil {
		return nil, fail(Malformed, "the file is not valid JSON")
	}
	if err := l.budget.spend(depth, valueCost); err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		m := mapping{}
		for l.decoder.More() {
			key, err := l.decoder.Token()
			name, ok := key.(string)
			if err != nil || !ok {
				return nil, fail(Malformed, "the file is not valid JSON")
			}
			v, err := l.value(depth + 1)
			if err != nil {
				return nil, err
			}
			m = append(m, entry{key: name, value: v})
		}
		return m, l.end()
	case json.Delim('['):
		list := []any{}
		for l.decoder.More() {
			v, err := l.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, l.end()
	default:
		return token, nil
	}
}

func (l *jsonLoader) end() error {
	if _, err := l.decoder.Token(); err != nil {
		return fail(Malformed, "the file is not valid JSON")
	}
	return nil
}

func emitJSON(m mapping) ([]byte, error) {
	var flat, b bytes.Buffer
	err := writeJSON(&flat, m)
	if err == nil {
		err = json.Indent(&b, flat.Bytes(), "", "\t")
	}
	if err != nil { // which may quote a value: NaN
		return nil, fail(Malformed, "the plaintext can't be written as JSON")
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, value any) error {
	switch v := value.(type) {
	case mapping:
		b.WriteByte('{')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, e.key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, e.value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		first := true
		for _, item := range v {
			if _, ok := item.(comment); ok {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			if err := writeJSON(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		b.Write(text)
	}
	return nil
}

// emitBinary gives the file that sops has wrapped in JSON.
func emitBinary(m mapping) ([]byte, error) {
	for _, e := range m {
		if s, ok := e.value.(string); ok && e.key == "data" {
			return []byte(s), nil
		}
	}
	return nil, fail(Malformed, "the file has no data")
}
