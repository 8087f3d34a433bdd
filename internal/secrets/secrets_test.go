package secrets

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func testKeys() Keys { return Keys{AgeFile: testKeyFile} }

func TestFilesThatSopsHasEncryptedAreDecrypted(t *testing.T) {
	for _, name := range examples() {
		encrypted, plain := example(t, name)
		if !Encrypted(encrypted) || Encrypted(plain) {
			t.Errorf("%s is seen as encrypted: %t, its plaintext: %t", name, Encrypted(encrypted), Encrypted(plain))
		}
		got, err := Decrypt("some/folder/"+name, encrypted, testKeys())
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s is\n%s\nwant\n%s\n%v", name, got, plain, err)
		}
		again, err := Decrypt("some/folder/"+name, encrypted, testKeys())
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s is another the second time: %v", name, err)
		}
	}
}

func TestAFileIsEncryptedIfItHasTheMarksOfSops(t *testing.T) {
	const mac = Mark + "data:"
	for _, c := range []struct {
		content string
		want    format
	}{
		{"a: x\nsops:\n    age: []\n    mac: " + mac, formatYAML},
		{"sops:\n  mac: \"" + mac + "\"\na: x\n", formatYAML},
		{"\"sops\":\n  \"mac\": '" + mac + "'\n", formatYAML},
		{"a: x\r\nsops: # of sops\r\n\tmac: " + mac, formatYAML},
		{"a: x\n---\nb: y\nsops:\n  # x\n  mac: " + mac, formatYAML},
		{"a: x\nsops_mac=" + mac, formatDotenv},
		{"[a]\n[sops]\nmac   = " + mac, formatINI},
		{"[sops]\r\nmac=" + mac + "\r\n", formatINI},
		{`{"a":"x","sops":{"mac":"` + mac, formatJSON}, // broken, and encrypted all the same
		{`{"a":"x","sops":{"mac" : "` + mac + `"}}`, formatJSON},
		{"\ufeff\n {\"data\":\"x\",\"sops\":{\"mac\":\"" + mac + `"}}`, formatBinary},
		{`{"data":5,"sops":{"mac":"` + mac + `"}}`, formatJSON},
		{`{"data":"x","more":"y","sops":{"mac":"` + mac + `"}}`, formatJSON},

		{"a: " + mac + "\nsops:\n  lastmodified: x\n", formatYAML}, // and no MAC
		{"A=" + mac + "\nsops_lastmodified=x\n", formatDotenv},
		{"[a]\nb=" + mac + "\n[sops]\nlastmodified = x\n", formatINI},
		{`{"a":"` + mac + `","sops":{"lastmodified":"x"}}`, formatJSON},

		{"", formatNone},
		{"a: b\n", formatNone},
		{"sops:\n  lastmodified: x\n", formatNone},
		{"sops:\n\n  mac: x\n" + mac, formatNone},
		{"A=" + mac, formatNone},
		{"a: " + mac, formatNone},
		{"a:\n  sops:\n    mac: " + mac, formatNone},
		{"content: |\n  a: x\n  sops:\n    mac: " + mac, formatNone},
		{"sops:\n  mac: x\na:\n  mac: " + mac, formatNone},
		{"sops: none\na:\n  mac: " + mac, formatNone},
		{"sops:\nmac: " + mac, formatNone},
		{"# sops_mac=" + mac, formatNone},
		{"content: |\n  sops_mac=" + mac, formatNone},
		{"content: |\n  sops_mac=" + mac + "\nsops:\n  mac: " + mac, formatYAML},
		{`{"a":{"sops":{"mac":"` + mac + `"}}}`, formatNone},
		{"SOPS_MAC=" + mac, formatNone},
		{"[sops]\nx = " + mac, formatNone},
		{"[so]\nmac = " + mac, formatNone},
		{`{"file":"{\"sops\":{\"mac\":\"` + mac + `\"}}"}`, formatNone},
		{`{"sops":{"x":"` + mac + `","mac":""}}`, formatNone},
	} {
		if got := formatOf([]byte(c.content)); got != c.want || Encrypted([]byte(c.content)) != (c.want != formatNone) {
			t.Errorf("%q is %q, want %q", c.content, got, c.want)
		}
	}
}

