// Package e2e holds the end-to-end tests: the real binary against a real
// engine, a real git server and a real registry, and the real image. They
// carry the build tag engine; see make e2e.
package e2e
