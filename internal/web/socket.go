package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// SocketName is the daemon's socket in the folder for its state. Who may open it may do
// all that the API can, without a password: its owner only, who could do the same by hand.
const SocketName = "control.sock"

// Socket is the API for those who are on the host, or in the container.
type Socket struct {
	listener net.Listener
	http     *http.Server
	path     string
}

// Listen opens the socket in a folder. Only one daemon may do so at a time.
func (s *Server) Listen(dir string) (*Socket, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	defer folder.Close()
	path := filepath.Join(dir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a daemon that was killed
		return nil, fmt.Errorf("remove the control socket of before: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketIn(folder), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // it has another name by then
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open the control socket: %w", err), listener.Close())
	}
	return &Socket{listener: listener, path: path, http: limited(headers(bound(maxRequests, s.trusted())), s.o.Log)}, nil
}

// SocketIn names the socket through an open folder: the name of a socket can have some 100
// bytes only, and clones lie deep.
func SocketIn(folder *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), SocketName)
}

// Run serves until the context ends.
func (k *Socket) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := k.http.Shutdown(bounded); err != nil {
			_ = k.http.Close()
		}
	})
	defer stop()
	err := k.http.Serve(k.listener)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, os.Remove(k.path))
}

// trusted is the API for whoever may open the socket.
func (s *Server) trusted() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, s.overview(r, true))
	})
	s.pastAndCommands(mux, func(*http.Request) bool { return true })
	return mux
}