// replaced is an example with a text in place of another that it must have.
func replaced(t testing.TB, name, old, text string) []byte {
	t.Helper()
	encrypted, _ := example(t, name)
	if !bytes.Contains(encrypted, []byte(old)) {
		t.Fatalf("%s has no %q", name, old)
	}
	return bytes.Replace(encrypted, []byte(old), []byte(text), 1)
}

func TestWhatCannotBeDecryptedSaysWhyAndHowToMendIt(t *testing.T) {
	dir := t.TempDir()
	other := newAgeKey(t, dir)
	public, err := other.Public()
	check(t, err)
	const to = "age1s86ufnx7sa4st4kv5r4wsdyyqayeyx3670hcq7533e2ral0fegws3nkjqs"
	for name, c := range map[string]struct {
		file    string
		content []byte
		keys    Keys
		kind    Kind
		says    []string
	}{
		"no key": {
			"blog/.env", readFile(t, "testdata/example.env"),
			Keys{PGPPassphraseFile: "x"},
			NoKeys,
			[]string{"encrypted for " + to + ", and the daemon has no key", "set SOPS_AGE_KEY_FILE"},
		},
		"another key": {
			"blog/.env", readFile(t, "testdata/example.env"), other, NoKeyFits,
			[]string{"encrypted for " + to + "; the daemon has " + public[0], `add that to .sops.yaml and run "sops updatekeys blog/.env"`},
		},
		"a key that can't be read": {
			"a.env", readFile(t, "testdata/example.env"),
			Keys{AgeFile: filepath.Join(dir, "none")},
			BadKey,
			[]string{to, "SOPS_AGE_KEY_FILE: open " + filepath.Join(dir, "none") + ": no such file"},
		},
		"another key and a bad one": {
			"a.env", readFile(t, "testdata/example.env"),
			Keys{AgeFile: other.AgeFile, SSHFile: testKeyFile},
			BadKey,
			[]string{public[0], "SOPS_AGE_SSH_PRIVATE_KEY_FILE: the file is not a private key"},
		},
		"a damaged data key": {
			"a.env", replaced(t, "example.env", `nYWdlLWVuY3J5cHRpb24ub3JnL3Yx`, `nYWdlLWVuY3J5cHRpb24ub3JnL3Yy`), testKeys(), Malformed,
			[]string{"the data key in it is damaged", to},
		},
		"KMS only": {
			"a.yaml", []byte("a: x\nsops:\n  kms: [{arn: 'arn:aws:kms:eu:1:key/2', enc: x}]\n  hc_vault: [{vault_address: 'https://vault', engine_path: sops, key_name: k}]\n" +
				"  gcp_kms: [{resource_id: projects/p}]\n  azure_kv: [{vault_url: 'https://az', name: n}]\n  hckms: [{key_id: h}]\n  lastmodified: 2026-01-01T00:00:00Z\n  mac: " + Mark + "]\n"),
			testKeys(), Unsupported,
			[]string{"only for Azure Key Vault https://az/keys/n, GCP KMS projects/p, Vault https://vault/v1/sops/keys/k, Huawei KMS h, AWS KMS arn:aws:kms:eu:1:key/2, which", "sops updatekeys a.yaml"},
		},
		"no MAC":               {"a.env", replaced(t, "example.env", "sops_mac", "sops_nomac"), testKeys(), Malformed, []string{"no MAC"}},
		"an empty MAC":         {"a.env", []byte(regexp.MustCompile("sops_mac=.*").ReplaceAllString(string(readFile(t, "testdata/example.env")), "sops_mac=")), testKeys(), Malformed, []string{"no MAC"}},
		"a newer version":      {"a.env", replaced(t, "example.env", "version=3.12.0", "version=4.0.1"), testKeys(), Unsupported, []string{"sops 4.0.1"}},
		"no time":              {"a.env", replaced(t, "example.env", "lastmodified=20", "lastmodified=x"), testKeys(), Malformed, []string{"lastmodified"}},
		"two rules":            {"a.env", replaced(t, "example.env", "sops_version", "sops_encrypted_regex=x\nsops_version"), testKeys(), Malformed, []string{"more than one rule"}},
		"a broken rule":        {"a.env", replaced(t, "example.env", "sops_unencrypted_suffix=", "sops_encrypted_regex=("), testKeys(), Malformed, []string{"encrypted_regex"}},
		"nobody":               {"a.env", bytes.ReplaceAll(readFile(t, "testdata/example.env"), []byte("sops_age__"), []byte("sops_age_")), testKeys(), Malformed, []string{"nobody"}},
		"metadata twice":       {"a.env", replaced(t, "example.env", "sops_version", "sops_mac=x\nsops_version"), testKeys(), Malformed, []string{"twice"}},
		"metadata twice, YAML": {"a.yaml", replaced(t, "example.yaml", "\nsops:", "\nsops: {}\nsops:"), testKeys(), Malformed, []string{"twice"}},
		"a broken line":        {"a.env", replaced(t, "example.env", "EMPTY=", "<<<<<<< hunter2"), testKeys(), Malformed, []string{"line 7"}},
		"broken YAML":          {"a.yaml", replaced(t, "example.yaml", "hosts:", "<<<<<<< hunter2\nhosts:"), testKeys(), Malformed, []string{"not valid YAML at line 1"}},
		"broken JSON":          {"a.json", replaced(t, "example.json", "{", "{ hunter2"), testKeys(), Malformed, nil},
		"broken INI":           {"a.ini", replaced(t, "example.ini", "port ", "hunter2 \n port"), testKeys(), Malformed, nil},
		"a plain file":         {"a.yaml", []byte("a: hunter2\n"), testKeys(), Malformed, []string{"not encrypted with sops"}},
		"a large file":         {"a.env", append(readFile(t, "testdata/example.env"), make([]byte, 5<<20)...), testKeys(), TooLarge, []string{"5 MiB"}},
		"a key of a number":    {"a.yaml", replaced(t, "example.yaml", "hosts:", "5: x\nhosts:"), testKeys(), Malformed, []string{"not a string"}},
		"a list":               {"a.yaml", []byte("- hunter2\n---\nsops:\n  mac: " + Mark), testKeys(), Malformed, []string{"not a mapping"}},
		"a wrong type":         {"a.yaml", replaced(t, "example.yaml", "hosts:", "a: !!int hunter2\nhosts:"), testKeys(), Malformed, []string{"line 14"}},
		"an unknown type":      {"a.env", replaced(t, "example.env", ",type:str]", ",type:new]"), testKeys(), Unsupported, []string{`"DB_USER"`}},
		"a value without end":  {"a.env", replaced(t, "example.env", ",type:str]\n", ",type:str\n"), testKeys(), Changed, []string{`"DB_USER"`}},
		"more behind a value":  {"a.env", replaced(t, "example.env", ",type:str]\n", ",type:str]x\n"), testKeys(), Changed, []string{`"DB_USER"`}},
		// Both are bound to the top of the document, and the MAC knows no comments.
		"a comment for a value": {"a.yaml", append([]byte("\"\": "), readFile(t, "testdata/example.yaml")[1:]...), testKeys(), Changed, []string{"comes from another place"}},
		"a number for a secret": {"a.json", replaced(t, "example.json", `"hosts":`, `"n":54321,"hosts":`), testKeys(), Changed, []string{`"n"`}},
		"a secret in clear":     {"a.env", replaced(t, "example.env", "EMPTY=", "EMPTY=hunter2"), testKeys(), Changed, []string{`"EMPTY" is not encrypted`}},
		"another rule":          {"a.env", replaced(t, "example.env", "suffix=_unencrypted", "suffix=D"), testKeys(), Changed, []string{`"DB_PASSWORD" is encrypted, as the rules in the file say that it is not`}},
		"the rule of nothing":   {"a.env", replaced(t, "example.env", "unencrypted_suffix=", "encrypted_suffix="), testKeys(), Changed, []string{"is encrypted, as"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Decrypt(c.file, c.content, c.keys)
			if out != nil {
				t.Errorf("with the error there is %q", out)
			}
			refused(t, err, c.kind, c.says...)
		})
	}
}

