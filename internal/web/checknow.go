package web

import "net/http"

// authenticated says whether everybody who gets past the exporter-toolkit has
// shown a password. The configuration can change while the daemon runs.
func (s *Server) authenticated() bool {
	c, err := readConfig(s.o.ConfigFile)
	return err == nil && len(c.Users) > 0
}

// checkNow is the button of the status page. A browser sends the password along
// with whatever another site makes it send, so requests that began at another
// origin are refused.
func (s *Server) checkNow() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !s.authenticated() {
			http.Error(w, "only where HTTP_CONFIG_FILE asks for a password", http.StatusForbidden)
			return
		}
		s.o.Trigger("webhook")
		// Not http.Redirect, which makes it a path of this host: behind a proxy the
		// page may be below another one.
		w.Header().Set("Location", "./")
		w.WriteHeader(http.StatusSeeOther)
	}))
}
