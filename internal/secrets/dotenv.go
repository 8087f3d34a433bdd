package secrets

import (
	"bytes"
	"strings"
)

const dotenvPrefix = metadataKey + "_"

// loadDotenv reads lines of key=value, with \n for a line's end in a value, and of
// comments, which begin with their sign. It knows no quotes: they are in the value, and
// are there again when it is written.
func loadDotenv(content []byte) ([]mapping, map[string]string, error) {
	var m mapping
	flat := map[string]string{}
	for i, line := range bytes.Split(content, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if line[0] == '#' {
			m = append(m, entry{comment: true, key: string(line[1:])})
			continue
		}
		key, value, ok := strings.Cut(string(line), "=")
		if !ok {
			return nil, nil, fail(Malformed, "line %d is neither KEY=VALUE nor a comment", i+1)
		}
		value = unescape(value)
		name, ours := strings.CutPrefix(key, dotenvPrefix)
		if !ours {
			m = append(m, entry{key: key, value: value})
		} else if _, twice := flat[name]; twice {
			return nil, nil, fail(Malformed, "the file has sops metadata twice")
		} else {
			flat[name] = unescape(value)
		}
	}
	return []mapping{m}, flat, nil
}

func unescape(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }

func emitDotenv(m mapping) ([]byte, error) {
	var b bytes.Buffer
	for _, e := range m {
		if e.comment {
			b.WriteString("#" + e.key + "\n")
		} else {
			b.WriteString(e.key + "=" + strings.ReplaceAll(text(e.value), "\n", `\n`) + "\n")
		}
	}
	return b.Bytes(), nil
}