// TestNoPlaceOfAValueCanBeChanged changes each byte of all that is encrypted.
func TestNoPlaceOfAValueCanBeChanged(t *testing.T) {
	for _, name := range examples() {
		encrypted, plain := example(t, name)
		comments := 0
		for from := 0; ; {
			start := bytes.Index(encrypted[from:], []byte(Mark))
			if start < 0 {
				break
			}
			start += from
			from = start + bytes.IndexByte(encrypted[start:], ']') + 1
			if first := bytes.Index(encrypted, []byte("mac: ")); name == "example.yaml" && start > first+5 && bytes.HasSuffix(encrypted[:start], []byte("mac: ")) {
				continue // sops writes it into each document, and reads the first
			}
			isComment := bytes.HasSuffix(encrypted[:from], []byte("type:comment]"))
			listed := bytes.HasSuffix(encrypted[:start], []byte("- "))
			for at := start; at < from; at += 3 + len(plain)/40 {
				changed := bytes.Clone(encrypted)
				if changed[at] = 'A'; encrypted[at] == 'A' {
					changed[at] = 'B'
				}
				out, err := Decrypt(name, changed, testKeys())
				if isComment && !listed {
					if comments++; err != nil || bytes.Equal(out, plain) {
						t.Errorf("%s: a comment changed at %d: %v", name, at, err)
					}
					continue
				}
				if err == nil {
					t.Fatalf("%s: nothing is seen of a change at %d: %s", name, at, changed[start:from])
				}
				harmless(t, err)
			}
		}
		if strings.ContainsAny(string(plain[:1]), "#;") && comments == 0 {
			t.Errorf("%s: no comment was changed", name)
		}
	}
}

