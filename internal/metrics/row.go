package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// row is what there is to say about one name.
type row struct {
	name    string
	files   []file
	images  []image
	status  report.Status
	held    string
	success time.Time
	retry   time.Time
	// suspended is since when it is; zero if it is not, or nobody knows.
	suspended time.Time
}

type image struct{ service, ref, digest string }

type file struct{ path, commit string }

// add takes a stack in. Of two states the one that needs a person counts.
func (r *row) add(s report.Stack) {
	if f := (file{text(s.File), text(s.Commit)}); !slices.Contains(r.files, f) {
		r.files = append(r.files, f)
	}
	for _, svc := range s.Services {
		i := image{text(svc.Name), text(svc.Image), cmp.Or(svc.RepoDigest, svc.Digest)}
		if i.digest != "" && !slices.ContainsFunc(r.images, func(other image) bool { return other.service == i.service }) {
			r.images = append(r.images, i)
		}
	}
	if severity(s.Status) > severity(r.status) {
		r.status = s.Status
	}
	if r.held == "" && s.Held != "" {
		r.held = known(s.Held, reasons())
	}
	if s.Suspended != nil {
		r.suspended = s.Suspended.Since
	}
	if s.LastSuccess.After(r.success) {
		r.success = s.LastSuccess
	}
	if s.NextRetry.After(r.retry) {
		r.retry = s.NextRetry
	}
}

func severity(s report.Status) int {
	return slices.Index([]report.Status{report.Ignored, report.Idle, report.Running, report.Failed, report.Invalid}, s)
}
