package engine_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
)

func TestUnreachableTellsAnEngineThatIsAwayFromOneThatSaysNo(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc // nil: nobody listens
		want   bool
	}{
		"nobody listens":       {nil, true},
		"the connection ends":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		"a proxy's empty 502":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, true},
		"a proxy's page, 503":  {page(http.StatusServiceUnavailable, "<html><body><h1>503 Service Unavailable</h1>\nNo server is available.\n</body></html>\n"), true},
		"a proxy's page, 504":  {page(http.StatusGatewayTimeout, "<html><body><h1>504 Gateway Time-out</h1></body></html>\n"), true},
		"the engine's 500":     {page(http.StatusInternalServerError, `{"message":"port is already allocated"}`), false},
		"the engine's 409":     {page(http.StatusConflict, `{"message":"name is in use"}`), false},
		"a proxy that forbids": {page(http.StatusForbidden, "<html><body><h1>403 Forbidden</h1></body></html>\n"), false},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		if c.answer != nil {
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(c.answer)
			s.Listener = l
			s.Start()
			defer s.Close()
		}
		api, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		err = engine.New(api, engine.Options{}).Start(context.Background(), "x")
		if err == nil || engine.Unreachable(err) != c.want {
			t.Errorf("%s: unreachable %v: %v", name, !c.want, err)
		}
	}
	if engine.Unreachable(nil) {
		t.Error("no error is unreachable")
	}
}

func page(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if body[0] == '{' {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}
