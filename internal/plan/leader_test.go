package plan

import "testing"

func TestALeaderThatWasReplacedInTheSameSecondIsSeen(t *testing.T) {
	s := stack("web", with("vpn"), app(func(v *Service) { v.Follows, v.NetworkOf, v.Networks = []string{"vpn"}, "vpn", nil }))
	of := func(id string) Running {
		return running(s, first(func(c *Container) { c.SharesNetworkOf = id }))
	}
	run(t, []buildCase{
		{
			name:  "its network is the leader's",
			state: world(stacks(s), projects(of("web-vpn"))),
		},
		{
			name:  "its network was that of a container that is gone",
			state: world(stacks(s), projects(of("the old one"))),
			want:  `up web: drift: web-app-1 follows vpn, which was replaced`,
		},
	})
}
