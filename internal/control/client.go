// Package control is the other end of the daemon's socket: what the commands suspend,
// resume, retry, sync, status and history ask it for, and how that is shown in a terminal.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/web"
)

// Client asks a daemon over its socket.
type Client struct{ http http.Client }

// Dial gives a client of the daemon whose state is in a folder. No connection is made yet.
func Dial(dir string) *Client {
	path := filepath.Join(dir, web.SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		folder, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nobody(path)
		}
		if err != nil {
			return nil, err
		}
		defer folder.Close()
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", web.SocketIn(folder))
		switch {
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
			return nil, nobody(path)
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%s is its owner's only; run this as the user that the daemon runs as", path)
		case err != nil:
			return nil, errors.New(strings.ReplaceAll(err.Error(), web.SocketIn(folder), path))
		}
		return conn, nil
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial}}}
}

func nobody(path string) error {
	return fmt.Errorf("no daemon works on this clone: nobody listens at %s", path)
}

// Order is what a person asks for.
type Order struct {
	// Action is suspend, resume, retry or sync. Stack is a name; empty for all.
	Action, Stack string
	// For is how long a suspension lasts, 0 for until it is resumed; Reason is why. By is
	// who asks.
	For        time.Duration
	Reason, By string
}

// Do carries out an order, and says what came of it in a sentence.
func (c *Client) Do(ctx context.Context, o Order) (string, error) {
	path := "/api/v1/"
	if o.Stack != "" {
		path += "stacks/" + url.PathEscape(o.Stack) + "/"
	}
	asked := web.Asked{Reason: o.Reason, By: o.By}
	if o.For > 0 {
		asked.For = o.For.String()
	}
	var done web.Done
	if err := c.ask(ctx, http.MethodPost, path+o.Action, asked, &done); err != nil {
		return "", err
	}
	return told(done), nil
}

func told(d web.Done) string {
	what := map[string]string{
		string(plan.Suspend): "suspended", string(plan.Resume): "resumed", string(plan.Retry): "tried again now", string(plan.Sync): "the remote is asked now",
	}[d.Action]
	if d.Stack != "" {
		what = d.Stack + ": " + what
	}
	if !d.Until.IsZero() {
		what += " until " + d.Until.Local().Format("2006-01-02 15:04 MST")
	}
	return what
}

// Status gives what GET /api/v1/status does, of all stacks or of those that are named. A
// name that no stack has is an error.
func (c *Client) Status(ctx context.Context, names ...string) (web.Status, error) {
	var s web.Status
	err := c.ask(ctx, http.MethodGet, "/api/v1/status", nil, &s)
	if err == nil {
		s.Stacks, err = only(s.Stacks, names)
	}
	return s, err
}

// History gives what was done, the newest first, of a stack or, if that is empty, of all. A
// since of 0 is for all that is kept.
func (c *Client) History(ctx context.Context, stack string, since time.Duration, most int) ([]report.Event, error) {
	q := url.Values{"stack": {stack}, "limit": {strconv.Itoa(most)}}
	if since > 0 {
		q.Set("since", since.String())
	}
	var past web.Past
	err := c.ask(ctx, http.MethodGet, "/api/v1/history?"+q.Encode(), nil, &past)
	return past.Events, err
}

func (c *Client) ask(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = strings.NewReader(string(b))
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, content)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // the address says nothing to anybody
		}
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, into)
}
