package secrets

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// knownMajor is the newest major version of sops whose format this package knows.
const knownMajor = 3

// metadata is what sops writes into each file that it encrypts.
type metadata struct {
	mac string // encrypted
	// modified is when, in RFC 3339; the MAC is bound to it.
	modified string
	rule     rule
	// onlyEncrypted: values that are left in clear are not in the MAC.
	onlyEncrypted bool
	recipients    []recipient
}

// recipient is one of those who can decrypt a file: each has its data key, encrypted.
type recipient struct {
	kind   string // as sops names it: age, pgp, kms
	name   string // its public part
	sealed string
}

// readMetadata reads what is below the key sops, flat.
func readMetadata(flat map[string]string) (metadata, error) {
	m := metadata{mac: flat["mac"], onlyEncrypted: flat["mac_only_encrypted"] == "true"}
	if len(flat) == 0 || m.mac == "" {
		return m, fail(Malformed, "the file has no sops metadata, or these have no MAC")
	}
	if v, _, _ := strings.Cut(flat["version"], "."); v != "" {
		if major, err := strconv.Atoi(v); err != nil || major > knownMajor {
			return m, fail(Unsupported, "the file was encrypted by sops %s, whose format is not known here (%d.x is)", shown(flat["version"]), knownMajor)
		}
	}
	modified, err := time.Parse(time.RFC3339, flat["lastmodified"])
	if err != nil {
		return m, fail(Malformed, "the sops metadata have no valid lastmodified")
	}
	m.modified = modified.Format(time.RFC3339)
	if m.rule, err = readRule(flat); err != nil {
		return m, err
	}
	m.recipients, err = readRecipients(flat)
	return m, err
}

// recipientKey is a field of a recipient, flat: the group, if there are several; the
// kind; which one; and the name of the field.
const recipientKey = `^(?:key_groups__list_(\d{1,9})__map_)?([a-z_]+)__list_(\d{1,9})__map_([a-z_]+)$`

func readRecipients(flat map[string]string) ([]recipient, error) {
	type place struct {
		group, kind string
		index       int
	}
	field := regexp.MustCompile(recipientKey)
	fields, groups := map[place]map[string]string{}, map[string]bool{}
	for key, value := range flat {
		p := field.FindStringSubmatch(key)
		if p == nil {
			continue
		}
		index, err := strconv.Atoi(p[3])
		if err != nil {
			continue
		}
		at := place{p[1], p[2], index}
		if fields[at] == nil {
			fields[at] = map[string]string{}
		}
		fields[at][p[4]] = value
		groups[p[1]] = true
	}
	threshold := flat["shamir_threshold"]
	if n, err := strconv.ParseFloat(threshold, 64); threshold != "" && (err != nil || n > 1) || len(groups) > 1 {
		return nil, fail(Unsupported, "the file needs keys of several groups (shamir_threshold, key_groups), which is not supported: encrypt it with one group")
	}
	if len(fields) == 0 {
		return nil, fail(Malformed, "the sops metadata name nobody who can decrypt the file")
	}
	places := slices.SortedFunc(maps.Keys(fields), func(a, b place) int {
		return cmp.Or(strings.Compare(a.kind, b.kind), a.index-b.index)
	})
	var all []recipient
	for _, at := range places {
		all = append(all, newRecipient(at.kind, fields[at]))
	}
	return all, nil
}

func newRecipient(kind string, f map[string]string) recipient {
	r := recipient{kind: kind, sealed: f["enc"]}
	switch kind {
	case "age":
		r.name = f["recipient"]
	case "pgp":
		r.name = f["fp"]
	case "kms":
		r.name = "AWS KMS " + f["arn"]
	case "gcp_kms":
		r.name = "GCP KMS " + f["resource_id"]
	case "azure_kv":
		r.name = "Azure Key Vault " + f["vault_url"] + "/keys/" + f["name"]
	case "hc_vault":
		r.name = "Vault " + f["vault_address"] + "/v1/" + f["engine_path"] + "/keys/" + f["key_name"]
	case "hckms":
		r.name = "Huawei KMS " + f["key_id"]
	default:
		r.name = kind
	}
	return r
}

// shown is a name from a file as a message may have it: on one line, and short. A key
// of age's that is safe from quantum computers has 2,000 characters.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > 90 {
		return string(runes[:24]) + "…" + string(runes[len(runes)-12:])
	}
	return name
}

// rule says which values of a file are encrypted. Exactly one of sops's six is in
// force.
type rule struct {
	// name and pattern are the rule as sops has it.
	name, pattern string
	match         func(string) bool
	// comments: it is what comments say that counts, not keys.
	comments bool
	// encrypted is what those are that match; all others are the contrary.
	encrypted bool
}

// defaultSuffix is in force if the metadata have no rule.
const defaultSuffix = "_unencrypted"

func readRule(flat map[string]string) (rule, error) {
	chosen, found := rule{name: "unencrypted_suffix", pattern: defaultSuffix}, 0
	for _, r := range []rule{
		{name: "unencrypted_suffix"},
		{name: "encrypted_suffix", encrypted: true},
		{name: "unencrypted_regex"},
		{name: "encrypted_regex", encrypted: true},
		{name: "unencrypted_comment_regex", comments: true},
		{name: "encrypted_comment_regex", comments: true, encrypted: true},
	} {
		if r.pattern = flat[r.name]; r.pattern != "" {
			chosen = r
			found++
		}
	}
	if found > 1 {
		return rule{}, fail(Malformed, "the sops metadata have more than one rule for what is encrypted")
	}
	if strings.HasSuffix(chosen.name, "suffix") {
		chosen.match = func(s string) bool { return strings.HasSuffix(s, chosen.pattern) }
		return chosen, nil
	}
	expr, err := regexp.Compile(chosen.pattern)
	if err != nil {
		return rule{}, fail(Malformed, "the sops metadata have a broken %s", chosen.name)
	}
	chosen.match = expr.MatchString
	return chosen, nil
}
