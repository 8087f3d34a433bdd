package metrics

import "github.com/prometheus/client_golang/prometheus"

// buckets reach from an operation that finds everything in place to the pull of
// a large image over a slow line.
func buckets() []float64 { return []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600} }

// factory makes and registers metrics with one label whose values are known.
type factory struct{ reg prometheus.Registerer }

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.reg.MustRegister(c)
	return c
}

func (f factory) counters(name, help, label string, values ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	f.reg.MustRegister(v)
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

func (f factory) gauges(name, help, label string, values ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	f.reg.MustRegister(v)
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

func (f factory) histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets()})
	f.reg.MustRegister(h)
	return h
}

func (f factory) histograms(name, help, label string, values ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets()}, []string{label})
	f.reg.MustRegister(v)
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

// webhooks is the only family with two labels.
func (f factory) webhooks(name, help string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"provider", "result"})
	f.reg.MustRegister(v)
	for _, provider := range providers() {
		for _, decision := range decisions() {
			v.WithLabelValues(provider, decision)
		}
	}
	return v
}

func (f factory) constant(name, help string, value float64, labels prometheus.Labels) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	f.reg.MustRegister(g)
	g.Set(value)
}
