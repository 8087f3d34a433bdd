package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window says when updates, starts and stops may begin. It gates the acting only: looking,
// planning and repairing go on, and so does what has begun. The zero value is always open.
//
//	rules                     open
//	-----                     ----
//	none                      always
//	some allow                within one of these, if no deny is on
//	only deny                 as long as no deny is on
//
// A rule is a set of minutes on the clock of its zone: in the night in which an hour is
// left out, what is in that hour is left out as well, and where one comes twice it is twice.
type Window struct {
	text  string
	rules []rule
}

// rule is one allow or deny.
type rule struct {
	deny     bool
	days     [7]bool // by time.Weekday; none set: all
	dates    *dates  // nil: all year
	from, to int     // minutes of the day; to may be before from, and is then of the next day
	zone     *time.Location
}

// dates are days of the year, from one to another, which may be in the next year.
type dates struct{ from, to int } // month*100 + day

// String gives it as it was written.
func (w Window) String() string { return w.text }

// ParseWindow reads rules like "allow Sat,Sun 02:00-05:00 Europe/Berlin; deny Dec 20-Jan 6".
// A rule is allow or deny, and then days of the week, dates, a time and a zone, of which each
// may be left out. zone is for rules that name none.
func ParseWindow(text string, zone *time.Location) (Window, error) {
	w := Window{text: strings.Join(strings.Fields(text), " ")}
	for part := range strings.SplitSeq(text, ";") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			continue
		}
		r, err := parseRule(fields, zone)
		if err != nil {
			return Window{}, fmt.Errorf("%q: %w", strings.Join(fields, " "), err)
		}
		w.rules = append(w.rules, r)
	}
	return w, nil
}

func parseRule(fields []string, zone *time.Location) (rule, error) {
	r := rule{to: 24 * 60, zone: zone}
	switch fields[0] {
	case "allow":
	case "deny":
		r.deny = true
	default:
		return r, errors.New("a rule begins with allow or deny")
	}
	seen := map[string]bool{}
	once := func(what string) error {
		if seen[what] {
			return fmt.Errorf("there are two %s; write two rules", what)
		}
		seen[what] = true
		return nil
	}
	for i := 1; i < len(fields); i++ {
		f := fields[i]
		var err error
		switch _, isMonth := month(f); {
		case isMonth && i+1 < len(fields): // Dec 20-Jan 6, which is two or three fields
			text := f + " " + fields[i+1]
			i++
			if strings.Contains(text, "-") && i+1 < len(fields) {
				if _, err := strconv.Atoi(fields[i+1]); err == nil {
					i++
					text += " " + fields[i]
				}
			}
			if r.dates, err = parseDates(text); err == nil {
				err = once("ranges of dates")
			}
		case strings.Contains(f, ":"):
			if r.from, r.to, err = parseTimes(f); err == nil {
				err = once("times")
			}
		case isDay(f):
			if r.days, err = parseDays(f); err == nil {
				err = once("lists of days")
			}
		default:
			if r.zone, err = time.LoadLocation(f); err != nil {
				err = fmt.Errorf("%q is no day (Mon), date (Dec 20-Jan 6), time (02:00-05:00) or zone (Europe/Berlin)", f)
			} else {
				err = once("zones")
			}
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func month(text string) (time.Month, bool) {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(text, m.String()[:3]) {
			return m, true
		}
	}
	return 0, false
}

func day(text string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(text, d.String()[:3]) {
			return d, true
		}
	}
	return 0, false
}

func isDay(text string) bool {
	_, ok := day(text[:min(3, len(text))])
	return ok && (len(text) == 3 || text[3] == ',' || text[3] == '-')
}

// parseDays reads Sat,Sun or Mon-Fri,Sun.
func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, ok := day(first)
		to := from
		if isRange {
			var is bool
			to, is = day(last)
			ok = ok && is
		}
		if !ok {
			return days, fmt.Errorf("%q is no day or range of days; they are Mon, Tue, Wed, Thu, Fri, Sat and Sun", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			days[d] = true
			if d == to {
				break
			}
		}
	}
	return days, nil
}

// parseTimes reads 02:00-05:00; 24:00 is the end of a day.
func parseTimes(text string) (from, to int, err error) {
	first, last, ok := strings.Cut(text, "-")
	if from, err = clock(first); err == nil && ok {
		to, err = clock(last)
	}
	switch {
	case err != nil:
	case !ok:
		err = fmt.Errorf("%q has no end; want a time like 02:00-05:00", text)
	case from == to, from == 24*60:
		err = fmt.Errorf("%q is no time at all; leave it out for the whole day", text)
	}
	return from, to, err
}

func clock(text string) (minutes int, err error) {
	h, m, ok := strings.Cut(text, ":")
	hours, err1 := strconv.Atoi(h)
	mins, err2 := strconv.Atoi(m)
	if minutes = hours*60 + mins; !ok || err1 != nil || err2 != nil || len(m) != 2 || hours < 0 || mins < 0 || mins > 59 || minutes > 24*60 {
		return 0, fmt.Errorf("%q is no time of a day, like 02:00", text)
	}
	return minutes, nil
}

