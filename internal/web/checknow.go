package web

import "net/http"

// checkNow is the button of the status page. A browser sends the password along
// with whatever another site makes it send, so requests that began at another
// origin are refused.
func (s *Server) checkNow() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !authenticated(s.o.ConfigFile, r) {
			http.Error(w, "requires basic auth or a client certificate (see HTTP_CONFIG_FILE)", http.StatusForbidden)
			return
		}
		s.o.Trigger("page")
		// Not http.Redirect, which makes it a path of this host: behind a proxy the
		// page may be below another one.
		w.Header().Set("Location", "./")
		w.WriteHeader(http.StatusSeeOther)
	}))
}
