package web

import (
	"net/http"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// authenticated says whether who sent a request has shown who they are:
//
//	passwords are configured           nobody gets past the exporter-toolkit without one, and
//	                                   who waits at the webhook has proved to know its secret
//	a certificate that was verified    against an authority that the configuration names; else
//	                                   it could be anybody's from any public one
//
// The configuration can change while the daemon runs, and is read each time.
func authenticated(configFile string, r *http.Request) bool {
	c, err := readConfig(configFile)
	if err != nil {
		return false
	}
	authority := c.TLSConfig.ClientCAs != "" || c.TLSConfig.ClientCAsText != ""
	return len(c.Users) > 0 || authority && r.TLS != nil && len(r.TLS.VerifiedChains) > 0
}

// known is the state of everything, with details for those who may see them
// only.
func (s *Server) known(detailed bool) report.Overview {
	now := s.o.History.Snapshot().At(time.Now())
	if !detailed {
		return now.Public()
	}
	return now
}
