package config

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xhit/go-str2duration/v2"
)

// The types of the variables' values. The error of an UnmarshalText is what is
// accepted, as the end of a sentence that begins with "want": the variable and
// its value are put in front of it where they are known.

// longest is the largest number of seconds that makes sense anywhere here, and
// keeps a time.Duration far from overflowing.
const longest = 365 * 24 * 60 * 60

// interval is a number of seconds, or 0 for never.
type interval time.Duration

// UnmarshalText reads -1 as never. 0 is refused: it could be meant as never and
// as always.
func (i *interval) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(trim(text))
	switch {
	case err == nil && n == -1:
		*i = 0
	case err == nil && n >= 1 && n <= longest:
		*i = interval(time.Duration(n) * time.Second)
	default:
		return errors.New("a whole number of seconds from 1 to 31536000, or -1 to switch it off")
	}
	return nil
}

// seconds is a number of seconds, at least one.
type seconds time.Duration

func (s *seconds) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(trim(text))
	if err != nil || n < 1 || n > longest {
		return errors.New("a whole number of seconds from 1 to 31536000")
	}
	*s = seconds(time.Duration(n) * time.Second)
	return nil
}

// age is a time in Compose's notation: Go's, and days and weeks.
type age time.Duration

func (a *age) UnmarshalText(text []byte) error {
	d, err := str2duration.ParseDuration(trim(text))
	if err != nil || d < 0 || d > longest*time.Second {
		return errors.New("a time of at most a year like 72h or 3d, or 0 to switch it off")
	}
	*a = age(d)
	return nil
}

// count is a number of things that work at the same time.
type count int

func (c *count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(trim(text))
	if err != nil || n < 1 || n > 1000 {
		return errors.New("a whole number from 1 to 1000")
	}
	*c = count(n)
	return nil
}

// boolean is strict: "on" or "enabled" with a meaning that depends on the
// reader should not decide what happens to a host.
type boolean bool

func (b *boolean) UnmarshalText(text []byte) error {
	v, err := strconv.ParseBool(strings.ToLower(trim(text)))
	if err != nil {
		return errors.New("true or false")
	}
	*b = boolean(v)
	return nil
}

// history says what a rewritten branch does; true is fast-forward-only.
type history bool

func (h *history) UnmarshalText(text []byte) error {
	switch trim(text) {
	case "follow":
		*h = false
	case "fast-forward-only":
		*h = true
	default:
		return errors.New("follow or fast-forward-only")
	}
	return nil
}

// localChanges says what becomes of changes by hand in the clone; true is keep.
type localChanges bool

func (c *localChanges) UnmarshalText(text []byte) error {
	switch trim(text) {
	case "stop":
		*c = false
	case "keep":
		*c = true
	default:
		return errors.New("stop or keep")
	}
	return nil
}

// StartFirst is what a service does whose file says order: start-first.
type StartFirst string

// The values of StartFirst: where it can't be the old container stops first, with a
// warning; or the stack is held; or it stops first everywhere.
const (
	StartWarn   StartFirst = "warn"
	StartHold   StartFirst = "hold"
	StartIgnore StartFirst = "ignore"
)

// UnmarshalText reads one of them.
func (s *StartFirst) UnmarshalText(text []byte) error {
	switch *s = StartFirst(trim(text)); *s {
	case StartWarn, StartHold, StartIgnore:
		return nil
	default:
		return errors.New("warn, hold or ignore")
	}
}

// level is a slog level, without slog's offsets ("info+2").
type level slog.Level

func (l *level) UnmarshalText(text []byte) error {
	switch strings.ToLower(trim(text)) {
	case "debug":
		*l = level(slog.LevelDebug)
	case "info":
		*l = level(slog.LevelInfo)
	case "warn":
		*l = level(slog.LevelWarn)
	case "error":
		*l = level(slog.LevelError)
	default:
		return errors.New("debug, info, warn or error")
	}
	return nil
}

