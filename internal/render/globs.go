package render

import (
	"slices"
	"strings"
)

// glob is a pattern in the syntax of .gitignore. go-git's own matcher does not know
// [!x], \ and a ** that needs a second try, so it is not used.
type glob struct {
	tokens   []token
	plain    string // the pattern, if nothing in it is special
	anywhere bool   // it has no slash, and is for the last part of a path
	negated  bool   // !pattern: what matches counts after all
	folder   bool   // pattern/: folders only
}

// token matches a part of a path.
type token struct {
	kind kind
	set  [256]bool // of one
}

type kind int

const (
	one  kind = iota // a byte of the set
	some             // *: any number of bytes, but no slash
	dirs             // **/: nothing, or all up to a slash
	deep             // ** at the end: anything
)

// special are the characters that do not stand for themselves.
const special = `*?[\`

// parseGlobs reads a .gitopsignore. What can never match is left out.
func parseGlobs(text string) []glob {
	var out []glob
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if g, ok := parseGlob(line); ok && !strings.HasPrefix(line, "#") {
			out = append(out, g)
		}
	}
	return out
}

// parseGlob reads one pattern; a blank one is none.
func parseGlob(line string) (g glob, ok bool) {
	line = trimBlanks(line)
	line, g.negated = strings.CutPrefix(line, "!")
	line, g.folder = strings.CutSuffix(line, "/")
	g.anywhere = !strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if !strings.ContainsAny(line, special) {
		g.plain = line
		return g, line != ""
	}
	begin := 0 // git matches what is before the first wildcard on its own, so that ** is then at a beginning
	if !g.anywhere {
		begin = strings.IndexAny(line, special)
	}
	for i := 0; i < len(line); {
		t, n := tokenOf(line, i, i == begin)
		if n == 0 {
			return g, false
		}
		g.tokens = append(g.tokens, t)
		i += n
	}
	return g, len(g.tokens) > 0
}

// trimBlanks takes blanks off the end, but for one that is escaped.
func trimBlanks(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' && i+1 < len(line) {
			i++
		} else if line[i] == ' ' {
			continue
		}
		end = i + 1
	}
	return line[:end]
}

// tokenOf reads the token at a place of a pattern, and how long it is there; 0 if
// the pattern is broken. A part of a path begins behind a slash, or where told.
func tokenOf(pattern string, at int, begins bool) (t token, n int) {
	rest := pattern[at:]
	switch rest[0] {
	case '*':
		after := strings.TrimLeft(rest, "*")
		n = len(rest) - len(after)
		switch begins = begins || at > 0 && pattern[at-1] == '/'; {
		case n > 1 && begins && after == "":
			return token{kind: deep}, n
		case n > 1 && begins && after[0] == '/':
			return token{kind: dirs}, n + 1
		default:
			return token{kind: some}, n
		}
	case '?':
		for c := range t.set {
			t.set[c] = c != '/'
		}
		return t, 1
	case '[':
		return setOf(rest)
	}
	c, n := literal(rest)
	t.set[c] = true
	return t, n
}

// literal reads a byte that stands for itself, and how long it is; 0 if there is
// none.
func literal(text string) (c byte, n int) {
	switch {
	case text == "" || text == `\`:
		return 0, 0
	case text[0] == '\\':
		return text[1], 2
	default:
		return text[0], 1
	}
}

// setOf reads a set in brackets, and how long it is; 0 if it is broken. A slash is in
// none.
func setOf(text string) (t token, n int) {
	i := 1
	negated := len(text) > 1 && (text[1] == '!' || text[1] == '^')
	if negated {
		i++
	}
	for begin := i; i < len(text); {
		if text[i] == ']' && i > begin {
			for c := range t.set {
				t.set[c] = t.set[c] != negated && c != '/'
			}
			return t, i + 1
		}
		if strings.HasPrefix(text[i:], "[:") {
			name, _, ended := strings.Cut(text[i+2:], "]")
			if name, colon := strings.CutSuffix(name, ":"); ended && colon {
				if !t.addClass(name) {
					return t, 0
				}
				i += len(name) + 4
				continue
			}
		}
		from, width := literal(text[i:])
		if width == 0 {
			return t, 0
		}
		i += width
		to := from
		if i+1 < len(text) && text[i] == '-' && text[i+1] != ']' {
			if to, width = literal(text[i+1:]); width == 0 {
				return t, 0
			}
			i += 1 + width
		}
		t.set[from] = true // also where the range is none
		for c := int(from); c <= int(to); c++ {
			t.set[c] = true
		}
	}
	return t, 0
}

// addClass adds a class such as digit; false if there is none of that name.
func (t *token) addClass(name string) bool {
	classes := map[string]func(c byte) bool{
		"digit":  func(c byte) bool { return '0' <= c && c <= '9' },
		"lower":  func(c byte) bool { return 'a' <= c && c <= 'z' },
		"upper":  func(c byte) bool { return 'A' <= c && c <= 'Z' },
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"space":  func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' },
		"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
		"print":  func(c byte) bool { return ' ' <= c && c < 0x7f },
		"graph":  func(c byte) bool { return ' ' < c && c < 0x7f },
		"alpha":  func(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' },
		"xdigit": func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' },
	}
	classes["alnum"] = func(c byte) bool { return classes["alpha"](c) || classes["digit"](c) }
	classes["punct"] = func(c byte) bool { return classes["graph"](c) && !classes["alnum"](c) }
	is, ok := classes[name]
	for c := range t.set {
		t.set[c] = t.set[c] || ok && is(byte(c))
	}
	return ok
}

// matches says whether it is a pattern of a path of the repository.
func (g glob) matches(p string) bool {
	if g.anywhere {
		p = p[strings.LastIndexByte(p, '/')+1:]
	}
	if g.plain != "" {
		return p == g.plain
	}
	// reached are the places in the path that the tokens so far can end at.
	reached := make([]bool, len(p)+1)
	reached[0] = true
	for _, t := range g.tokens {
		next := make([]bool, len(p)+1)
		begun := false // at some place before
		for i := range next {
			switch t.kind {
			case one:
				next[i] = i > 0 && reached[i-1] && t.set[p[i-1]]
			case some:
				next[i] = reached[i] || i > 0 && next[i-1] && p[i-1] != '/'
			case dirs:
				next[i] = reached[i] || begun && p[i-1] == '/'
			case deep:
				next[i] = reached[i] || begun
			}
			begun = begun || reached[i]
		}
		reached = next
	}
	return reached[len(p)]
}

// ignored says whether a file is left out: the last pattern that matches it
// decides, and what is in a folder that is left out can't be brought back.
func ignored(globs []glob, file string) bool {
	for i := 0; i <= len(file); i++ {
		folder := i < len(file)
		if folder && file[i] != '/' {
			continue
		}
		for _, g := range slices.Backward(globs) {
			if (folder || !g.folder) && g.matches(file[:i]) {
				if !g.negated {
					return true
				}
				break
			}
		}
	}
	return false
}
