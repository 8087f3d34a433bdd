package secrets

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRandomDocumentsAreDecryptedAsSopsDoes has sops encrypt random documents by random
// rules, and compares what it decrypts with what is decrypted here.
func TestRandomDocumentsAreDecryptedAsSopsDoes(t *testing.T) {
	s := newSops(t)
	rounds := 6 // of each format
	if os.Getenv("EXHAUSTIVE") != "" {
		rounds = 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(rounds) {
		for name, document := range map[string]func(*random) string{
			"a.yaml": (*random).yaml, "a.json": (*random).json, "a.env": (*random).dotenv, "a.ini": (*random).ini, "a.bin": (*random).text,
		} {
			t.Run(fmt.Sprintf("%s %d", name, round), func(t *testing.T) {
				t.Parallel()
				r := &random{Rand: rand.New(rand.NewPCG(seed, round))}
				if name == "a.yaml" {
					r.blocks = true
				}
				plain := document(r)
				path := filepath.Join(t.TempDir(), name)
				rule := fmt.Sprintf("age: %s, mac_only_encrypted: %t", s.to["x25519"][1], r.IntN(3) == 0)
				if name != "a.bin" {
					rule += ", " + r.rule()
				}
				encrypted := s.encryptBy(t, path, plain, rule)
				want, err := s.run("decrypt", path)
				if err == nil {
					s.gives(t, path, encrypted, s.keys["x25519"], want)
					return
				}
				if got, ours := Decrypt(path, encrypted, s.keys["x25519"]); ours == nil {
					t.Errorf("sops fails: %v\nhere it is\n%s\nof\n%s", err, got, encrypted)
				}
			})
		}
	}
}

type random struct {
	*rand.Rand
	// blocks: no text of several lines begins with white space, as sops writes some of
	// these so that they can't be read back.
	blocks bool
}

func (r *random) rule() string {
	return pick(r, "unencrypted_suffix: _u", "unencrypted_suffix: e", "encrypted_suffix: y", "unencrypted_regex: '^[a-m]'", "encrypted_regex: '[s-z]$'",
		"unencrypted_comment_regex: '^ ?clear'", "encrypted_comment_regex: '^ ?hide'")
}

func pick[T any](r *random, of ...T) T { return of[r.IntN(len(of))] }

func (r *random) word() string {
	return pick(r, "user", "name", "key", "x", "y_u", "my key", "on", "é", "a.b", "KEY", "sop", "data") + pick(r, "", fmt.Sprint(r.IntN(100)))
}

func (r *random) text() string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString(pick(r, "a", "word", " ", "\n", "\t", "é", "😀", "=", ":", ": ", "#", " #", "'", `"`, `\`, `\n`, "-", "- ", "{", "]", "%", "$", "&a", "*a", "!", "|", ">", "0", "7", ",", "ENC[", "\u2028", "<", "`", ";", "\r", "\u00a0"))
	}
	if r.blocks {
		return strings.TrimSpace(b.String())
	}
	return b.String()
}

// TestWhatIsWrittenAsYAMLIsReadBack needs no sops: what is decrypted must not change on
// its way into a file, whatever the encoder makes of it.
func TestWhatIsWrittenAsYAMLIsReadBack(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(500) {
		r := &random{Rand: rand.New(rand.NewPCG(seed, round))}
		m := r.mapping(5, round%2 == 0)
		out, err := emitYAML([]mapping{m})
		check(t, err)
		back, _, err := loadYAML(out)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		if got, want := fmt.Sprintf("%#v", values(back[0])), fmt.Sprintf("%#v", values(m)); got != want {
			t.Fatalf("round %d: read back it is\n%s\nwas\n%s\nin\n%s", round, got, want, out)
		}
	}
}

// values are those of a value without the comments in it.
func values(value any) any {
	switch v := value.(type) {
	case mapping:
		rest := mapping{}
		for _, e := range v {
			if !e.comment {
				rest = append(rest, entry{key: e.key, value: values(e.value)})
			}
		}
		return rest
	case []any:
		rest := []any{}
		for _, item := range v {
			if _, ok := item.(comment); !ok {
				rest = append(rest, values(item))
			}
		}
		return rest
	default:
		return v
	}
}

func (r *random) scalar() any {
	return pick[any](r, r.text(), r.text(), r.text(), nil, true, false, int64(r.Uint64()), int64(r.IntN(100)), r.NormFloat64(), float64(r.IntN(9)),
		"", "true", "null", "12", "1.5", "2024-01-02", "~", "0x1f", "<<", time.Unix(r.Int64N(1<<33), 0).UTC())
}

func (r *random) comment() string {
	return pick(r, " clear", "hide", " hide", "", " a: b", "#", " é # x")
}

// mapping has comments only where sops does not make one of them another's: it takes
// comments at the ends of nested lists for those of what comes next.
func (r *random) mapping(depth int, comments bool) mapping {
	m, keys := mapping{}, map[string]bool{}
	for range r.IntN(5) + 1 {
		if comments && r.IntN(3) == 0 {
			m = append(m, entry{comment: true, key: r.comment()})
		}
		key := r.word()
		if !keys[key] {
			m = append(m, entry{key: key, value: r.value(depth-1, comments)})
		}
		keys[key] = true
	}
	return m
}

func (r *random) value(depth int, comments bool) any {
	switch {
	case depth > 0 && r.IntN(4) == 0:
		return r.mapping(depth, comments)
	case depth > 0 && r.IntN(4) == 0:
		list := []any{}
		for range r.IntN(4) {
			if comments && r.IntN(4) == 0 {
				list = append(list, comment(r.comment()))
			}
			list = append(list, r.value(depth-1, comments))
		}
		return list
	default:
		return r.scalar()
	}
}

func (r *random) yaml() string {
	var documents []mapping
	for range r.IntN(3) + 1 {
		documents = append(documents, r.mapping(5, true))
	}
	out, err := emitYAML(documents)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func (r *random) json() string {
	out, err := emitJSON(r.mapping(5, false))
	if err != nil {
		panic(err)
	}
	return string(out)
}

func (r *random) dotenv() string {
	var b strings.Builder
	for range r.IntN(12) + 1 {
		switch r.IntN(5) {
		case 0:
			b.WriteString("#" + r.comment() + "\n")
		case 1:
			b.WriteString(pick(r, "\n", "\n\n"))
		default:
			b.WriteString(r.word() + "=" + strings.ReplaceAll(r.text(), "\n", `\n`) + "\n")
		}
	}
	return b.String() + "LAST=x\n"
}

func (r *random) ini() string {
	var b strings.Builder
	for i := range r.IntN(4) + 1 {
		if i > 0 || r.IntN(2) == 0 {
			fmt.Fprintf(&b, "[section%d]\n", i)
		}
		for j := range r.IntN(5) + 1 {
			if r.IntN(3) == 0 {
				// sops panics on an empty one.
				b.WriteString(pick(r, "; ", "# ", "#") + pick(r, "clear", "hide", "a = b", "é # x") + "\n")
			}
			value := strings.NewReplacer("\n", "", "\r", "", `"`, "", "`", "", `\`, "", "\u2028", "").Replace(r.text())
			fmt.Fprintf(&b, "%s%d %s %s\n", pick(r, "key", "user", "y"), j, pick(r, "=", ":"), pick(r, value, `"`+value+`"`, "`"+value+"`"))
		}
	}
	return b.String()
}
