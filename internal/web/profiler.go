package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
)

// Profiler answers with profiles of the running daemon, for those who look for
// where its time and memory go. Profiles show the arguments that the program was
// started with and what it is doing, so it listens at an address of its own and
// knows no authentication: the address is to be one that nobody else reaches.
type Profiler struct {
	listener net.Listener
	http     *http.Server
}

// NewProfiler binds the address. Run has to be called to release it.
func NewProfiler(address string, log *slog.Logger) (*Profiler, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("PPROF_ADDRESS: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &Profiler{listener: listener, http: &http.Server{
		Handler:           headers(mux),
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Addr is the address that was bound.
func (p *Profiler) Addr() string { return p.listener.Addr().String() }

// Run serves until the context ends. A profile that is being taken then is cut
// off.
func (p *Profiler) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.http.Close() })
	defer stop()
	if err := p.http.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve profiles: %w", err)
	}
	return nil
}
