package plan

import (
	"testing"
	"time"
)

func TestAContainerThatWasStartedByHandIsWhatIsWantedIfItsFilesAreOlder(t *testing.T) {
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	uses := Service{Name: "app", Hash: "with label", Bare: "without", Touched: made.Add(-time.Hour)}
	for name, c := range map[string]struct {
		service   Service
		container Container
		want      bool
	}{
		"made by us":                            {uses, Container{Hash: "with label", Digested: true, Created: made}, true},
		"made by us from other files":           {uses, Container{Hash: "other label", Digested: true, Created: made}, false},
		"by hand, files older":                  {uses, Container{Hash: "without", Created: made}, true},
		"by hand, another configuration":        {uses, Container{Hash: "other", Created: made}, false},
		"by hand, files written since":          {Service{Hash: "with label", Bare: "without", Touched: made.Add(time.Second)}, Container{Hash: "without", Created: made}, false},
		"by hand, files of the same second":     {Service{Hash: "with label", Bare: "without", Touched: made}, Container{Hash: "without", Created: made}, false},
		"by hand, files whose age nobody knows": {Service{Hash: "with label", Bare: "without"}, Container{Hash: "without", Created: made}, false},
		"by hand, no files":                     {Service{Hash: "without"}, Container{Hash: "without", Created: made}, true},
		"by hand, beside another container":     {Service{Hash: "service:vpn", ByHand: "container:1"}, Container{Hash: "container:1", Created: made}, true},
		"by hand, beside one that is gone":      {Service{Hash: "service:vpn", ByHand: "container:2"}, Container{Hash: "container:1", Created: made}, false},
		"beside another, files older":           {Service{Hash: "h", Bare: "service:vpn", ByHand: "container:1", Touched: made.Add(-time.Hour)}, Container{Hash: "container:1", Created: made}, true},
		"beside another, files written since":   {Service{Hash: "h", Bare: "service:vpn", ByHand: "container:1", Touched: made.Add(time.Second)}, Container{Hash: "container:1", Created: made}, false},
		"digested, and yet the bare hash":       {uses, Container{Hash: "without", Digested: true, Created: made}, false},
	} {
		if got := c.service.Made(c.container); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
