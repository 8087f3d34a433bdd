// Package metrics shows what checks do to Prometheus.
//
// Metrics is a reporter like the status page's history: it is told of looks,
// stacks and ended checks and decides nothing. The first six families are an
// interface that dashboards exist for; their names are kept as they are, even
// where Prometheus' conventions would have others.
//
// What is the state of stacks is computed from the last picture at each scrape
// (see stacks.go), so that the series of a removed stack go with it. What is
// counted lives in ordinary counters, which exist with 0 from the start, so
// that rate() sees the first event.
package metrics

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const (
	success = "success"
	failure = "error"
)

// Options are what does not change while the daemon runs.
type Options struct {
	// Version and Commit are those of the build.
	Version string
	Commit  string
	// Interval is the time between two checks; 0 if they are not repeated.
	Interval time.Duration
}

// Metrics counts. It is a report.Reporter and safe for concurrent use.
type Metrics struct {
	history *report.History

	checkTimestamp  *prometheus.GaugeVec
	checks          *prometheus.CounterVec
	changeTimestamp *prometheus.GaugeVec
	results         *prometheus.CounterVec

	checkDuration     prometheus.Histogram
	operationDuration *prometheus.HistogramVec
	operationErrors   *prometheus.CounterVec
	looks             *prometheus.CounterVec
	fetches           *prometheus.CounterVec
	fetchDuration     prometheus.Histogram
	webhooks          *prometheus.CounterVec
	drift             prometheus.Counter
	retries           prometheus.Counter
	handOvers         *prometheus.CounterVec
	rollbacks         *prometheus.CounterVec
}

// New makes the metrics and registers them. It panics when they are registered
// already.
func New(reg prometheus.Registerer, o Options) *Metrics {
	f := factory{reg}
	m := &Metrics{
		history: report.NewHistory(nil),

		checkTimestamp: f.gauges("gitops_check_timestamp_seconds", "When the last check ended, by how it ended.",
			"status", failure, success),
		checks: f.counters("gitops_check_total", "Checks, by how they ended.",
			"status", failure, success),
		changeTimestamp: f.gauges("gitops_deployments_change_timestamp_seconds", "When a change was last applied, by whether all of it went well.",
			"status", failure, success),
		results: f.counters("gitops_deployments_operations_total", "What checks did to stacks.",
			"operation", words(report.Results())...),

		checkDuration:     f.histogram("gitops_check_duration_seconds", "Time from the beginning of a check to the end of its last operation."),
		operationDuration: f.histograms("gitops_operation_duration_seconds", "Time that operations on stacks took.", "operation", kinds()...),
		operationErrors:   f.counters("gitops_operation_errors_total", "Operations that failed.", "operation", kinds()...),
		looks:             f.counters("gitops_looks_total", "Comparisons of what is wanted with what runs, by what started them.", "trigger", triggers()...),
		fetches:           f.counters("gitops_fetches_total", "Requests to the remote repository, by how they ended.", "result", failure, success),
		fetchDuration:     f.histogram("gitops_fetch_duration_seconds", "Time that requests to the remote repository took."),
		webhooks:          f.webhooks("gitops_webhook_requests_total", "Requests to the webhook, by who sent them and what was decided."),
		drift:             f.counter("gitops_drift_total", "Stacks brought back after they had changed on the host without a change in git."),
		retries:           f.counter("gitops_retries_total", "Attempts at stacks whose last attempt had failed."),
		rollbacks:         f.counters("gitops_rollbacks_total", "Stacks taken back to their last good version, as a new one failed, by how that ended.", "result", failure, success),
		handOvers:         f.counters("gitops_handovers_total", "Hand-overs of the daemon's own stack, by how they ended.", "result", failure, success),
	}
	f.constant("gitops_build_info", "The build of the daemon.", 1, prometheus.Labels{"version": o.Version, "commit": o.Commit, "goversion": runtime.Version()})
	f.constant("gitops_check_interval_seconds", "The configured time between two checks; 0 if they are not repeated.", o.Interval.Seconds(), nil)
	reg.MustRegister(newStacks(m.history), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Looked takes over the picture of a look.
func (m *Metrics) Looked(l report.Look) {
	m.history.Looked(l)
	m.looks.WithLabelValues(known(l.Trigger, triggers())).Inc()
}

// Updated replaces the state of one stack.
func (m *Metrics) Updated(s report.Stack) { m.history.Updated(s) }

// Ended counts a check and all that it did.
func (m *Metrics) Ended(c report.Check) {
	m.history.Ended(c)
	status := outcome(c.Success())
	m.checks.WithLabelValues(status).Inc()
	m.checkTimestamp.WithLabelValues(status).Set(unix(c.Ended))
	m.checkDuration.Observe(c.Ended.Sub(c.At).Seconds())
	if changed, ok := c.Changed(); changed {
		m.changeTimestamp.WithLabelValues(outcome(ok)).Set(unix(c.Ended))
	}
	for _, n := range c.Counts {
		m.results.WithLabelValues(string(n.Result)).Inc()
	}
	m.operations(c)
}

// operations counts the single operations of a check.
func (m *Metrics) operations(c report.Check) {
	if len(c.Operations) == 0 {
		return
	}
	failed := map[string]bool{} // before this check
	for _, s := range c.Stacks {
		failed[s.Name] = s.Error != ""
	}
	for _, op := range c.Operations {
		kind := known(label(op.Kind), kinds())
		m.operationDuration.WithLabelValues(kind).Observe((op.Took + op.Settled).Seconds())
		if op.Error != "" {
			m.operationErrors.WithLabelValues(kind).Inc()
		}
		if plan.Kind(op.Kind) == plan.HandOver {
			m.handOvers.WithLabelValues(outcome(op.Error == "")).Inc()
		}
		if plan.Kind(op.Kind) == plan.Up && strings.HasPrefix(op.Cause, string(plan.Drifted)) {
			m.drift.Inc()
		}
		if plan.Kind(op.Kind) == plan.Up && strings.HasPrefix(op.Cause, string(plan.RolledBack)) {
			m.rollbacks.WithLabelValues(outcome(op.Error == "")).Inc()
		}
		if failed[op.Stack] {
			failed[op.Stack] = false // a pull and an up are one attempt
			m.retries.Inc()
		}
	}
}

// Fetched counts a request to the remote repository.
func (m *Metrics) Fetched(took time.Duration, err error) {
	m.fetches.WithLabelValues(outcome(err == nil)).Inc()
	m.fetchDuration.Observe(took.Seconds())
}

// Webhook counts a request to the webhook. Both words come from the fixed sets
// of the web package; anything else is counted as "other", because the sender
// must not be able to make series.
func (m *Metrics) Webhook(provider, result string) {
	m.webhooks.WithLabelValues(known(provider, providers()), known(result, decisions())).Inc()
}

func outcome(ok bool) string {
	if ok {
		return success
	}
	return failure
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// label is a word of the domain as a label value.
func label(s string) string { return strings.ReplaceAll(s, " ", "_") }
