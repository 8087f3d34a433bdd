// Package repo keeps the clone of the stacks' repository: it asks the remote
// for the head of one branch, fetches it, shows the tree of any commit as a
// folder, and moves the work tree from one commit to the next.
//
// The clone holds what people can't get back: databases and uploads in folders
// beside the compose files, hand-written env files. Four rules follow.
//
//   - Only paths that differ between two commits are looked at and written; the
//     work tree is never walked, so what git doesn't track is never in reach.
//   - Everything is checked before the first write. One finding refuses all of it.
//   - Each step is one that a kill or a full disk can't leave half done (write
//     aside, fsync, rename), the head moves last, and a journal tells the next
//     start what was under way.
//   - Locks are git's own, so that a person's git command and the daemon can
//     work in one clone.
//
// Object storage and pack decoding come from go-git; its work tree code does
// not, because it deletes or overwrites untracked files.
package repo
