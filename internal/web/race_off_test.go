//go:build !race

package web

// allowedMemory is by how many MB abuse may make the process grow.
const allowedMemory = 30
