package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
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
//	Webhook-Signature: v1,BASE64 ...     GitLab with a signing token, and what
//	                                     else follows standardwebhooks.com
//
// where HMAC is HMAC-SHA256 of the raw body in hex, and BASE64 the same of
// "id.timestamp.body" with the id and the time from two more headers. One valid proof is enough:
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

// claims are the signatures that a request carries, decoded.
type claims struct {
	// body are those of the body.
	body [][]byte
	// standard are those of prefix and body; prefix is "id.timestamp.".
	standard [][]byte
	prefix   string
}

// none says that there is nothing that could be valid.
func (c claims) none() bool { return len(c.body) == 0 && len(c.standard) == 0 }

func readClaims(h http.Header, now time.Time) claims {
	var c claims
	for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature"} {
		if value, ok := strings.CutPrefix(h.Get(name), "sha256="); ok {
			c.body = add(c.body, value, hex.DecodeString)
		}
	}
	for _, name := range []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} {
		c.body = add(c.body, h.Get(name), hex.DecodeString)
	}
	at := h.Get("Webhook-Timestamp")
	if !recent(at, now) {
		return c // a replay, or a clock that is wrong
	}
	c.prefix = h.Get("Webhook-Id") + "." + at + "."
	for value := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if value, ok := strings.CutPrefix(value, "v1,"); ok {
			c.standard = add(c.standard, value, base64.StdEncoding.DecodeString)
		}
	}
	return c
}

// add adds a signature if it is one; there is no use for more than a few.
func add(all [][]byte, value string, decode func(string) ([]byte, error)) [][]byte {
	mac, err := decode(value)
	if err != nil || len(mac) != sha256.Size || len(all) >= 8 {
		return all
	}
	return append(all, mac)
}

// recent says whether a time in seconds is at most five minutes away, which is
// what standardwebhooks.com recommends.
func recent(seconds string, now time.Time) bool {
	const tolerance = 5 * time.Minute
	n, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && now.Sub(time.Unix(n, 0)).Abs() <= tolerance
}

// standardKey is the key of a signing token, which is the base64 of a key
// behind a prefix; any other secret is its own key.
func standardKey(secret string) []byte {
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			return key
		}
	}
	return []byte(secret)
}

// signed says whether one of the signatures is the sum.
func signed(signatures [][]byte, sum []byte) bool {
	for _, s := range signatures {
		if hmac.Equal(s, sum) {
			return true
		}
	}
	return false
}
