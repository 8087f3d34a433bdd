package secrets

import (
	"bytes"
	"path"
)

// format is a way to write a file that sops knows.
type format string

const (
	formatNone   format = ""
	formatYAML   format = "yaml"
	formatJSON   format = "json"
	formatDotenv format = "dotenv"
	formatINI    format = "ini"
	// formatBinary is any other file: JSON with the file as one string.
	formatBinary format = "binary"
)

// load gives the documents of a file, without sops's metadata, and these flat: see
// flatten.
func (f format) load(content []byte) ([]mapping, map[string]string, error) {
	switch f {
	case formatYAML:
		return loadYAML(content)
	case formatDotenv:
		return loadDotenv(content)
	case formatINI:
		return loadINI(content)
	default:
		return loadJSON(content)
	}
}

// emit writes documents as sops does.
func (f format) emit(documents []mapping) ([]byte, error) {
	switch f {
	case formatYAML:
		return emitYAML(documents)
	case formatDotenv:
		return emitDotenv(documents[0])
	case formatINI:
		return emitINI(documents[0])
	case formatBinary:
		return emitBinary(documents[0])
	default:
		return emitJSON(documents[0])
	}
}

// formatFor is the format of an encrypted file. sops goes by the end of the name; but
// a file may have got another name since (db.env.enc), or may have been encrypted with
// --input-type, and the content tells formats apart. The name is needed where it does
// not: JSON is YAML too, and a JSON file may have one key named data.
func formatFor(name string, content []byte) format {
	found := formatOf(content)
	if found != formatBinary && found != formatJSON {
		return found
	}
	switch path.Ext(name) {
	case ".yaml", ".yml":
		return formatYAML
	case ".json":
		return formatJSON
	default:
		return found
	}
}

// Mark begins each value that sops has encrypted, and so each MAC.
const Mark = "ENC[AES256_GCM,"

// formatOf is the format whose marks an encrypted file has: a value that is encrypted,
// and sops's metadata, with their MAC or the time that is bound to it, at the place and
// in the spelling that sops gives them, or that formatters make of it. A file that
// quotes an encrypted one, indented or as a string, has none. JSON is taken for binary
// if that is how sops wraps it.
func formatOf(content []byte) format {
	if !bytes.Contains(content, []byte(Mark)) {
		return formatNone
	}
	if start := bytes.TrimLeft(content, " \t\r\n\ufeff"); bytes.HasPrefix(start, []byte("{")) {
		return formatOfJSON(content)
	}
	found, section := formatNone, formatNone
	lines(content, func(line []byte) bool {
		switch {
		case bytes.HasPrefix(line, []byte("sops_")) && isMetadata(line, "sops_", "="):
			found = formatDotenv
		case section == formatYAML && indented(line) && isMetadata(line, "", ":"):
			found = formatYAML
		case section == formatINI && isMetadata(line, "", "="):
			found = formatINI
		case isSection(line, "sops:", `"sops":`, "'sops':"):
			section = formatYAML
		case isSection(line, "[sops]"):
			section = formatINI
		case section == formatYAML && len(line) > 0 && line[0] != '#' && !indented(line):
			section = formatNone // the next key
		}
		return found == formatNone
	})
	return found
}

func indented(line []byte) bool {
	return bytes.HasPrefix(line, []byte(" ")) || bytes.HasPrefix(line, []byte("\t"))
}

func isSection(line []byte, names ...string) bool {
	for _, name := range names {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			rest = bytes.TrimSpace(rest)
			return len(rest) == 0 || rest[0] == '#' || rest[0] == '{'
		}
	}
	return false
}

// isMetadata tells whether a line has a MAC, encrypted, or the time, where perhaps a key
// or a value is quoted.
func isMetadata(line []byte, prefix, separator string) bool {
	for name, value := range map[string]string{"mac": Mark, "lastmodified": ""} {
		rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, " \t\"'"), []byte(prefix+name))
		if !ok {
			continue
		}
		rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\"'"), []byte(separator))
		return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t\"'`"), []byte(value))
	}
	return false
}

// formatOfJSON is the format of what begins like JSON.
func formatOfJSON(content []byte) format {
	if !bytes.Contains(content, []byte(`"sops"`)) ||
		!hasMember(content, `"mac"`, `"`+Mark) && !hasMember(content, `"lastmodified"`, `"`) {
		return formatNone
	}
	if documents, flat, err := loadJSON(content); err == nil {
		if len(flat) == 0 {
			return formatNone // it is a part of the file that is encrypted
		}
		if d := documents[0]; len(d) == 1 && d[0].key == "data" {
			if _, ok := d[0].value.(string); ok {
				return formatBinary
			}
		}
	}
	return formatJSON
}

// hasMember tells whether somewhere in JSON a key is followed by a value that begins
// so.
func hasMember(content []byte, key, value string) bool {
	for {
		_, rest, ok := bytes.Cut(content, []byte(key))
		if !ok {
			return false
		}
		content = rest
		if rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":")); ok &&
			bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(value)) {
			return true
		}
	}
}
