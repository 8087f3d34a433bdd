package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// stacks collects the state of stacks from the last picture. Nothing is kept
// between two scrapes: there is no series to forget.
type stacks struct {
	history *report.History

	active, held, ready, reachable           *prometheus.Desc
	image                                    *prometheus.Desc
	info, status, reason, lastSuccess, retry *prometheus.Desc
	suspended                                *prometheus.Desc
}

func newStacks(h *report.History) *stacks {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &stacks{
		history:     h,
		active:      desc("gitops_deployments_active_total", "Stacks by their state now.", "status"),
		held:        desc("gitops_stacks_held", "Stacks that are held back from what git wants, by the kind of reason.", "reason"),
		ready:       desc("gitops_ready", "1 if the last check succeeded, 0 if it failed or there was none yet."),
		reachable:   desc("gitops_remote_reachable", "1 if the newest look knew the remote's head, 0 if the remote could not be asked or there was no look yet."),
		info:        desc("gitops_stack_info", "A stack, its compose file and the commit that was last applied to it.", "stack", "file", "commit"),
		image:       desc("gitops_stack_image_info", "The image that a service runs, by its digest at the registry, or its id if it came from none.", "stack", "service", "image", "digest"),
		status:      desc("gitops_stack_status", "1 for the state that a stack is in, 0 for the others.", "stack", "status"),
		reason:      desc("gitops_stack_held", "1 if a stack is held back from what git wants, with the kind of reason; no series if it is not.", "stack", "reason"),
		lastSuccess: desc("gitops_stack_last_success_timestamp_seconds", "When a stack was last applied with success; no series if never.", "stack"),
		suspended:   desc("gitops_stack_suspended_timestamp_seconds", "Since when a stack is left as it is because a person wants that; no series if it is not.", "stack"),
		retry:       desc("gitops_stack_next_retry_timestamp_seconds", "When a failed stack is tried again; no series if it did not fail.", "stack"),
	}
}

// Describe implements prometheus.Collector.
func (s *stacks) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.active, s.held, s.ready, s.reachable, s.info, s.image, s.status, s.reason, s.lastSuccess, s.retry, s.suspended} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *stacks) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now := s.history.Snapshot()
	gauge(s.ready, one(now.Problem == ""))
	gauge(s.reachable, one(!now.Look.At.IsZero() && now.Look.Offline == ""))
	totals(now.Stacks, func(status string, n int) { gauge(s.active, float64(n), status) },
		func(reason string, n int) { gauge(s.held, float64(n), reason) })
	for _, r := range rows(now.Stacks) {
		for _, f := range r.files {
			gauge(s.info, 1, r.name, f.path, f.commit)
		}
		for _, i := range r.images {
			gauge(s.image, 1, r.name, i.service, i.ref, i.digest)
		}
		for _, status := range statuses() {
			gauge(s.status, one(status == string(r.status)), r.name, status)
		}
		if r.held != "" {
			gauge(s.reason, 1, r.name, r.held)
		}
		if !r.success.IsZero() {
			gauge(s.lastSuccess, unix(r.success), r.name)
		}
		if !r.suspended.IsZero() {
			gauge(s.suspended, unix(r.suspended), r.name)
		}
		if !r.retry.IsZero() {
			gauge(s.retry, unix(r.retry), r.name)
		}
	}
}

// totals counts stacks by status and by hold, every value of both included.
func totals(all []report.Stack, status, held func(string, int)) {
	byStatus, byHold := map[string]int{}, map[string]int{}
	for _, s := range all {
		byStatus[string(s.Status)]++
		if s.Held != "" {
			byHold[known(s.Held, reasons())]++
		}
	}
	for _, value := range statuses() {
		status(value, byStatus[value])
	}
	for _, value := range append(reasons(), other) {
		if value != other || byHold[other] > 0 {
			held(value, byHold[value])
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// text makes a name from git fit for a label: Prometheus refuses a whole scrape
// for one byte that is not UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// rows merges stacks of the same name: two files that want one name are both
// invalid, and must not make the same series twice, which would fail the whole
// scrape.
func rows(all []report.Stack) []*row {
	var merged []*row
	byName := map[string]*row{}
	for _, s := range all {
		name := text(s.Name)
		r := byName[name]
		if r == nil {
			r = &row{name: name, status: s.Status}
			byName[name] = r
			merged = append(merged, r)
		}
		r.add(s)
	}
	return merged
}
