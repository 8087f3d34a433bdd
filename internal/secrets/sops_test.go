package secrets

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// same checks that a file is decrypted to what sops makes of it.
func (s *sopsCommand) same(t testing.TB, path string, encrypted []byte, keys Keys) {
	t.Helper()
	want, err := s.run("decrypt", path)
	check(t, err)
	s.gives(t, path, encrypted, keys, want)
}

func (s *sopsCommand) gives(t testing.TB, path string, encrypted []byte, keys Keys, want []byte) {
	t.Helper()
	if !Encrypted(encrypted) {
		t.Errorf("%s is not seen to be encrypted", filepath.Base(path))
	}
	got, err := Decrypt(path, encrypted, keys)
	if err != nil {
		t.Errorf("%s: %v\n%s", filepath.Base(path), err, encrypted)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s\nof\n%s", filepath.Base(path), got, want, encrypted)
	}
}

func TestFilesOfAnyFormatAreDecryptedWithAKeyOfAnyKind(t *testing.T) {
	s := newSops(t)
	for kind, keys := range s.keys {
		for _, name := range examples() {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), name)
				_, plain := example(t, name)
				encrypted := s.encrypt(t, path, string(plain), s.to[kind]...)
				s.gives(t, path, encrypted, keys, plain)
			})
		}
	}
}

func TestWhatIsEncryptedIsForTheFileToSay(t *testing.T) {
	s := newSops(t)
	remarked := map[string]string{
		"example.yaml": "# secret below\na:\n    b: hunter2 # for b\n    # more\n    c: 5\nd: x\n# keep\ne: y\nf:\n    # keep\n    - 1\n    - 2\n    # secret\n    - z\n",
		"example.env":  "# secret\n# more\nA=hunter2\nB=x\n# keep\nC=y\n",
		"example.ini":  "; secret\n[a]\nb = hunter2\n; keep\nc = x\n",
	}
	for _, rule := range []string{
		"unencrypted_suffix: _unencrypted",
		"unencrypted_suffix: er",
		"encrypted_suffix: word",
		"unencrypted_regex: '^(hosts|other|DB_.*)$'",
		"encrypted_regex: '^(database|kind.*|data|LINES)$'",
		"unencrypted_comment_regex: 'keep$'",
		"encrypted_comment_regex: secret",
	} {
		for _, only := range []bool{false, true} {
			for _, name := range examples() {
				settings := fmt.Sprintf("%s, mac_only_encrypted: %t", rule, only)
				t.Run(settings+" "+name, func(t *testing.T) {
					t.Parallel()
					path := filepath.Join(t.TempDir(), name)
					_, plain := example(t, name)
					if text, ok := remarked[name]; ok && strings.Contains(rule, "comment") {
						plain = []byte(text)
					}
					encrypted := s.encryptBy(t, path, string(plain), "age: "+s.to["x25519"][1]+", "+settings)
					s.same(t, path, encrypted, s.keys["x25519"])
				})
			}
		}
	}
}

