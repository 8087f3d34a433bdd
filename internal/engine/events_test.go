package engine

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

func TestAfterTheEngineWasAwayAnythingMayHaveChanged(t *testing.T) {
	var streams atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", OldestAPI)
		if !strings.HasSuffix(r.URL.Path, "/events") || streams.Add(1) == 1 {
			return // the first stream ends at once
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+s.Listener.Addr().String()), client.WithVersion(OldestAPI))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case name := <-New(api, Options{Logger: slog.New(slog.DiscardHandler)}).Events(ctx):
		if name != "" {
			t.Errorf("%q changed", name)
		}
	case <-ctx.Done():
		t.Error("nobody is told to look")
	}
	cancel()
}
