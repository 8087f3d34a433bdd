//go:build race

package web

// allowedMemory is more with the race detector, which shadows all memory.
const allowedMemory = 300
