package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
)

// The ways to prove that one knows the webhook's secret:
//
//	Authorization: Bearer SECRET         anything
//	X-Gitlab-Token: SECRET               GitLab
//	X-Hub-Signature-256: sha256=HMAC     GitHub, Gitea, Forgejo
//	X-Hub-Signature: sha256=HMAC         Bitbucket Cloud and Server
//	X-Gitea-Signature: HMAC              Gitea, Forgejo
//	X-Forgejo-Signature: HMAC            Forgejo
//	X-Gogs-Signature: HMAC               Gogs, Gitea, Forgejo
//
// where HMAC is HMAC-SHA256 of the raw body in hex. One valid proof is enough:
// Gitea sends several, and a Bearer header that may be meant for a proxy. An
// empty signature is what Gitea sends when it has no secret: it is none. SHA-1,
// which GitHub still sends along, is not accepted.

// token says whether a header holds the secret itself. The comparison takes the
// same time wherever they differ, and whatever their lengths are.
func token(h http.Header, secret string) bool {
	bearer, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if ok && same(bearer, secret) {
		return true
	}
	return same(h.Get("X-Gitlab-Token"), secret)
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return a != "" && hmac.Equal(x[:], y[:])
}

// signatures are the decoded signatures of a request.
func signatures(h http.Header) [][]byte {
	var all [][]byte
	add := func(value string) {
		if mac, err := hex.DecodeString(value); err == nil && len(mac) == sha256.Size {
			all = append(all, mac)
		}
	}
	for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature"} {
		if value, ok := strings.CutPrefix(h.Get(name), "sha256="); ok {
			add(value)
		}
	}
	for _, name := range []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} {
		add(h.Get(name))
	}
	return all
}

// signed says whether one of the signatures is one of the sums.
func signed(signatures [][]byte, sums ...[]byte) bool {
	for _, s := range signatures {
		for _, sum := range sums {
			if hmac.Equal(s, sum) {
				return true
			}
		}
	}
	return false
}