func TestLinesCannotBeTakenOutPutInOrSwapped(t *testing.T) {
	encrypted, _ := example(t, "example.env")
	all := strings.SplitAfter(string(encrypted), "\n")
	isValue := func(line string) bool {
		_, value, _ := strings.Cut(line, "=")
		return !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "sops_") && value != "" && value != "\n"
	}
	for i := range all {
		if !isValue(all[i]) {
			continue
		}
		without := strings.Join(all[:i], "") + strings.Join(all[i+1:], "")
		_, err := Decrypt("a.env", []byte(without), testKeys())
		refused(t, err, Changed)
		twice := strings.Join(all[:i], "") + all[i] + strings.Join(all[i:], "")
		_, err = Decrypt("a.env", []byte(twice), testKeys())
		refused(t, err, Changed)
		remark := strings.Join(all[:i], "") + "#" + strings.Join(all[i:], "")
		_, err = Decrypt("a.env", []byte(remark), testKeys())
		refused(t, err, Changed)
		for j := range i {
			if isValue(all[j]) {
				all[i], all[j] = all[j], all[i]
				_, err := Decrypt("a.env", []byte(strings.Join(all, "")), testKeys())
				refused(t, err, Changed)
				all[i], all[j] = all[j], all[i]
			}
		}
	}
	// A value that has become a comment has left the MAC, and so has an item of a list.
	item := replaced(t, "example.yaml", "    - ENC[", "    #ENC[")
	_, err := Decrypt("a.yaml", item, testKeys())
	refused(t, err, Changed)
}