// format is how log lines are written.
type format string

func (f *format) UnmarshalText(text []byte) error {
	switch v := strings.ToLower(trim(text)); v {
	case "text", "json":
		*f = format(v)
		return nil
	}
	return errors.New("text or json")
}

// address is where a server listens.
type address string

func (a *address) UnmarshalText(text []byte) error {
	v := trim(text)
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("host:port or :port, like :2112 or 127.0.0.1:2112")
	}
	*a = address(v)
	return nil
}

// branch is a branch's short name.
type branch string

func (b *branch) UnmarshalText(text []byte) error {
	v := trim(text)
	if !branchName(v) {
		return errors.New("a branch name as git accepts it, without refs/heads/, like main")
	}
	*b = branch(v)
	return nil
}

// branchName follows `git check-ref-format --branch` as far as people get it
// wrong; what it lets through wrongly is simply not found at the remote.
func branchName(v string) bool {
	if strings.HasPrefix(v, "refs/") || strings.HasPrefix(v, "-") || strings.ContainsAny(v, " ~^:?*[\\\x7f") {
		return false
	}
	if strings.Contains(v, "..") || strings.Contains(v, "@{") || v == "@" {
		return false
	}
	for part := range strings.SplitSeq(v, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.HasSuffix(v, ".") && strings.IndexFunc(v, func(r rune) bool { return r < ' ' }) < 0
}

// patterns say which files are stacks.
type patterns []string

func (p *patterns) UnmarshalText(text []byte) error {
	for part := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ',' || r == '\n' }) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if strings.HasPrefix(part, "!") || strings.HasPrefix(part, "#") || strings.HasSuffix(part, "/") || slices.Contains(strings.Split(part, "/"), "..") {
			return errors.New("names or patterns of files in the repository, with commas between them, like compose.yaml,stacks/*.yml (which of them don't count says .gitopsignore)")
		}
		*p = append(*p, part)
	}
	if len(*p) == 0 {
		return errors.New("at least one name or pattern, like compose.yaml,stacks/*.yml")
	}
	return nil
}

// remote is the address of a git repository.
type remote string

func (r *remote) UnmarshalText(text []byte) error {
	const forms = "https://host/path, ssh://user@host/path, user@host:path, file:///path or an absolute path"
	v := trim(text)
	if strings.HasPrefix(v, "git://") {
		return errors.New(forms + " (git:// is not supported: nobody can tell whether what arrives is what was sent)")
	}
	if !remoteURL(v) {
		return errors.New(forms)
	}
	*r = remote(v)
	return nil
}

// remoteURL accepts the forms that git itself accepts, except for git:// and for
// relative paths: what they are relative to is different inside a container.
func remoteURL(v string) bool {
	if strings.HasPrefix(v, "/") {
		return true
	}
	if !strings.Contains(v, "://") {
		host, path, ok := strings.Cut(v, ":")
		return ok && host != "" && path != "" && !strings.ContainsAny(host, "/ ")
	}
	u, err := url.Parse(v)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "http", "https", "ssh":
		return u.Host != "" && strings.Trim(u.Path, "/") != ""
	case "file":
		return u.Path != ""
	}
	return false
}

// RedactURL takes the credentials out of a repository's address, so that it
// can be shown. An address of the form user@host:path holds none.
func RedactURL(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	// Not url.Parse: an address that does not parse has to be masked as well.
	host, path, slash := strings.Cut(rest, "/")
	at := strings.LastIndex(host, "@")
	if at < 0 {
		return address
	}
	user, _, password := strings.Cut(host[:at], ":")
	if scheme != "ssh" && !password {
		user = masked // a token in the place of a user name
	}
	if password {
		user += ":" + masked
	}
	redacted := scheme + "://" + user + host[at:]
	if slash {
		redacted += "/" + path
	}
	return redacted
}

// trim takes what copying and quoting leave around a value.
func trim(text []byte) string { return strings.TrimSpace(string(text)) }
