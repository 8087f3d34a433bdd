package repo

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// relation is the answer to the last question of relate: nothing changes it but
// other heads.
type relation struct {
	local, remote plumbing.Hash
	rewritten     bool
	err           error
}

// relate tells a rewritten branch from a person's own commits:
//
//	remote contains local                      fast forward
//	else, local once was or was part of the
//	remote's branch                            rewritten: follow, or refuse if so set
//	else                                       diverged: refuse
func (r *Repository) relate(ctx context.Context, local, remote plumbing.Hash) (bool, error) {
	if local == remote {
		return false, nil
	}
	if r.related.local == local && r.related.remote == remote {
		return r.related.rewritten, r.related.err
	}
	contained, err := r.objects.descends(ctx, remote, local)
	if err != nil {
		return false, err
	}
	rel := relation{local: local, remote: remote}
	if !contained {
		known, err := r.fromRemote(ctx, local)
		if err != nil {
			return false, err
		}
		switch {
		case !known:
			if rel.err, err = r.diverged(ctx, local, remote); err != nil {
				return false, err
			}
			// A push or a fetch by a person can make it known: ask again.
			return false, rel.err
		case r.opt.FastForwardOnly:
			rel.err = blocked("the branch %s was rewritten on the remote: %s is not part of %s any more; REPOSITORY_HISTORY is fast-forward-only, so run git reset --keep %s in the clone if this is wanted",
				r.opt.Branch, short(local.String()), short(remote.String()), short(remote.String()))
		default:
			rel.rewritten = true
			r.log.Warn("the branch was rewritten on the remote; following it", "from", local.String(), "to", remote.String())
		}
	}
	r.related = rel
	return rel.rewritten, rel.err
}

// fromRemote tells whether a commit is known to have been on the remote's
// branch.
func (r *Repository) fromRemote(ctx context.Context, h plumbing.Hash) (bool, error) {
	known := append(reflog(r.gitDir, r.trackingRef()), r.seen()...)
	if tracking, err := readRef(r.gitDir, r.trackingRef()); err == nil {
		known = append(known, tracking)
	}
	tried := map[plumbing.Hash]bool{}
	for i := len(known) - 1; i >= 0; i-- {
		if known[i] == h {
			return true, nil
		}
	}
	for i := len(known) - 1; i >= 0; i-- {
		if tried[known[i]] || known[i].IsZero() {
			continue
		}
		tried[known[i]] = true
		ok, err := r.objects.descends(ctx, known[i], h)
		if isMissing(err) {
			continue // pruned meanwhile
		}
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// diverged names the commits that only the clone has.
func (r *Repository) diverged(ctx context.Context, local, remote plumbing.Hash) (blockedErr, err error) {
	theirs := map[plumbing.Hash]bool{}
	err = r.objects.walk(ctx, remote, func(h plumbing.Hash, _ *commit) bool {
		theirs[h] = true
		return true
	})
	if err != nil {
		return nil, err
	}
	var own []string
	count := 0
	seen := map[plumbing.Hash]bool{local: true}
	for queue := []plumbing.Hash{local}; len(queue) > 0; queue = queue[1:] {
		h := queue[0]
		if theirs[h] {
			continue
		}
		c, err := r.objects.commit(h)
		if err != nil {
			return nil, err
		}
		if count++; len(own) < 5 {
			own = append(own, fmt.Sprintf("%s %q", short(h.String()), firstBytes(c.subject, 60)))
		}
		for _, p := range c.parents {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	list := strings.Join(own, ", ")
	if more := count - len(own); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return blocked("the clone has commits that the remote's %s doesn't have: %s; push them, or drop them with git reset --keep origin/%s",
		r.opt.Branch, list, r.opt.Branch), nil
}
