package plan

import (
	"strings"
	"testing"
	"time"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parsed(t *testing.T, text string) Window {
	t.Helper()
	w, err := ParseWindow(text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindowsAreOpenAndOpenNext(t *testing.T) {
	const never = "never"
	for _, c := range []struct{ window, at, next string }{
		// next is when it opens: the same time if it is open.
		{"", "2026-05-01 12:00 UTC", "2026-05-01 12:00 UTC"},
		{" ; ", "2026-05-01 12:00 UTC", "2026-05-01 12:00 UTC"},
		{"allow 02:00-05:00", "2026-05-01 01:59 UTC", "2026-05-01 02:00 UTC"},
		{"allow 02:00-05:00", "2026-05-01 02:00 UTC", "2026-05-01 02:00 UTC"},
		{"allow 02:00-05:00", "2026-05-01 04:59 UTC", "2026-05-01 04:59 UTC"},
		{"allow 02:00-05:00", "2026-05-01 05:00 UTC", "2026-05-02 02:00 UTC"},
		{"allow Sat,Sun 02:00-05:00", "2026-05-01 12:00 UTC", "2026-05-02 02:00 UTC"}, // a Friday
		{"allow sat-mon 02:00-05:00", "2026-05-04 03:00 UTC", "2026-05-04 03:00 UTC"},
		{"allow Mon-Fri", "2026-05-02 12:00 UTC", "2026-05-04 00:00 UTC"},
		{"allow 20:00-24:00", "2026-05-01 23:59 UTC", "2026-05-01 23:59 UTC"},
		{"allow 20:00-24:00", "2026-05-02 00:00 UTC", "2026-05-02 20:00 UTC"},

		// Over midnight it is of the day on which it begins.
		{"allow Fri 22:00-04:00", "2026-05-02 03:00 UTC", "2026-05-02 03:00 UTC"},
		{"allow Fri 22:00-04:00", "2026-05-01 03:00 UTC", "2026-05-01 22:00 UTC"},
		{"allow Fri 22:00-04:00", "2026-05-02 04:00 UTC", "2026-05-08 22:00 UTC"},

		// Deny wins.
		{"deny Dec 20-Jan 6", "2026-12-19 12:00 UTC", "2026-12-19 12:00 UTC"},
		{"deny Dec 20-Jan 6", "2026-12-24 12:00 UTC", "2027-01-07 00:00 UTC"},
		{"deny Dec 20-Jan 6", "2027-01-06 23:59 UTC", "2027-01-07 00:00 UTC"},
		{"deny Dec 24", "2026-12-24 00:00 UTC", "2026-12-25 00:00 UTC"},
		{"deny Dec 20-31", "2026-12-31 12:00 UTC", "2027-01-01 00:00 UTC"},
		{"allow Sat,Sun 02:00-05:00; deny Dec 20-Jan 6", "2026-12-19 06:00 UTC", "2027-01-09 02:00 UTC"},
		{"allow 02:00-05:00; deny 03:00-04:00", "2026-05-01 03:30 UTC", "2026-05-01 04:00 UTC"},
		{"allow Feb 29", "2026-03-01 00:00 UTC", "2028-02-29 00:00 UTC"},
		{"allow; deny", "2026-05-01 12:00 UTC", never},
		{"deny", "2026-05-01 12:00 UTC", never},
		{"deny Mon-Fri; deny 09:00-17:00", "2026-05-01 12:00 UTC", "2026-05-02 00:00 UTC"},

		// Zones, of which one may be a day ahead.
		{"allow 02:00-05:00 Europe/Berlin", "2026-05-01 00:00 UTC", "2026-05-01 00:00 UTC"},
		{"allow 02:00-05:00 Europe/Berlin", "2026-05-01 03:00 UTC", "2026-05-02 00:00 UTC"},
		{"allow 23:00-23:30 America/Los_Angeles; allow 00:30-01:00 Pacific/Auckland", "2026-05-01 08:00 UTC", "2026-05-01 12:30 UTC"},

		// In spring the clock of Berlin goes from 02:00 to 03:00 on 2026-03-29.
		{"allow 02:00-03:00 Europe/Berlin", "2026-03-28 12:00 UTC", "2026-03-30 00:00 UTC"},
		{"allow 02:30-04:00 Europe/Berlin", "2026-03-28 12:00 UTC", "2026-03-29 01:00 UTC"},
		{"allow 01:00-05:00 Europe/Berlin", "2026-03-29 02:30 UTC", "2026-03-29 02:30 UTC"},
		{"allow 01:00-05:00 Europe/Berlin", "2026-03-29 03:00 UTC", "2026-03-29 23:00 UTC"},
		// In autumn it goes from 03:00 to 02:00 on 2026-10-25: that hour comes twice.
		{"allow 02:00-03:00 Europe/Berlin", "2026-10-25 00:30 UTC", "2026-10-25 00:30 UTC"},
		{"allow 02:00-03:00 Europe/Berlin", "2026-10-25 01:30 UTC", "2026-10-25 01:30 UTC"},
		{"allow 02:00-03:00 Europe/Berlin", "2026-10-25 02:00 UTC", "2026-10-26 01:00 UTC"},
		{"allow 02:30-03:00 Europe/Berlin", "2026-10-25 01:00 UTC", "2026-10-25 01:30 UTC"},
	} {
		w := parsed(t, c.window)
		const layout = "2006-01-02 15:04 MST"
		at, err := time.Parse(layout, c.at)
		if err != nil {
			t.Fatal(err)
		}
		got := never
		next := w.Next(at)
		if !next.IsZero() {
			got = next.UTC().Format(layout)
		}
		if got != c.next || w.Open(at) != (c.at == c.next) {
			t.Errorf("%q at %s: open %v, next %s, want %s", c.window, c.at, w.Open(at), got, c.next)
		}
	}
}

func TestNextIsTheFirstOpenMinute(t *testing.T) {
	for _, text := range []string{
		"allow Sat,Sun 02:00-05:00 Europe/Berlin", "allow 22:00-04:00 America/New_York; deny Wed", "deny 08:00-18:00 Asia/Kolkata",
		"allow 02:15-02:45 Europe/Berlin; allow 23:00-23:10 Pacific/Auckland", "allow 00:00-24:00 Australia/Lord_Howe; deny 01:00-03:00 Australia/Lord_Howe",
	} {
		w := parsed(t, text)
		for _, from := range []time.Time{noon(), time.Date(2026, 3, 28, 20, 7, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 7, 0, 0, time.UTC), time.Date(2026, 4, 4, 10, 1, 0, 0, time.UTC)} {
			for step := range 40 {
				at := from.Add(time.Duration(step) * 83 * time.Minute)
				want := at
				for !w.Open(want) {
					want = want.Truncate(time.Minute).Add(time.Minute)
				}
				if got := w.Next(at); !got.Equal(want) {
					t.Fatalf("%q after %s: %s, want %s", text, at, got.UTC(), want.UTC())
				}
			}
		}
	}
}

func TestWindowsThatCantBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"Sat 02:00-05:00":               "a rule begins with allow or deny",
		"allow 02:00":                   `"02:00" has no end`,
		"allow 25:00-26:00":             `"25:00" is no time of a day`,
		"allow 02:60-03:00":             `"02:60" is no time of a day`,
		"allow 2:5-3:00":                `"2:5" is no time of a day`,
		"allow 02:00-02:00":             "is no time at all",
		"allow Sat-Someday":             `"Sat-Someday" is no day`,
		"allow Feb 30":                  `"Feb 30" is no date`,
		"allow Dec 20-Foo 6":            "no date",
		"allow Mars/Olympus":            `"Mars/Olympus" is no day (Mon), date (Dec 20-Jan 6), time (02:00-05:00) or zone (Europe/Berlin)`,
		"allow Sat Sun":                 "there are two lists of days; write two rules",
		"allow 01:00-02:00 03:00-04:00": "there are two times",
		"allow Dec 1 Dec 2":             "there are two ranges of dates",
		"allow UTC Europe/Berlin":       "there are two zones",
		"allow 02:00-05:00; forbid Sat": `"forbid Sat": a rule begins`,
	} {
		if _, err := ParseWindow(text, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", text, err, want)
		}
	}
	if w := parsed(t, " allow  Sat\n 02:00-05:00 ;deny Dec 24"); w.String() != "allow Sat 02:00-05:00 ;deny Dec 24" || len(w.rules) != 2 {
		t.Errorf("it is %q", w)
	}
	if w, err := ParseWindow("allow 02:00-05:00", zone(t, "Europe/Berlin")); err != nil || !w.Open(time.Date(2026, 5, 1, 0, 30, 0, 0, time.UTC)) {
		t.Errorf("the zone is not the one that was given: %v", err)
	}
}

func TestWindowsGateWhatChanges(t *testing.T) {
	closed, open := parsed(t, "allow Sat 02:00-05:00"), parsed(t, "allow Fri") // noon is on a Friday
	const waits = "it waits for its window (allow Sat 02:00-05:00), which opens on Sat 2026-05-02 02:00 UTC; to do it now: gitops-compose retry web"
	label := func(w Window) func(*Stack) { return func(s *Stack) { s.Window = &w } }
	web, next := stack("web"), stack("web", changed)
	own := stack("web", mode(Controller))
	moved := func(st *State) { st.Observed.Latest = map[string]string{"app:1": "sha256:new"} }
	watched := app(func(v *Service) { v.Every = time.Hour })
	for _, c := range []struct {
		name   string
		window Window
		state  State
		want   string
	}{
		{"a change waits", closed, world(stacks(next), projects(running(web)), remember("web", applied(web))), "hold web: window: " + waits},
		{"and is done when it is open", open, world(stacks(next), projects(running(web)), remember("web", applied(web))), "up web: changed: web-app-1 has another configuration"},
		{"a new stack waits", closed, world(stacks(web), nil), "hold web: window: " + waits},
		{"a repair does not", closed, world(stacks(web), projects(running(web, exited(1))), remember("web", applied(web))), "up web: drift: web-app-1 exited (1)"},
		{"nor what has begun", closed, world(stacks(next), projects(running(web)), remember("web", Record{File: web.File, Applied: web.Digest, Tried: next.Digest, Failed: next.Digest})), "up web: changed: web-app-1 has another configuration"},
		{
			"nor what goes back", closed, world(stacks(stack("web", func(s *Stack) { s.Back = &Back{To: "1111111aaa", From: "2222222bbb", Error: "it broke"} })), projects(running(next)), remember("web", Record{File: web.File, Applied: "web-0", Tried: next.Digest})),
			"up web: rolled back: from 2222222 to 1111111, as it failed: it broke",
		},
		{"nor what a person wants now", closed, world(stacks(next), projects(running(web)), remember("web", Record{File: web.File, Applied: web.Digest, Tried: web.Digest, Passed: next.Digest})), "up web: changed: web-app-1 has another configuration"},
		{"but what a person wanted before does", closed, world(stacks(next), projects(running(web)), remember("web", Record{File: web.File, Applied: web.Digest, Tried: web.Digest, Passed: "web-0"})), "hold web: window: " + waits},
		{"a tag that has moved waits", closed, world(stacks(stack("web", watched)), projects(running(web)), remember("web", applied(web)), moved), "hold web: window: " + waits},
		{"a stop waits", closed, world(stacks(stack("db", label(open), app(func(v *Service) { v.Name = "db" }))), projects(running(web)), remember("web", applied(web))), "up db: new\nhold web: window: " + waits},
		{"a label counts more", open, world(stacks(stack("web", changed, label(closed))), projects(running(web)), remember("web", applied(web))), "hold web: window: " + waits},
		{"to be open, too", closed, world(stacks(stack("web", changed, label(open))), projects(running(web)), remember("web", applied(web))), "up web: changed: web-app-1 has another configuration"},
		{
			"the daemon's own waits", closed, world(stacks(stack("web", mode(Controller), changed)), projects(running(own, isSelf)), remember("web", Record{File: own.File, Applied: own.Digest, Tried: own.Digest, Own: Own{Applied: "h1"}})),
			"hold web: window: " + waits,
		},
		{"one that never opens says so", parsed(t, "deny"), world(stacks(web), nil), "hold web: window: it waits for its window (deny), which never opens; to do it now: gitops-compose retry web"},
	} {
		p := Build(c.state, Policy{Heal: true, Window: c.window})
		if got := strings.TrimSpace(p.String()); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if opens := time.Date(2026, 5, 2, 2, 0, 0, 0, time.UTC); strings.Contains(c.want, "which opens") && !p.Wake.Equal(opens) {
			t.Errorf("%s: the next plan is due at %s", c.name, p.Wake)
		}
	}
}
