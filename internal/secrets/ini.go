package secrets

import (
	"bytes"
	"strings"

	"gopkg.in/ini.v1"
)

func iniOptions() ini.LoadOptions { return ini.LoadOptions{AllowNonUniqueSections: true} }

// loadINI makes a mapping of sections, each of them a mapping of strings. A section's
// comment is its first entry, a key's comment follows the key.
func loadINI(content []byte) ([]mapping, map[string]string, error) {
	file, err := ini.LoadSources(iniOptions(), content)
	if err != nil { // which quotes the line
		return nil, nil, fail(Malformed, "the file is not valid INI")
	}
	var m mapping
	for _, section := range file.Sections() {
		var keys mapping
		remark := func(text string) {
			if text != "" {
				keys = append(keys, entry{comment: true, key: stripSign(text)})
			}
		}
		remark(section.Comment)
		for _, key := range section.Keys() {
			keys = append(keys, entry{key: key.Name(), value: key.Value()})
			remark(key.Comment)
		}
		m = append(m, entry{key: section.Name(), value: keys})
	}
	m, value, err := m.without(metadataKey)
	if err != nil {
		return nil, nil, err
	}
	flat := map[string]string{}
	flatten(flat, "", value)
	for key, v := range flat {
		flat[key] = unescape(v)
	}
	return []mapping{m}, flat, nil
}

// stripSign takes the sign from the first line of a comment; those of further lines
// stay in.
func stripSign(text string) string {
	switch {
	case strings.HasPrefix(text, ";"):
		return strings.TrimLeft(text, "; ")
	case strings.HasPrefix(text, "#"):
		return strings.TrimLeft(text, "# ")
	default:
		return text
	}
}

func emitINI(m mapping) ([]byte, error) {
	broken := fail(Malformed, "the plaintext can't be written as INI")
	file := ini.Empty(iniOptions())
	file.DeleteSection(ini.DefaultSection)
	for _, e := range m {
		section, err := file.NewSection(e.key)
		if err != nil {
			return nil, broken
		}
		keys, ok := e.value.(mapping)
		if !ok {
			return nil, broken
		}
		var last *ini.Key
		for i, k := range keys {
			switch {
			case !k.comment:
				if last, err = section.NewKey(k.key, text(k.value)); err != nil {
					return nil, broken
				}
			case i == 0:
				section.Comment = k.key
			case last != nil:
				last.Comment = k.key
			}
		}
	}
	var b bytes.Buffer
	if _, err := file.WriteTo(&b); err != nil {
		return nil, broken
	}
	return b.Bytes(), nil
}
