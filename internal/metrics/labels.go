package metrics

import (
	"slices"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// other stands for a value that is in no set. It can only be the fault of the
// program, and is counted rather than lost.
const other = "other"

// The sets of label values. They are closed, so that the number of series is
// bounded by the number of stacks.

func kinds() []string {
	return []string{string(plan.Stop), string(plan.Checkout), string(plan.Pull), label(string(plan.Before)), string(plan.Up), label(string(plan.HandOver))}
}

func triggers() []string {
	return []string{"start", "tick", "webhook", "page", "retry", "engine", "lane", "image", "hand_over", "person"}
}

func providers() []string {
	return []string{"github", "gitlab", "gitea", "gogs", "bitbucket", "generic"}
}

func decisions() []string { return []string{"queued", "ignored", "unauthorized", "rejected"} }

func reasons() []string {
	return words([]plan.Reason{
		plan.HeldInvalid, plan.HeldForeign, plan.HeldDataLoss, plan.HeldLocal, plan.HeldNetwork, plan.HeldName, plan.HeldPort, plan.HeldRetry, plan.HeldDrift,
		plan.HeldNeeds, plan.HeldBusy, plan.HeldEmpty, plan.HeldController, plan.HeldVersion, plan.HeldOffline, plan.HeldRollback, plan.HeldOrder, plan.HeldAge, plan.HeldSuspended, plan.HeldWindow,
	})
}

func statuses() []string { return words(report.Statuses()) }

func words[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// known is the value if it is in the set, and other if not.
func known(value string, set []string) string {
	if slices.Contains(set, value) {
		return value
	}
	return other
}