func TestWhatSopsMakesOfADocumentIsMadeOfItHere(t *testing.T) {
	s := newSops(t)
	for name, plain := range map[string]string{
		"empty.yaml":     "a: {}\n",
		"anchors.yaml":   "a: &x\n  k: v # of k\n  l: [1, s]\nb: *x\n",
		"merge.yaml":     "a: &x {k: v}\nb:\n  <<: *x\n  m: 1\nc:\n  <<: [*x, {n: 2}]\n",
		"tags.yaml":      "a: !reset null\nb: !override [1]\nc: !!str 5\nd: !!binary aGVsbG8=\ne_unencrypted: !secret x\n",
		"numbers.yaml":   "a: 9223372036854775807\nb: -9223372036854775808\nc: 1e300\nd: 0x1F\ne: 017\nf: 0o17\ng: 1_000\nh: .5\ni: 123456789012345678901234567890\nj: .inf\nk: .nan\nl: -0.0\nm_unencrypted: 1.50\n",
		"times.yaml":     "a: 2024-01-02\nb: 2024-01-02 03:04:05.678 +01:00\nc_unencrypted: 2024-01-02\nd: '2024-01-02'\n",
		"words.yaml":     "a: yes\nb: no\nc: On\nd: ~\ne:\nf: Null\ng: 'true'\nh: TRUE\ni: y\n",
		"blocks.yaml":    "a: |\n  x\n   y\n\n  z\nb: |-\n  x\nc: |+\n  x\n\nd: >\n  x\n  y\n\n  z\ne: \"a\\tb\\u00e9\\n\"\nf: 'it''s'\ng: \" \"\nh: \"#\"\n",
		"lists.yaml":     "a:\n# one\n- 1 # two\n# three\n- - x\n  # four\n  - y\n  # five\n- # six\n  k: v\n- []\n- {}\n# seven\n# eight\n\n# nine\nb: [] # ten\nc: [x, # eleven\n  y]\n",
		"comments.yaml":  "# one\n\n# two\na: # three\n  # four\n  b: 1 # five\n  # six\n# seven\nc: &x # eight\n  d: 2\n#\n# nine\ne: |  # ten\n  x\nf: *x # eleven\n# twelve\n",
		"documents.yaml": "---\n# one\na: 1\n---\n---\n# two\n---\nb: 2\n# three\n",
		"keys.yaml":      "\"1\": a\n'true': b\n? c\n: d\n\"\": e\n\"a:b\": f\na: {b: g}\n\"é \": h\n",
		"flow.yaml":      "{a: 1, b: {c: [x, y]}, \"d\": z}\n",
		"flow.yml":       "{\"data\": \"hunter2\"}\n",
		"windows.yaml":   "a: 1\r\nb: |\r\n  x\r\n  y\r\n# c\r\n",
		"numbers.json":   `{"a":9007199254740993,"b":1.0,"c":1e40,"d":-0}`,
		"more.json":      `{"a":9007199254740993,"b":1.0,"c":1e21,"d":-0.0,"e":1e-7,"f_unencrypted":12345678901234567890}`,
		"text.json":      `{"":"a","b":"<>&\u2028\ud83d\ude00\u0000","c":"` + "\u00e9" + `","d":[[],[{}],null,""],"e":{"f":{}}}`,
		"data.json":      `{"data":"hunter2"}`,
		"quotes.env":     "A='x'\nB=\"y # z\"\nC=a=b\nD= e \nF=g # h\n#I=j\n# k\n\n\nL=\\n\\\\n\\t\nM=\nN=é\nO=$P${Q:-r}\n",
		"windows.env":    "A=b\r\n# c\r\n",
		"last.env":       "A=b",
		"prefix.env":     "SOPS_A=b\nsop=c\n",
		".env":           "A=hunter2\n",
		"prod.env":       "A=hunter2\n",
		"all.ini":        "a=1\n; x\n\n[b]\nc = \"d e\"\nf: g\nh = `i;j`\nk = l ; m\n# n\n# o\np = q\nr = \"\"\"s\nt\"\"\"\n\n[ u v ]\nw = %(c)s\n[empty]\n",
		"twice.ini":      "[a]\nb = 1\n[a]\nb = 2\n",
		"file.txt":       "hunter2\n",
		"file":           "\x00\xff\xfe\n",
		"key.pem":        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
		"file.env.enc":   "A=hunter2\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			encrypted, err := s.tryEncrypt(t, path, plain, s.to["x25519"]...)
			if err != nil {
				t.Fatalf("no test without a file: %v", err)
			}
			s.same(t, path, encrypted, s.keys["x25519"])
		})
	}
}

func TestATextThatSopsLosesIsNotLost(t *testing.T) {
	s := newSops(t)
	const texts = "- - - a: \"\\thunter2\\nx\"\n      b: \" hunter2\\n\"\n      c: \"\\u2028hunter2\\n\"\n"
	path := filepath.Join(t.TempDir(), "a.yaml")
	got, err := Decrypt(path, s.encrypt(t, path, "top:\n"+texts, s.to["x25519"]...), s.keys["x25519"])
	check(t, err)
	// The layout is sops's, the style of the texts isn't.
	want := "top:\n    - - - a: \"\\thunter2\\nx\"\n            b: \" hunter2\\n\"\n            c: \"\\Lhunter2\\n\"\n"
	if back, _, err := loadYAML(got); err != nil || string(got) != strings.ReplaceAll(want, "            ", "          ") {
		t.Errorf("it is\n%s\n%v, %v\nwant\n%s", got, back, err, want)
	}
}

func TestTheContentTellsTheFormatWhereTheNameDoesNot(t *testing.T) {
	s := newSops(t)
	for _, c := range []struct{ kind, made, named string }{
		{"dotenv", "example.env", "db.env.enc"},
		{"dotenv", "example.env", "secrets"},
		{"yaml", "example.yaml", "values"},
		{"yaml", "example.yaml", "values.conf"},
		{"ini", "example.ini", "php.cnf"},
		{"json", "example.json", "config"},
		{"binary", "example.bin", "prod.env"},
		{"binary", "example.bin", "settings.ini"},
		{"dotenv", "example.env", "odd.yaml"},
	} {
		t.Run(c.kind+" "+c.named, func(t *testing.T) {
			t.Parallel()
			_, plain := example(t, c.made)
			path := filepath.Join(t.TempDir(), c.named)
			encrypted := s.encrypt(t, path, string(plain), append(s.to["x25519"], "--input-type", c.kind, "--output-type", c.kind)...)
			s.gives(t, path, encrypted, s.keys["x25519"], plain)
		})
	}
}