func TestTheDigestDiffersWithEachLineThatSaysSomething(t *testing.T) {
	for _, name := range examples() {
		encrypted, _ := example(t, name)
		first, err := Digest(name, encrypted)
		check(t, err)
		seen := map[string]int{first: -1}
		lines := strings.SplitAfter(string(encrypted), "\n")
		for i, line := range lines {
			if i > 0 && strings.HasPrefix(strings.Join(lines[i-1:], ""), "sops:") && strings.Contains(strings.Join(lines[:i-1], ""), "\nsops:") {
				break // the same again, in another document
			}
			for _, change := range [][2]string{{"data:", "data:A"}, {"plain text", "plain"}, {"lastmodified", "lastmodified"}, {"- a\n", "- b\n"}} {
				changed := strings.Replace(line, change[0], change[1], 1)
				if change[0] == "lastmodified" {
					changed = strings.Replace(line, "08:", "09:", 1)
				}
				if changed == line || !strings.Contains(line, change[0]) {
					continue
				}
				digest, err := Digest(name, []byte(strings.Join(lines[:i], "")+changed+strings.Join(lines[i+1:], "")))
				check(t, err)
				if j, ok := seen[digest]; ok {
					t.Errorf("%s: a change of line %d has the digest of line %d", name, i, j)
				}
				seen[digest] = i
			}
		}
		if len(seen) < 3 {
			t.Errorf("%s: only %d digests", name, len(seen))
		}
	}
}

func TestADigestIsOfWhatTheFileSaysNotOfItsLayout(t *testing.T) {
	encrypted, _ := example(t, "example.yaml")
	first, err := Digest("a.yaml", encrypted)
	check(t, err)
	for _, same := range [][]byte{
		replaced(t, "example.yaml", "hosts:", "\n'hosts':"),
		replaced(t, "example.yaml", "ports: []", "ports: [\n      ]"),
		replaced(t, "example.yaml", "plain text", "\"plain text\""),
		bytes.ReplaceAll(encrypted, []byte("\n"), []byte("\r\n")),
		replaced(t, "example.yaml", "version: 3.12.0", "version: 3.9.9"),
		replaced(t, "example.yaml", "    unencrypted_suffix: _unencrypted\n", ""),
	} {
		if got, err := Digest("a.yaml", same); err != nil || got != first {
			t.Errorf("another digest of\n%s\n%v", same, err)
		}
	}
	for _, other := range [][]byte{
		replaced(t, "example.yaml", "hosts:", "hosts2:"),
		replaced(t, "example.yaml", "nothing: null", "nothing: \"\""),
		replaced(t, "example.yaml", "    nothing: null\n", ""),
		replaced(t, "example.yaml", "ports: []", "ports: {}"),
		replaced(t, "example.yaml", "number: 7", "number: \"7\""),
		replaced(t, "example.yaml", "suffix: _unencrypted", "suffix: _clear"),
		replaced(t, "example.yaml", "    unencrypted_suffix", "    mac_only_encrypted: true\n    unencrypted_suffix"),
	} {
		if got, err := Digest("a.yaml", other); err != nil || got == first {
			t.Errorf("the same digest of\n%s\n%v", other, err)
		}
	}
	_, err = Digest("a.yaml", []byte("a: hunter2\n"))
	refused(t, err, Malformed)
}

