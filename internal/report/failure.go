package report

import "errors"

// detailed is an error that knows more than its reason: the last lines of a
// container's log, the output of a healthcheck. Error gives the reason, which
// is short, the same for the same failure, and holds nothing that a container
// has written; Detail gives the rest.
type detailed interface {
	error
	Detail() string
}

// Reason is why something failed, as everybody may read it; "" for no error.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Detail is what an error, or one that it wraps, has to say besides its
// reason; "" if there is nothing. It can hold secrets that a container has
// logged: it is for those who have authenticated, and neither for a metric nor
// for the journal.
func Detail(err error) string {
	var d detailed
	if errors.As(err, &d) {
		return d.Detail()
	}
	return ""
}

// SameReason says whether two reasons mean the same failure: ids and numbers,
// such as times, ports and exit codes of one try, don't count.
func SameReason(a, b string) bool { return normal(a) == normal(b) }

// id is the length from which on a run of hexadecimal digits is an id; shorter
// ones are words, like "added".
const id = 12

// normal puts "#" for every id and every number.
func normal(reason string) string {
	out := make([]byte, 0, len(reason))
	for i := 0; i < len(reason); {
		n := run(reason[i:], hexadecimal)
		if n < id {
			n = run(reason[i:], decimal)
		}
		if n == 0 {
			out = append(out, reason[i])
			i++
			continue
		}
		out = append(out, '#')
		i += n
	}
	return string(out)
}

// run is how many bytes at the beginning of s are of a kind.
func run(s string, of func(byte) bool) int {
	n := 0
	for n < len(s) && of(s[n]) {
		n++
	}
	return n
}

func decimal(c byte) bool { return '0' <= c && c <= '9' }

func hexadecimal(c byte) bool { return decimal(c) || 'a' <= c && c <= 'f' }