// parseDates reads "Dec 20-Jan 6", "Dec 24" or "Dec 20-31".
func parseDates(text string) (*dates, error) {
	bad := fmt.Errorf("%q is no date or range of dates, like Dec 24 or Dec 20-Jan 6", text)
	first, last, isRange := strings.Cut(text, "-")
	from, ok := date(first, 0)
	if !ok {
		return nil, bad
	}
	to := from
	if isRange {
		if to, ok = date(last, time.Month(from/100)); !ok {
			return nil, bad
		}
	}
	return &dates{from, to}, nil
}

// date reads "Dec 20", or "20" of a month.
func date(text string, of time.Month) (int, bool) {
	name, number, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok {
		name, number = "", name
	}
	if name != "" {
		if of, ok = month(name); !ok {
			return 0, false
		}
	}
	d, err := strconv.Atoi(number)
	const leap = 2024 // a year that has each day
	if err != nil || of == 0 || d < 1 || time.Date(leap, of, d, 0, 0, 0, 0, time.UTC).Month() != of {
		return 0, false
	}
	return int(of)*100 + d, true
}

// Open says whether it is open at a time.
func (w Window) Open(at time.Time) bool {
	allowed, allows := false, false
	for _, r := range w.rules {
		switch on := r.on(at); {
		case r.deny && on:
			return false
		case !r.deny:
			allows, allowed = true, allowed || on
		}
	}
	return allowed || !allows
}

// on says whether a rule is about a time. What goes on over midnight is of the day on
// which it began.
func (r rule) on(at time.Time) bool {
	local := at.In(r.zone)
	minute := local.Hour()*60 + local.Minute()
	if r.from < r.to {
		return minute >= r.from && minute < r.to && r.isDay(local)
	}
	yesterday := local.AddDate(0, 0, -1)
	return minute >= r.from && r.isDay(local) || minute < r.to && r.isDay(yesterday)
}

func (r rule) isDay(local time.Time) bool {
	if r.days != ([7]bool{}) && !r.days[local.Weekday()] {
		return false
	}
	if r.dates == nil {
		return true
	}
	d := int(local.Month())*100 + local.Day()
	if r.dates.from <= r.dates.to {
		return d >= r.dates.from && d <= r.dates.to
	}
	return d >= r.dates.from || d <= r.dates.to
}

// ahead is how far an opening is looked for: a date of the year may be the 29th of February.
const ahead = 8*366 + 1

// Next is when it opens next, in the zone of the rule with which it does; at itself if it is
// open then, and the zero time if it never does.
func (w Window) Next(at time.Time) time.Time {
	if w.Open(at) {
		return at
	}
	var days [][]time.Time
	for n := range ahead {
		days = append(days, w.changes(at, n))
		if len(days) < 3 { // a day may begin elsewhere before it ends here
			continue
		}
		changes := slices.Concat(days...)
		slices.SortStableFunc(changes, time.Time.Compare)
		until := at.AddDate(0, 0, n-1)
		for _, t := range changes {
			if t.After(at) && !t.After(until) && w.Open(t) {
				return t
			}
		}
		days = days[1:]
	}
	return time.Time{}
}

// changes are the times at which it may open on a day, so many days after a time.
func (w Window) changes(at time.Time, days int) (changes []time.Time) {
	for _, r := range w.rules {
		local := at.In(r.zone).AddDate(0, 0, days)
		for _, minute := range []int{0, r.from, r.to} {
			t := time.Date(local.Year(), local.Month(), local.Day(), 0, minute, 0, 0, r.zone)
			changes = append(changes, t, t.Add(-time.Hour), t.Add(-time.Hour/2)) // where an hour, or half of one, comes twice
		}
		if _, end := local.ZoneBounds(); !end.IsZero() { // the minutes of a rule may begin with it
			changes = append(changes, end)
		}
	}
	return changes
}

// gated says for which window a stack waits that is to be brought up; empty if it does not.
// What has drifted is repaired at any time, and what has begun is brought to an end: an
// update that was tried, going back from one that failed. A person's word counts more.
func (b *builder) gated(s Stack, rec Record, cause Cause) string {
	w := b.policy.Window
	if s.Window != nil {
		w = *s.Window
	}
	begun := rec.Tried == s.Digest && rec.Applied != s.Digest || rec.Tried == RoomDigest
	if cause.Why == Drifted || cause.Why == RolledBack || begun || rec.Passed == s.Digest {
		return ""
	}
	return b.waits(w, s.Name)
}

// waitsToStop says for which window a project waits that is to go. What its stack said of
// that is known as long as the clone has it.
func (b *builder) waitsToStop(r Running, rec Record) string {
	w := b.policy.Window
	if s, known := b.ix.before.find(b.fileOf(r)); known && s.Window != nil {
		w = *s.Window
	}
	if rec.Passed == StopDigest || rec.Failed == StopDigest || !hasContainers(r) {
		return ""
	}
	return b.waits(w, r.Project)
}

// waits says when a window opens that is not open now; empty if it is.
func (b *builder) waits(w Window, stack string) string {
	if w.Open(b.state.Now) {
		return ""
	}
	next, known := b.opens[w.text]
	if !known { // it is the same for all that wait for it, and dear if that is long
		next = w.Next(b.state.Now)
		b.opens[w.text] = next
	}
	opens := "which never opens"
	if !next.IsZero() {
		opens = "which opens on " + next.Format("Mon 2006-01-02 15:04 MST")
	}
	return fmt.Sprintf("it waits for its window (%s), %s; to do it now: gitops-compose retry %s", w, opens, stack)
}
