// Package handover replaces the container that the daemon runs in by its
// successor, so that whatever is killed on the way there is one working daemon
// at the end, the old one or the new one.
//
// The daemon can't do that itself: the engine would end it half-way. It writes
// down what is to be done, and starts two small containers that see what it
// sees. The helper, from the new image, does the work; the guard, from the old
// image, watches it and goes on when it is killed. Until it is stopped the old
// daemon is a second guard, and the new one is a third as soon as it is ready.
//
// All of them act on one record in the clone's .git folder, and only whoever
// holds its lock does. Each step is written down when it is done and can be
// done again, so that the next holder of the lock goes on from there:
//
//	asked      the daemon wants it
//	helped     helper and guard are there
//	begun      the helper is at work, and has loaded the stack
//	renamed    the old container has given its name away
//	created    the new container is there, and does not run
//	disarmed   the engine will not start the old one again by itself
//	stopped    the old one is stopped, and its ports are free
//	started    the new one runs
//	ready      the new daemon is ready, and its first check has ended
//	removed    the old container is gone
//	done
//
// When something goes wrong, all of it is taken back:
//
//	failing    why is written down
//	cleared    the new container is gone
//	restored   the old one has its name and its restart policy
//	revived    the old one runs
//	done
//
// The record names its format. Whoever finds one of a newer release leaves it and
// all containers alone, see read.
//
// A person may read the record, and need not. When it is lost meanwhile there is
// one daemon at the end all the same, but nobody can say why it is that one.
package handover