func TestTheDigestStaysWithUpdatekeysAndNotWithAnyChange(t *testing.T) {
	s := newSops(t)
	for _, name := range examples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			_, plain := example(t, name)
			before := s.encrypt(t, path, string(plain), s.to["x25519"]...)
			digest := func() string {
				d, err := Digest(path, readFile(t, path))
				check(t, err)
				return d
			}
			first := digest()

			s.config(t, path, fmt.Sprintf("age: '%s,%s', pgp: %s", s.to["x25519"][1], s.to["hybrid"][1], s.to["pgp"][1]))
			_, err := s.run("updatekeys", "--yes", path)
			check(t, err)
			if bytes.Equal(before, readFile(t, path)) {
				t.Fatal("updatekeys has changed nothing")
			}
			if digest() != first {
				t.Errorf("the digest is another after updatekeys:\n%s\nwas\n%s", readFile(t, path), before)
			}
			for _, kind := range []string{"x25519", "hybrid", "pgp"} {
				s.gives(t, path, readFile(t, path), s.keys[kind], plain)
			}

			_, err = s.run("rotate", "--in-place", path)
			check(t, err)
			if digest() == first {
				t.Error("the digest is the same after rotate, which encrypts all values anew")
			}
			s.gives(t, path, readFile(t, path), s.keys["x25519"], plain)
		})
	}
}

func TestAChangeBySopsChangesTheDigest(t *testing.T) {
	s := newSops(t)
	path := filepath.Join(t.TempDir(), "a.yaml")
	digest := func(encrypted []byte) string {
		d, err := Digest(path, encrypted)
		check(t, err)
		return d
	}
	before := digest(s.encrypt(t, path, "a: 1\nb: x\n", s.to["x25519"]...))
	_, err := s.run("set", path, `["b"]`, `"y"`)
	check(t, err)
	if digest(readFile(t, path)) == before {
		t.Error("another value has the same digest")
	}
}

func TestSeveralGroupsOfKeysAreNotSupported(t *testing.T) {
	s := newSops(t)
	groups := func(kinds ...string) string {
		var all []string
		for _, kind := range kinds {
			all = append(all, "{age: ["+s.to[kind][1]+"]}")
		}
		return fmt.Sprintf("shamir_threshold: %d, key_groups: [%s]", len(kinds), strings.Join(all, ", "))
	}
	for _, name := range examples() {
		_, plain := example(t, name)
		path := filepath.Join(t.TempDir(), name)
		_, err := Decrypt(path, s.encryptBy(t, path, string(plain), groups("x25519", "hybrid")), s.keys["x25519"])
		refused(t, err, Unsupported, "several groups")

		path = filepath.Join(t.TempDir(), name)
		s.gives(t, path, s.encryptBy(t, path, string(plain), groups("x25519")), s.keys["x25519"], plain)
	}
}

func TestWhatSopsFindsChangedIsFoundChanged(t *testing.T) {
	s := newSops(t)
	for name, edit := range map[string]func(string) string{
		"a value in clear added":   func(f string) string { return "new_unencrypted: x\n" + f },
		"a value in clear changed": func(f string) string { return strings.Replace(f, "plain text", "other text", 1) },
		"a value added":            func(f string) string { return "new: x\n" + f },
		"a value made clear":       func(f string) string { return strings.Replace(f, "user: ENC[", "user: E[", 1) },
		"a rule changed": func(f string) string {
			return strings.ReplaceAll(f, "unencrypted_suffix: _unencrypted", "unencrypted_suffix: _clear")
		},
		"the MAC of less": func(f string) string {
			return strings.Replace(f, "    unencrypted_suffix", "    mac_only_encrypted: true\n    unencrypted_suffix", 1)
		},
		"another time":       func(f string) string { return strings.Replace(f, "lastmodified: \"20", "lastmodified: \"21", 1) },
		"a document removed": func(f string) string { return strings.Split(f, "---\nsecond")[0] },
		"a number made text": func(f string) string { return strings.Replace(f, "number: 7", "number: 8", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.yaml")
			_, plain := example(t, "example.yaml")
			before := string(s.encrypt(t, path, string(plain), s.to["x25519"]...))
			after := edit(before)
			if after == before {
				t.Fatal("nothing was changed")
			}
			writeFile(t, path, []byte(after))
			if out, err := s.run("decrypt", path); err == nil {
				t.Fatalf("sops finds nothing: %s", out)
			}
			_, err := Decrypt(path, []byte(after), s.keys["x25519"])
			refused(t, err, Changed)
		})
	}
}

func TestSopsRefusesWhatIsRefusedHere(t *testing.T) {
	s := newSops(t)
	for name, plain := range map[string]string{
		"list.yaml":   "- a\n",
		"scalar.yaml": "a\n",
		"key.yaml":    "1: a\n",
		"null.yaml":   "~: a\n",
		"large.yaml":  "a: 18446744073709551615\n",
		"list.json":   "[1]",
		"line.env":    "A\n",
	} {
		if _, err := s.tryEncrypt(t, s.path(name), plain, s.to["x25519"]...); err == nil {
			t.Errorf("sops encrypts %s", name)
		}
		mark := map[string]string{
			".yaml": "sops:\n  mac: " + Mark + "\n", ".env": "sops_mac=" + Mark + "\n", ".json": "",
		}[filepath.Ext(name)]
		if mark == "" {
			continue // there is no place for metadata
		}
		if _, _, err := formatFor(name, []byte(plain+mark)).load([]byte(plain + mark)); err == nil {
			t.Errorf("%s is read", name)
		} else {
			refused(t, err, Malformed)
		}
	}
}