// TestNoFileTakesForever has files that grow when they are read, and such as parsers
// are slow with. They are refused, or read, before the test's own time is up.
func TestNoFileTakesForever(t *testing.T) {
	const (
		mac  = Mark + "]\n"
		meta = "\nsops:\n  lastmodified: 2026-01-01T00:00:00Z\n  age: [{recipient: x, enc: y}]\n  mac: " + mac
		flat = "sops_lastmodified=2026-01-01T00:00:00Z\nsops_mac=" + mac
		ini  = "[sops]\nlastmodified = 2026-01-01T00:00:00Z\nage__list_0__map_enc = x\nmac = " + mac
		json = `"sops":{"lastmodified":"2026-01-01T00:00:00Z","age":[{"enc":"x"}],"mac":"` + Mark + `]"}}`
	)
	// lots is a text as often as a file may have it, or once more than that.
	lots := func(s string, more bool) string {
		n := min(maxParts, (maxSize-1000)/len(s)) - 100
		if more {
			n += 200
		}
		return strings.Repeat(s, n)
	}
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	for name, c := range map[string]struct {
		file, content string
		kind          Kind // "" if it can be read
	}{
		"aliases":              {"a.yaml", bomb + meta, TooLarge},
		"an alias of much":     {"a.yaml", "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a, ", 1000) + "]" + meta, TooLarge},
		"an alias of itself":   {"a.yaml", "a: &a [*a]" + meta, Malformed},
		"a key of itself":      {"a.yaml", "? &a [*a]\n: b" + meta, Malformed},
		"a deep list":          {"a.yaml", "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + meta, Malformed},
		"a deep mapping":       {"a.yaml", "a: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000) + meta, Malformed},
		"a deeper list":        {"a.yaml", "a: " + strings.Repeat("[", 4<<20) + meta, Malformed},
		"deep JSON":            {"a.json", `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "," + json, Malformed},
		"deeper JSON":          {"a.json", `{"sops":{"mac":"` + Mark + `"},"a":` + strings.Repeat("[", 4<<20), Malformed},
		"metadata of paths":    {"a.yaml", strings.TrimSuffix(meta, "\n") + "\n  x: " + strings.Repeat("{"+strings.Repeat("k", 1000)+": ", 90) + "[" + strings.Repeat("a,", 50000) + "]" + strings.Repeat("}", 90) + "\n", ""},
		"a far position":       {"a.env", flat + "sops_age__list_999999999__map_enc=x\n", ""},
		"a farther position":   {"a.env", flat + "sops_age__list_99999999999999999999__map_enc=x\n", Malformed},
		"many keys":            {"a.yaml", strings.Repeat("a: b\n", 40000) + meta, ""},
		"most keys":            {"a.yaml", lots("a: b\n", true) + meta, TooLarge},
		"many items":           {"a.yaml", "a: [" + lots("a,", false) + "]" + meta, TooLarge},
		"many comments":        {"a.yaml", strings.Repeat("#\n", maxComments) + "a: x" + meta, ""},
		"more comments":        {"a.yaml", strings.Repeat("#\n", maxComments+1) + "a: x" + meta, TooLarge},
		"comments in metadata": {"a.yaml", strings.ReplaceAll(meta, "sops:\n", "sops:\n"+strings.Repeat("  #a\n", maxComments)), ""},
		"comments in a list":   {"a.yaml", "a:\n" + strings.Repeat("- #a\n", maxComments) + meta, ""},
		"comments at a list":   {"a.yaml", "a:\n" + strings.Repeat("#a\n- b\n", maxComments) + meta, ""},
		"long comments":        {"a.yaml", strings.Repeat("a: b #"+strings.Repeat("x", 100)+"\n", maxComments/3) + meta, ""},
		"many recipients":      {"a.yaml", strings.Replace(meta, "[{", "["+strings.Repeat("{enc: x}, ", 10000)+"{", 1), ""},
		"many lines":           {"a.env", lots("a=b\n", false) + flat + "sops_age__list_0__map_enc=x\n", ""},
		"many keys in JSON":    {"a.json", `{` + strings.Repeat(`"a":1,`, 40000) + json, ""},
		"many sections":        {"a.ini", strings.Repeat("[a]\n", maxLinesINI-10) + ini, ""},
		"many keys in INI":     {"a.ini", "[a]\n" + strings.Repeat("b = c\n", maxLinesINI-10) + ini, ""},
		"numbered keys in INI": {"a.ini", "[a]\n" + strings.Repeat("- = c\n", maxLinesINI-10) + ini, ""},
		"more keys in INI":     {"a.ini", "[a]\n" + strings.Repeat("- = c\n", maxLinesINI) + ini, TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			if _, err := Digest(c.file, []byte(c.content)); c.kind != "" {
				refused(t, err, c.kind)
			} else if err != nil {
				t.Error(err)
			}
			t.Logf("%d bytes took %s", len(c.content), time.Since(begin))
		})
	}
}
