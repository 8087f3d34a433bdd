// Package web is the HTTP face of the daemon: webhook, metrics, health, status
// page and API.
//
// It decides nothing about stacks: it reads what checks reported (History) and
// asks for a look (Trigger). Everything that a stranger can send is bounded
// here: connections, requests at the same time, headers, bodies, and the time
// for each of them.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Limits of what the server does at the same time and waits for.
const (
	maxConnections = 256
	maxRequests    = 64
	maxStreams     = 16
	maxHeader      = 16 << 10

	headerTimeout   = 5 * time.Second
	readTimeout     = 30 * time.Second
	writeTimeout    = time.Minute
	idleTimeout     = time.Minute
	shutdownTimeout = 2 * time.Second
	pingTimeout     = 2 * time.Second
)

// Options are what a Server is made of.
type Options struct {
	// Address is where it listens, as host:port.
	Address string
	// ConfigFile is a web configuration of the Prometheus exporter-toolkit; ""
	// is plain HTTP for everybody.
	ConfigFile string
	Log        *slog.Logger
	Version    string

	// History is what the answers are made of.
	History *report.History
	// Gatherer is what /metrics shows; nil switches it off.
	Gatherer prometheus.Gatherer

	// Trigger asks for a check. It must not block, and it must not lose a call:
	// a look that begins after it has to follow.
	Trigger func(reason string)
	// Past finds what was done; nil if nobody keeps that.
	Past func(report.EventFilter) ([]report.Event, error)
	// Command carries out what a person asks for; nil if nobody may ask. Its error may be
	// plan.ErrNoStack.
	Command func(ctx context.Context, c plan.Command) error
	// DisableWebhook switches /webhook off.
	DisableWebhook bool
	// WebhookSecret gives the secret of the moment; "" lets everybody trigger,
	// and so does a nil func.
	WebhookSecret func() (string, error)
	// Branch is the branch whose pushes trigger.
	Branch string
	// Remote gives the address of the repository whose pushes trigger; "" or nil
	// when it is not known, then pushes to any do. It may hold credentials.
	Remote func() string
	// Count is told of each request to the webhook; may be nil.
	Count func(provider, result string)
}

// Server answers HTTP requests.
type Server struct {
	o        Options
	listener net.Listener
	http     *http.Server
	page     *page
	// closing is closed when a shutdown begins, for answers that have no end.
	closing chan struct{}
}

// New checks the options and binds the address, so that a mistake ends the
// start and not something later. Run has to be called to release it.
func New(o Options) (*Server, error) {
	if err := toolkit.Validate(o.ConfigFile); err != nil {
		return nil, fmt.Errorf("HTTP_CONFIG_FILE %s: %w", o.ConfigFile, err)
	}
	o = defaults(o)
	page, err := newPage()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("HTTP_ADDRESS: %w", err)
	}
	s := &Server{o: o, listener: listener, page: page, closing: make(chan struct{})}
	s.http = limited(s.handler(s.private()), o.Log)
	connections := &connections{most: maxConnections, open: map[net.Conn]int{}}
	s.http.ConnState = connections.follow
	s.http.RegisterOnShutdown(func() {
		close(s.closing)
		connections.close()
	})
	return s, nil
}

// limited is a server that waits for nobody without end.
func limited(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func defaults(o Options) Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.WebhookSecret == nil {
		o.WebhookSecret = func() (string, error) { return "", nil }
	}
	if o.Remote == nil {
		o.Remote = func() string { return "" }
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	return o
}

// Addr is the address that was bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until the context ends, then lets requests end for a bounded time:
// those that have no end of their own are ended at once, and nobody who asks
// nothing is waited for. It returns nil after a shutdown, even if requests had
// to be cut off.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.serve() }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(bounded); err != nil {
		s.o.Log.Info("requests were cut off, as they had not ended in time")
		_ = s.http.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// serve lets the exporter-toolkit put TLS and authentication around the server.
// It wraps the server's handler and knows no exceptions; but it has done so
// when it accepts the first connection, and that is when the public endpoints
// are put in front of what it made.
func (s *Server) serve() error {
	if s.o.ConfigFile == "" {
		return s.http.Serve(s.listener)
	}
	l := &hooked{Listener: s.listener, before: func() { s.http.Handler = s.handler(s.http.Handler) }}
	s.http.Handler = s.private()
	return toolkit.Serve(l, s.http, &toolkit.FlagConfig{WebConfigFile: &s.o.ConfigFile}, s.o.Log)
}

// hooked calls a function before the first connection is accepted. Accept is
// called by one goroutine only.
type hooked struct {
	net.Listener
	before func()
}

func (h *hooked) Accept() (net.Conn, error) {
	if h.before != nil {
		h.before()
		h.before = nil
	}
	return h.Listener.Accept()
}

// handler is the whole face: the public endpoints, and private for the rest.
func (s *Server) handler(private http.Handler) http.Handler {
	limited := bound(maxRequests, private)
	webhook := http.NotFoundHandler()
	if !s.o.DisableWebhook {
		webhook = bound(maxRequests, newWebhook(s.o, s.closing))
	}
	return headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz": // never queues behind anything
			get(s.healthz)(w, r)
		case "/webhook":
			webhook.ServeHTTP(w, r)
		default:
			limited.ServeHTTP(w, r)
		}
	}))
}

// private is what HTTP_CONFIG_FILE protects.
func (s *Server) private() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /stacks/{name}", s.one)
	mux.Handle("POST /check", s.checkNow())
	mux.HandleFunc("GET /api/v1/status", s.status)
	s.pastAndCommands(mux, func(r *http.Request) bool { return authenticated(s.o.ConfigFile, r) })
	mux.Handle("GET /api/v1/events", bound(maxStreams, http.HandlerFunc(s.events)))
	if s.o.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{
			ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelError),
		}))
	}
	return mux
}
