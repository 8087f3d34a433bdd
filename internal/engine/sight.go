package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

const (
	// sightAge is for how long what was listed is trusted because no event said
	// otherwise.
	sightAge = 10 * time.Minute
	// hearing is how long the engine may take to tell of what happens after it
	// has said that it will.
	hearing = time.Second
	// singly is up to how many changed containers are asked for by their ids.
	singly = 32
)

// sight remembers what the engine listed for as long as its events tell what
// changes, so that a look at a host on which nothing happens costs next to
// nothing, and one after a change costs that change.
//
//	nobody hears events, or not for long enough  everything is listed
//	what was listed is older than ten minutes    everything is listed
//	a container changed                          it is asked for by its id
//	a network or a volume came or went           all of that kind are listed
//	a name of an image came, went or moved       all containers are listed: the
//	                                             engine's list shows those names
//
// An event is never taken for the truth, only for a reason to ask. So it does no
// harm when one comes twice, late, or before another one.
type sight struct {
	mu sync.Mutex
	// heard is since when events are heard without a gap; zero while they are not.
	heard time.Time
	// doubts are what may have changed since it was listed.
	doubts doubts
	// made are the ids of containers that we made, by the names they were made
	// with: the SDK renames those that replace others by their names.
	made map[string]string

	// What follows is used by one snapshot at a time.
	snapshot   sync.Mutex
	listed     time.Time // when everything was; zero for never
	containers map[string]sighted
	names      map[string]string // of images, with what they stand for
	networks   []network.Summary
	volumes    []*volume.Volume
	// version counts what may have made a difference to that; last is what was
	// made of it.
	version uint64
	last    plan.Observed
	read    func(container.Summary, time.Time) sighted
}

// doubts are what has to be asked for again.
type doubts struct {
	all, networks, volumes bool
	containers             map[string]bool // by id
}

func (d doubts) any() bool {
	return d.all || d.networks || d.volumes || len(d.containers) > 0
}

// listening notes that events are heard from now on.
func (s *sight) listening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// hears says whether events are heard.
func (s *sight) hears() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.heard.IsZero()
}

// deaf notes that events are not heard any more.
func (s *sight) deaf() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Time{}
	s.doubts = doubts{all: true}
}

// hear takes an event in.
func (s *sight) hear(m events.Message) {
	switch m.Type {
	case events.ContainerEventType:
		s.doubt(m.Actor.ID)
	case events.NetworkEventType:
		switch container := m.Actor.Attributes["container"]; {
		case container == "":
			s.doubtNetworks()
		default: // it connects or disconnects, which is no change of the network
			s.doubt(container)
		}
	case events.VolumeEventType:
		s.doubtVolumes()
	default: // images are always listed
	}
}

// keptNames is how many names of containers are remembered at most.
const keptNames = 1000

// named notes what container was made with a name.
func (s *sight) named(name, id string) {
	if name == "" || id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil || len(s.made) >= keptNames {
		s.made = map[string]string{}
	}
	s.made[name] = id
}

// doubt notes that containers may have changed. An empty id is none. The engine
// takes names as well: one that is not of a container that we made can be of any.
func (s *sight) doubt(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if full, ok := s.made[id]; ok {
			id = full
		}
		switch {
		case id == "":
		case len(id) != 64:
			s.doubts.all = true
		case s.doubts.containers == nil:
			s.doubts.containers = map[string]bool{id: true}
		default:
			s.doubts.containers[id] = true
		}
	}
}

// doubtNetworks notes that networks may have changed.
func (s *sight) doubtNetworks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts.networks = true
}

// doubtVolumes notes that volumes may have changed.
func (s *sight) doubtVolumes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts.volumes = true
}

// take gives the doubts that a snapshot begun now has to clear.
func (s *sight) take(now time.Time) doubts {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doubts
	s.doubts = doubts{}
	switch since := s.heard.Add(hearing); {
	case s.heard.IsZero(), s.listed.Before(since), now.Sub(s.listed) >= sightAge, len(d.containers) > singly:
		d.all = true
	}
	return d
}

// refresh brings what is remembered up to date. After an error everything is
// doubted.
func (s *sight) refresh(ctx context.Context, api client.APIClient) error {
	now := time.Now()
	d := s.take(now)
	if d.any() {
		s.version++
	}
	if err := s.ask(ctx, api, d, now); err != nil {
		s.listed = time.Time{}
		return fmt.Errorf("observe the engine: %w", err)
	}
	return nil
}

func (s *sight) ask(ctx context.Context, api client.APIClient, d doubts, now time.Time) error {
	names, err := s.list(ctx, api, d, now)
	if err != nil {
		return err
	}
	if !maps.Equal(names, s.names) {
		s.version++
		s.names = names
		if !d.all {
			if err := s.listContainers(ctx, api, now); err != nil {
				return err
			}
		}
	}
	if d.all {
		s.listed = now
	}
	return nil
}

// list asks for the names of images and for what is in doubt.
func (s *sight) list(ctx context.Context, api client.APIClient, d doubts, now time.Time) (names map[string]string, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		images, err := api.ImageList(ctx, image.ListOptions{})
		names = namesOf(images)
		return err
	})
	switch {
	case d.all:
		g.Go(func() error { return s.listContainers(ctx, api, now) })
	case len(d.containers) > 0:
		g.Go(func() error { return s.askFor(ctx, api, d.containers, now) })
	}
	if d.all || d.networks {
		g.Go(func() (err error) {
			s.networks, err = api.NetworkList(ctx, network.ListOptions{})
			return err
		})
	}
	if d.all || d.volumes {
		g.Go(func() error {
			list, err := api.VolumeList(ctx, volume.ListOptions{})
			s.volumes = list.Volumes
			return err
		})
	}
	return names, g.Wait()
}

func (s *sight) listContainers(ctx context.Context, api client.APIClient, now time.Time) error {
	list, err := api.ContainerList(ctx, container.ListOptions{All: true})
	s.containers = make(map[string]sighted, len(list))
	for _, c := range list {
		s.containers[c.ID] = s.read(c, now)
	}
	return err
}

// askFor asks for some containers. Those that the engine does not list are gone.
func (s *sight) askFor(ctx context.Context, api client.APIClient, ids map[string]bool, now time.Time) error {
	args := filters.NewArgs()
	for id := range ids {
		args.Add("id", id)
	}
	list, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return err
	}
	for id := range ids {
		delete(s.containers, id)
	}
	for _, c := range list {
		s.containers[c.ID] = s.read(c, now)
	}
	return nil
}

// namesOf gives the names of images, with the ids that they stand for.
func namesOf(images []image.Summary) map[string]string {
	names := map[string]string{}
	for _, i := range images {
		for _, ref := range slices.Concat(i.RepoTags, i.RepoDigests) {
			if !strings.HasPrefix(ref, "<none>") { // so old engines list those that have none
				names[ref] = i.ID
			}
		}
	}
	return names
}
