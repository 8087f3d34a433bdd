package config

import "testing"

func TestTheGitProtocolIsRefused(t *testing.T) {
	_, err := Load([]string{"REPOSITORY_URL=git://example.com/x"})
	const want = `configuration: REPOSITORY_URL="git://example.com/x": want https://host/path, ssh://user@host/path, user@host:path, file:///path or an absolute path ` +
		`(git:// is not supported: nobody can tell whether what arrives is what was sent)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
