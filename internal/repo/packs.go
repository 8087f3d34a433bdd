package repo

import "context"

// consolidate keeps packs from piling up.
func (r *Repository) consolidate(context.Context) {}
