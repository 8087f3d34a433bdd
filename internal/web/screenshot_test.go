package web

import (
	"encoding/base64"
	"os"
)

// screenshot writes a picture of the whole page, for people who change it: run
// the browser's tests with SCREENSHOTS=folder.
func (b *browser) screenshot(path string) {
	b.Helper()
	data, _ := b.call("Page.captureScreenshot", `{"captureBeyondViewport":true}`)["data"].(string)
	png, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o600); err != nil {
		b.Fatal(err)
	}
}
