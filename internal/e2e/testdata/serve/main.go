// Command serve is what containers of the tests run: a web service that says which
// version it is and ends in good order, a reverse proxy in front of it, and a check.
//
//	serve app VERSION
//	serve proxy HOST
//	serve check
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const port = ":8080"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "app":
		return serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Millisecond) // so that requests are under way when it is asked to end
			fmt.Fprint(w, args[1])
		}))
	case len(args) == 2 && args[0] == "proxy":
		return serve(proxy(args[1]))
	case len(args) == 1 && args[0] == "check":
		answer, err := http.Get("http://127.0.0.1" + port)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	default:
		return errors.New("want app VERSION, proxy HOST or check")
	}
}

// serve ends when it is asked to, after the requests that are under way.
func serve(h http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &http.Server{Addr: port, Handler: h}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		done <- s.Shutdown(context.Background())
	}()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// proxy passes requests on to one of the containers behind a name. One that does not
// answer was about to end: the next is asked, as reverse proxies do for a GET, and those
// that there are by then. It never waits for one to come.
func proxy(host string) http.Handler {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	const tries = 3
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var failed error
		for range tries {
			addresses, err := net.DefaultResolver.LookupHost(r.Context(), host)
			failed = errors.Join(failed, err)
			for _, a := range addresses {
				answer, err := client.Get("http://" + a + port)
				if err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				w.WriteHeader(answer.StatusCode)
				_, _ = io.Copy(w, answer.Body)
				_ = answer.Body.Close()
				return
			}
		}
		http.Error(w, fmt.Sprintf("no container of %s answers: %v", host, failed), http.StatusBadGateway)
	})
}
