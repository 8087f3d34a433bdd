// Package plan holds the words of the domain and the one place that decides.
//
// Build takes what is wanted (stacks at a commit), what runs (projects of the
// engine), what is remembered (the journal) and the policy, and derives a Plan:
// a list of operations, each with its cause, and a list of stacks that are
// held back, each with the reason. Build is pure: it does no I/O, reads no
// clock and writes no log, so that the same state always gives the same plan
// and a test can state both as text.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Mode says how a stack is treated. It comes from the labels in its compose
// file and counts for the whole stack.
type Mode string

const (
	// Managed stacks are started, updated and stopped.
	Managed Mode = "managed"
	// Ignored stacks carry gitops.ignore=true on a service: hands off.
	Ignored Mode = "ignored"
	// Controller is the stack that the daemon itself runs in
	// (gitops.controller=true, or recognised by its container).
	Controller Mode = "controller"
)

// Stack is what a commit wants: one compose file and what follows from it.
type Stack struct {
	// Name is the compose project name; unique among valid stacks.
	Name string
	// File is the compose file, relative to the repository's root, with slashes.
	File string
	// Digest identifies everything that decides what should run. Two equal
	// digests want the same.
	Digest string
	Mode   Mode
	// Invalid says why the stack can't be deployed; empty if it can.
	Invalid string
	// Services are the active services (profiles applied), sorted by name.
	Services []Service
	// Disabled are names of services that exist in the file, but are switched
	// off by their profiles: containers of theirs are no orphans.
	Disabled []string
	// MinAge is the age that its watched images have to reach, see State.Ripen, as
	// its label says; nil if it says nothing, and Policy.MinAge counts.
	MinAge *time.Duration `json:",omitempty"`
	// Profiles are the profiles that would switch some of those on, sorted; given
	// only where no service is active.
	Profiles []string `json:",omitempty"`
	// Networks and Volumes are the ones that the stack creates itself.
	Networks []Resource
	Volumes  []Resource
	// Requires are networks and volumes that the stack declares as external.
	Requires []Requirement
	// Blob is git's id of the compose file; empty if it is not tracked.
	Blob string `json:",omitempty"`
	// From is, of an invalid stack whose file is new, the file of a stack of the
	// clone's head that git takes it for: its content is the same, or like it. Empty
	// if there is none.
	From string `json:",omitempty"`
	// Untracked are the env files that the stack reads and git does not track,
	// relative to the repository's root: .env and env_file.
	Untracked []string `json:",omitempty"`
	// Edited are tracked files of the stack that were changed by hand in the
	// clone, relative to the repository's root.
	Edited []string `json:",omitempty"`
	// Warnings are about what works and may not be meant, sorted: "variable TOKEN is
	// not set". They decide nothing.
	Warnings []string `json:",omitempty"`
	// Window is when it may be updated, started and stopped, as its label says; nil if it
	// says nothing, and Policy.Window counts.
	Window *Window `json:"-"`
	// Suspend says that its label wants it to be left as it is, see Suspension.
	Suspend bool `json:",omitempty"`
	// Hooks are the services that run around an update, and are no part of what runs
	// otherwise. They are among Disabled as well.
	Hooks Hooks `json:",omitzero"`
	// DependsOn are stacks, by name, that come up before this one, sorted.
	DependsOn []string `json:",omitempty"`
	// Back says that this is an earlier version of what git wants, to which the stack
	// is rolled back; nil if it is not.
	Back *Back `json:",omitempty"`
}

// Back says why a stack is to run in an earlier version.
type Back struct {
	// To is the commit whose version runs, From that of the version which failed.
	To, From string
	// Error is how that one failed.
	Error string
}

// Idle says that every service is switched off by its profiles: there is
// nothing to run. Compose makes no network and no volume for such a stack.
func (s Stack) Idle() bool {
	return s.Invalid == "" && s.Mode != Ignored && len(s.Services) == 0 && len(s.Disabled) > 0
}

// UsesFiles says whether a service uses files that git tracks.
func (s Stack) UsesFiles() bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Bare != "" })
}

// Service is what a stack wants of one service.
type Service struct {
	Name string
	// Hash is compose's hash of the service's configuration, with references
	// to other services (network_mode: service:x) left as they are written.
	Hash string
	// Bare is Hash without the label that digests the files that the service
	// uses; empty if it uses none. A container that was started by hand has no
	// such label.
	Bare string
	// ByHand is compose's hash of a container that was started by hand, of a
	// service that shares namespaces or volumes with others: the ids of their
	// containers are in it. Empty if the service shares nothing, or if it is not
	// asked for because no container could have it.
	ByHand string `json:",omitempty"`
	// Touched is when those files were last written; zero if that can't be told, or
	// if it is not asked for because no container depends on it: see AgeDecides.
	Touched time.Time
	// Image is the image reference as the engine lists it (familiar name with
	// a tag, or with a digest).
	Image string
	// Platform is the one that the image is to be for; empty for the engine's own.
	Platform string `json:",omitempty"`
	// MountedImages are images that it mounts as volumes, as the engine lists them,
	// sorted. They are pulled if they are not here.
	MountedImages []string `json:",omitempty"`
	// Pull says when the image is pulled.
	Pull PullPolicy
	// Every is how often the registry is asked whether the image's tag has
	// moved; 0 for never.
	Every time.Duration `json:",omitempty"`
	// Digest is the one that a pull is to bring; empty for whatever the tag points
	// to. A plan orders it, see Due.
	Digest string `json:",omitempty"`
	// Grace is how long a container of it has to end once it is asked to.
	Grace time.Duration `json:",omitempty"`
	// Scale is the number of containers.
	Scale int
	// Completes says that a container that exited with 0 has done its work:
	// the restart policy is "no" (Compose's default) or "on-failure".
	Completes bool
	// Follows are services whose namespaces or volumes this one shares: when
	// their container is replaced, this one's has to be replaced as well.
	Follows []string
	// Shares are those of them whose network, ipc or pid namespace it lives in:
	// they end with the container that they began with.
	Shares []string `json:",omitempty"`
	// NetworkOf is the one of them whose network it lives in; empty for none.
	NetworkOf string `json:",omitempty"`
	// Joins are the containers, by name or id, in whose network, ipc or pid namespace it
	// lives, of whatever stack they are (network_mode: container:vpn), sorted;
	// NetworkFrom is the one of them whose network that is.
	Joins       []string `json:",omitempty"`
	NetworkFrom string   `json:",omitempty"`
	// Networks are the engine's names of the networks that the service joins.
	Networks []string
	// Own says that the service itself carries gitops.controller=true.
	Own bool `json:",omitempty"`
	// ContainerName is what container_name: says; empty for a name of Compose's.
	ContainerName string `json:",omitempty"`
	// Ports are the host's ports that it publishes.
	Ports []Port `json:",omitempty"`
	// Mounts are what its containers mount, sorted by target.
	Mounts []Mount `json:",omitempty"`
	// NewData says that it carries gitops.data=new: it may start with empty
	// folders and volumes where its containers had others with content.
	NewData bool `json:",omitempty"`
	// Rollback says that the stack is to go back to its last good version if a new
	// version of this service fails.
	Rollback bool `json:",omitempty"`
	// StartFirst says that a new container of it starts before an old one is stopped,
	// Parallelism how many at a time; 0 for all.
	StartFirst  bool `json:",omitempty"`
	Parallelism int  `json:",omitempty"`
	// StopFirst says why that is wanted and can't be; empty if it can, or is not wanted.
	StopFirst string `json:",omitempty"`
	// Monitor is for how long a container of it has to run, from its start, to count
	// as up; 0 for as long as others.
	Monitor time.Duration `json:",omitempty"`
	// Fields are the parts of its configuration, see Field. They say what
	// changed, and are no part of what is compared.
	Fields []Field `json:"-"`
}

// Field is one part of a service's configuration: "image", "environment
// LOG_LEVEL", "mount ./nginx.conf (content)".
type Field struct {
	Name string
	// Value can be shown: an image reference, a number. Empty for all that could
	// hold a secret.
	Value string
	// Sum tells two values apart. It is made with a key of the process's own and
	// means nothing outside of it.
	Sum string
}

// Port is a port of the host.
type Port struct {
	// IP is the address that it is bound to; empty for every address.
	IP       string
	Protocol string // tcp, udp or sctp
	// First and Last are the range; they are equal for a single port.
	First, Last uint16
}

// Mount is something that a container mounts.
type Mount struct {
	Target string
	Type   MountType
	// Source is a volume's name, or a path: relative to the repository's root for
	// a folder or file of the clone (with slashes, "" for the root itself), of the
	// host for others. Empty for anonymous volumes that are wanted.
	Source string
}

// MountType is what a mount's source is.
type MountType string

const (
	// MountVolume is a named volume.
	MountVolume MountType = "volume"
	// MountAnonymous is a volume without a name of its own.
	MountAnonymous MountType = "anonymous"
	// MountClone is a folder or file of the clone.
	MountClone MountType = "clone"
	// MountHost is another folder or file of the host.
	MountHost MountType = "host"
)

// Version identifies what is wanted of the daemon's own service: what git says
// of it, and what its image's tag points to at the registry where that is
// watched.
func (s Service) Version(o Observed) string {
	if latest := o.Latest[s.Image]; s.Every > 0 && latest != "" {
		return s.Hash + "@" + latest
	}
	return s.Hash
}

// Made says whether a container was made from what the service is now. One that
// was started by hand carries no digest of the files that it uses; they are as
// it found them if they were last written before it was made.
func (s Service) Made(c Container) bool {
	switch {
	case c.Hash == s.Hash:
		return true
	case s.AgeDecides(c):
		return !s.Touched.IsZero() && s.Touched.Before(c.Created)
	default:
		return s.startedByHand(c) && s.Bare == ""
	}
}

// AgeDecides says whether it depends on Touched if a container was made from what
// the service is now.
func (s Service) AgeDecides(c Container) bool {
	return c.Hash != s.Hash && s.Bare != "" && s.startedByHand(c)
}

// startedByHand says whether a container was made by hand from the service's
// configuration, whatever the files were that it uses.
func (s Service) startedByHand(c Container) bool {
	byHand := cmp.Or(s.ByHand, s.Bare)
	return byHand != "" && !c.Digested && c.Hash == byHand
}

// PullPolicy says when a service's image is pulled before Up.
type PullPolicy string

const (
	// PullMissing pulls an image that is not here (the default).
	PullMissing PullPolicy = "missing"
	// PullAlways pulls at each update.
	PullAlways PullPolicy = "always"
	// PullRefresh pulls an image that is not here, or whose tag has moved at the
	// registry when it was last asked (daily, weekly, every_<duration>).
	PullRefresh PullPolicy = "refresh"
	// PullNever takes what is here.
	PullNever PullPolicy = "never"
	// PullBuild builds the image from the service's build section.
	PullBuild PullPolicy = "build"
)

// Resource is a network or a volume that belongs to a project.
type Resource struct {
	// Name is the engine's name of it.
	Name string
	// Hash is compose's hash of its definition; empty when not known (made by
	// hand or by an older compose), which counts as equal.
	Hash string
	// Labelled says of one that exists that we made it.
	Labelled bool `json:",omitempty"`
	// Made tells what a volume is made with, see VolumeMade; empty when not known.
	Made string `json:",omitempty"`
}

// VolumeMade tells volumes apart that are made with another driver or with other
// options. Labels are no part of it: what is in a volume does not depend on them.
func VolumeMade(driver string, options map[string]string) string {
	text := cmp.Or(driver, "local")
	for _, key := range sortedKeys(options) {
		text += fmt.Sprintf(" %q=%q", key, options[key])
	}
	return text
}

// Requirement is a network, a volume, a container or another stack that a stack
// needs and does not make.
type Requirement struct {
	Kind string // "network", "volume", "container" or "stack"
	Name string // the engine's name
}

// Running is what the engine has under one project name.
type Running struct {
	Project string
	// File is the stack file that the project comes from, relative to the
	// repository's root; empty when it does not come from the clone.
	File string
	// Origin says for people where a project comes from: its working folder.
	Origin string
	// Ours says that the project comes from this repository: it carries our
	// labels, or it was started by hand from a folder of the clone.
	Ours bool
	// Labelled says that it carries our labels, so that it was started by us.
	Labelled bool
	// Ignored says that a container carries gitops.ignore=true.
	Ignored bool
	// Controller says that the daemon's own container is one of the project's,
	// or that a container carries gitops.controller=true.
	Controller bool
	Containers []Container
	Networks   []Resource
	Volumes    []Resource
}

// Container is one container of a project.
type Container struct {
	ID      string
	Name    string
	Service string
	// Number is compose's number among the containers of a service, from 1.
	Number int
	// OneOff is true for `docker compose run` containers; they are left alone.
	OneOff bool
	// State is the engine's word: created, running, paused, restarting,
	// removing, exited or dead.
	State string
	// Health is "", starting, healthy or unhealthy.
	Health   string
	ExitCode int
	// Hash is the hash of the configuration that it was created from.
	Hash string
	// Digested says that it carries the digest of the files that it uses, Former
	// that a release made it which had that in Compose's hash.
	Digested, Former bool
	// Image is the id of the image that it was created from, Reference what
	// that was called in the configuration.
	Image, Reference string
	// Networks are the ids of the networks it is attached to, by name.
	Networks map[string]string
	// SharesNetworkOf is the id of the container whose network it uses.
	SharesNetworkOf string
	// Hook is which hook the container is a run of; empty for all others.
	Hook HookKind `json:",omitempty"`
	// Replacing is true for a container that a broken replacement left behind
	// under a temporary name.
	Replacing bool
	// Grace is how long it has to end once it is asked to; 0 if that is not known, as
	// somebody else made it.
	Grace time.Duration `json:",omitempty"`
	// Mounts are what it mounts, sorted by target.
	Mounts []Mount `json:",omitempty"`
	// Ports are the host's ports that it holds now.
	Ports   []Port `json:",omitempty"`
	Created time.Time
	// Since is what the engine said of the current state, for people, Said when.
	Since string
	Said  time.Time
	// Self is true for the container that the daemon runs in.
	Self bool
}

// PlainName is what Compose calls a container of a project if nothing else is said.
func (c Container) PlainName(project string) string {
	return fmt.Sprintf("%s-%s-%d", project, c.Service, c.Number)
}

// Observed is one snapshot of the engine.
type Observed struct {
	// Version is another one whenever anything below but Latest and Seen may be; two
	// snapshots with the same Version are the same. 0 says nothing.
	Version uint64 `json:",omitempty"`
	Running []Running
	// Images are the ids of the local images by reference: by name and tag, and
	// by name and digest.
	Images map[string]string
	// Latest are the digests that tags pointed to when their registry was last
	// asked, by reference. Seen is when they were first seen to do so.
	Latest map[string]string
	Seen   map[string]time.Time `json:",omitempty"`
	// Networks are the ids of all networks by name.
	Networks map[string]string
	// Volumes are the names of all volumes.
	Volumes map[string]bool
	// Strangers are the names of containers that belong to no Compose project,
	// by the name of each network that they are on.
	Strangers map[string][]string `json:",omitempty"`
	// Others are the containers that belong to no Compose project: their ids, names,
	// states and when they were made.
	Others []Container `json:",omitempty"`
}

// Record is what is remembered of a stack between checks. Losing it costs
// history and back-off, never correctness.
type Record struct {
	// File is the stack file that was last applied.
	File string
	// Blob is git's id of that file, Untracked the env files that the stack read
	// beside it: by them a stack is known again in another folder.
	Blob      string   `json:",omitempty"`
	Untracked []string `json:",omitempty"`
	// Heir is the file of the stack that was found to take the project's place;
	// empty if there is none.
	Heir string `json:",omitempty"`
	// HeirOf is the file of the stack whose heir that is: what runs under the name may
	// become another one's.
	HeirOf string `json:",omitempty"`
	// FormerHeir is the file that the heir had at the clone's head, when it was found
	// at another one under another: the clone may never come there.
	FormerHeir string `json:",omitempty"`
	// Ignored says that the stack was ignored when git last had it, which its
	// containers need not say: they may be older than the label.
	Ignored bool
	// Applied is the digest that was last applied with success.
	Applied string
	// Tried is the digest whose application was last begun.
	Tried string
	// Failed is the digest that last failed, or did not last; StopDigest after
	// a stop. Empty after a success.
	Failed string
	// Error is why.
	Error string
	// Failures counts failures in a row of that digest.
	Failures int
	// RetryAt is when it may be tried again.
	RetryAt time.Time
	// LastSuccess is when it was last applied, Flaps counts repairs in a row since
	// that did not last.
	LastSuccess time.Time `json:",omitzero"`
	Flaps       int       `json:",omitempty"`
	// Good is the version that was last seen to run well.
	Good Version `json:",omitzero"`
	// Bad is the version that failed and that the stack was rolled back from, BadError
	// how. It is not tried again as long as it is what git wants.
	Bad      Version `json:",omitzero"`
	BadError string  `json:",omitempty"`
	// Passed is the digest that a person wants to have now, whatever its window is;
	// StopDigest for a stop.
	Passed string `json:",omitempty"`
	// Labelled is since when git has wanted it to be suspended; zero if it does not.
	Labelled time.Time `json:",omitzero"`
	// Own is about the service that the daemon itself runs as.
	Own Own `json:",omitzero"`
}

// Version is one that a stack had.
type Version struct {
	// Commit and File are where it is in git.
	Commit string `json:",omitempty"`
	File   string `json:",omitempty"`
	// Digest is that of the stack, see Stack.Digest; empty if there is no version.
	Digest   string             `json:",omitempty"`
	Services map[string]Variant `json:",omitempty"`
}

// Variant is what the containers of a service are made from.
type Variant struct {
	// Hash is that of the service, see Service.Hash.
	Hash string `json:",omitempty"`
	// Image is the id of the image.
	Image string `json:",omitempty"`
}

// inherits says whether a file is that of the heir.
func (r Record) inherits(file string) bool {
	return file != "" && (file == r.Heir || file == r.FormerHeir)
}

// SetHeir notes what a plan found, see Plan.Heirs. before are the stacks of the
// clone's head, nil if that is the one that the plan is for.
func (r *Record) SetHeir(h Heir, before []Stack) {
	had := func(file string) bool {
		return file != "" && slices.ContainsFunc(before, func(s Stack) bool { return s.File == file })
	}
	switch {
	case r.Heir == h.File:
	case h.File != "" && had(r.Heir):
		r.FormerHeir = r.Heir
	case h.File == "" || !had(r.FormerHeir):
		r.FormerHeir = ""
	}
	r.Heir, r.HeirOf = h.File, h.Of
}

// Becomes forgets the heir of what ran before another stack's file is brought up
// under the name.
func (r *Record) Becomes(file string) {
	if r.HeirOf != file {
		r.Heir, r.HeirOf, r.FormerHeir = "", "", ""
	}
}

// Own is what is remembered of the daemon's own service, see Service.Version.
type Own struct {
	// Applied is the version that was last seen to run, or handed over to.
	Applied string `json:",omitempty"`
	// Failed is the version that could not be handed over to, Error why.
	Failed string `json:",omitempty"`
	Error  string `json:",omitempty"`
	// Failures counts failures in a row of that version.
	Failures int `json:",omitempty"`
	// Interrupted counts those of them that came after the hand-over had begun,
	// and that the version was not to blame for.
	Interrupted int `json:",omitempty"`
	// RetryAt is when it may be tried again; zero for never.
	RetryAt time.Time `json:",omitzero"`
}

// State is all that a decision depends on.
type State struct {
	Now time.Time
	// Local and Remote are the head of the clone and the wanted head.
	Local, Remote string
	// Offline says why the remote could not be asked; empty if it was. Then the
	// clone's head is what is wanted, and Remote the same as Local.
	Offline string `json:",omitempty"`
	// Wanted are the stacks of the remote head.
	Wanted []Stack
	// Before are the stacks of the local head, as far as they are known; none if
	// the heads are the same.
	Before   []Stack
	Observed Observed
	// Young are watched tags that point to what is too young, by reference. They are
	// given by Ripen, and Observed.Latest is then without them.
	Young  map[string]Young `json:",omitempty"`
	Memory map[string]Record
	// Busy are stacks whose operations of an earlier check have not ended.
	Busy map[string]bool
	// Repair are stacks that are repaired whatever the policy is: what the first
	// check after a start found and could not bring to its end yet.
	Repair map[string]bool
	// Suspended are the stacks, by name, that people want to be left as they are, and
	// Everything if that is so for all.
	Suspended map[string]Suspension `json:",omitempty"`
	// Losses answer Doubts. A doubt without an answer counts as a loss.
	Losses map[Doubt]bool `json:"-"`
}

// Policy is what the configuration says about deciding.
type Policy struct {
	// Heal repairs what changed on the host without a change in git.
	Heal bool
	// AllowEmpty lets a head without any stack remove every stack.
	AllowEmpty bool
	// MakeNetworks makes external networks that are not there and that no stack makes.
	MakeNetworks bool
	// HoldOrder holds stacks with a service that is to start before the old one stops,
	// and can't; otherwise it is stopped first.
	HoldOrder bool
	// KeepEdits lets a stack be updated although tracked files of it were
	// changed by hand.
	KeepEdits bool
	// Window is when stacks may be updated, started and stopped that do not say otherwise.
	Window Window
	// MinAge is for how long a tag that is watched has to have pointed to a new digest
	// before that is taken, in stacks that do not say otherwise; 0 for no time.
	MinAge time.Duration
}

// Kind is what an operation does.
type Kind string

const (
	// Stop removes the containers and networks of a project. Volumes stay.
	Stop Kind = "stop"
	// Checkout fast-forwards the clone.
	Checkout Kind = "checkout"
	// Pull brings the images of a stack here, or builds them.
	Pull Kind = "pull"
	// Before runs the services that have to succeed before anything of a stack is
	// stopped or replaced, see Hooks.
	Before Kind = "before hook"
	// Up creates, replaces and starts containers.
	Up Kind = "up"
	// HandOver replaces the container that the daemon runs in. It is the last
	// operation of a plan.
	HandOver Kind = "hand over"
)

// Why is the kind of a cause.
type Why string

const (
	// Removed from git.
	Removed Why = "removed"
	// New in git, or never started.
	New Why = "new"
	// Changed in git, or in an untracked input such as an .env file.
	Changed Why = "changed"
	// Drifted on the host, with no change in git.
	Drifted Why = "drift"
	// Moved in git: a stack that has another folder or name now.
	Moved Why = "moved"
	// RolledBack to the last good version, as a new one failed.
	RolledBack Why = "rolled back"
)

// Cause says why an operation is in the plan.
type Cause struct {
	Why    Why
	Detail string
	// Changes are what git changed, where both versions are known; then they are
	// printed in place of Detail.
	Changes []Change `json:",omitempty"`
}

// Change is a part of a service that has another value now.
type Change struct {
	Service string
	// Field is the part: "image", "environment LOG_LEVEL", "mount ./nginx.conf
	// (content)". Empty if the service itself is new or gone.
	Field string `json:",omitempty"`
	// From and To are the values where they can be shown.
	From string `json:",omitempty"`
	To   string `json:",omitempty"`
}

// ID names an operation within its plan: "stop old", "checkout", "up web".
type ID string

// After is an operation that another one waits for.
type After struct {
	ID ID
	// Ended says that it only has to end; otherwise it has to end well, and who
	// waits for it is not tried if it does not.
	Ended bool `json:",omitempty"`
	// AtMost bounds the wait, from when the other one began, or from the look as
	// long as it has not; 0 for as long as it takes.
	AtMost time.Duration `json:",omitempty"`
}

// Op is one operation of a plan. Operations run as soon as all that they come
// after has ended, and otherwise side by side.
type Op struct {
	ID    ID
	Kind  Kind
	Stack string // the project name; empty for Checkout
	File  string // the stack file; empty for Checkout, or if not known
	Cause Cause
	// After are the operations that come before, of any kind, sorted.
	After []After `json:",omitempty"`
	// Fresh says of an Up that no container of the stack existed.
	Fresh bool
	// Crashed says of an Up that a container had ended that should run.
	Crashed bool
	// Services are those that it concerns; nil for all of the stack. Operations
	// on the daemon's own stack leave some out, and so does a Stop that only makes
	// room: its containers are stopped, and stay.
	Services []string
	// FreeNames says of a Stop of some services that their containers give up their
	// names: they get ones of Compose's, see Container.PlainName, or are removed where
	// those are not free. Those that stay are replaced with what their volumes hold.
	FreeNames bool `json:",omitempty"`
	// Leave are networks that a Stop of a whole project leaves, as others are on
	// them.
	Leave []string `json:",omitempty"`
	// Again says of an Up that it repairs what was brought up only a while ago, or
	// did not last before.
	Again bool `json:",omitempty"`
	// Hooks are services that run as hooks, in this order: by a Before as all that it
	// does, by an Up once the stack is up. A Pull brings their images as well.
	Hooks []string `json:",omitempty"`
	// Version of a HandOver is what is handed over to, see Service.Version.
	Version string
	// Digests are, of a Pull, what is to come of images that have to reach an age, by
	// reference: that digest and no other, or if it is empty none, as what is here is
	// taken, if anything is.
	Digests map[string]string `json:",omitempty"`
	// Orders are what else was decided about an Up.
	Orders Orders `json:",omitzero"`
	// Keep are the images, by service and as ids, of the last good version of a stack
	// that is brought up in another or rolled back: until it is up, nobody may remove
	// them. See KeptAs.
	Keep map[string]string `json:",omitempty"`
}

// Orders are decisions about an Up that its engine carries out and does not
// make. All are lists of names, sorted.
type Orders struct {
	// Make are external networks that are not there, and are made first.
	Make []string `json:",omitempty"`
	// Recreate are services whose containers are replaced although Compose sees
	// no difference in them.
	Recreate []string `json:",omitempty"`
	// Beside are services whose new containers start before the old ones, those that
	// are not what is wanted, are stopped: when they have become healthy.
	Beside []string `json:",omitempty"`
	// Former are services that are what is wanted, but made by a release that had
	// the digest of their files in Compose's hash: they are not replaced for that.
	Former []string `json:",omitempty"`
	// Networks are those of the stack whose definition changed: the stack's
	// containers on them are stopped, and they are made anew.
	Networks []string `json:",omitempty"`
	// Orphans are services that the stack does not have any more, whose
	// containers are removed. Those of other services that it lacks stay.
	Orphans []string `json:",omitempty"`
	// Done are services that are not started again once all their containers
	// have ended with 0; some may still run.
	Done []string `json:",omitempty"`
	// Halt are services that live in the network, ipc or pid namespace of a
	// container that is started: they are stopped before and started after it.
	Halt []string `json:",omitempty"`
	// Volumes are those of the stack whose labels alone are to be others. They stay as
	// they are: an engine can't change labels.
	Volumes []string `json:",omitempty"`
	// Spare are networks that the stack does not have any more. They are removed
	// at the end, but for those that a container is still attached to.
	Spare []string `json:",omitempty"`
}

// Reason is the kind of a hold.
type Reason string

const (
	// HeldInvalid : the compose file can't be deployed.
	HeldInvalid Reason = "invalid"
	// HeldForeign : another project has the name.
	HeldForeign Reason = "foreign"
	// HeldDataLoss : going on would start a container on an empty volume or
	// folder, or lose or strand data.
	HeldDataLoss Reason = "data"
	// HeldLocal : files changed by hand in the clone are in the way.
	HeldLocal Reason = "local"
	// HeldNetwork : a network that others use would have to be replaced.
	HeldNetwork Reason = "network"
	// HeldName : a container is to have a name that another one has or is to have.
	HeldName Reason = "name"
	// HeldPort : a service is to have a port of the host that another one has or is
	// to have.
	HeldPort Reason = "port"
	// HeldRetry : it failed and the pause before the next try is not over.
	HeldRetry Reason = "retry"
	// HeldDrift : it has drifted and SELF_HEAL is off.
	HeldDrift Reason = "drift"
	// HeldNeeds : something that it needs is not there, or a stack that it needs or
	// whose place it takes is not ready.
	HeldNeeds Reason = "needs"
	// HeldBusy : an operation of an earlier check still runs.
	HeldBusy Reason = "busy"
	// HeldEmpty : the head has no stack at all.
	HeldEmpty Reason = "empty"
	// HeldController : the daemon's own stack, which a hand-over can't change.
	HeldController Reason = "controller"
	// HeldVersion : the daemon's own service has a version that failed.
	HeldVersion Reason = "version"
	// HeldOffline : it waits until the remote can be asked again.
	HeldOffline Reason = "offline"
	// HeldOrder : a service is to start before the old one stops, and can't.
	HeldOrder Reason = "order"
	// HeldRollback : it was rolled back from the version that git wants.
	HeldRollback Reason = "rollback"
	// HeldWindow : an update, a start or a stop waits for its window.
	HeldWindow Reason = "window"
	// HeldSuspended : a person wants it to be left as it is.
	HeldSuspended Reason = "suspended"
	// HeldAge : it is as it is wanted, but for a watched tag that points to what is too
	// young.
	HeldAge Reason = "age"
)

// Intended says of a hold that somebody has asked for it.
func (r Reason) Intended() bool { return r == HeldAge || r == HeldSuspended || r == HeldWindow }

// Held is a stack that is left as it is, with the reason.
type Held struct {
	Stack  string // the project name; empty when it concerns the whole head
	File   string
	Reason Reason
	Detail string
}

// Plan is what a check will do. Its operations are in an order in which each
// comes after those that it waits for.
type Plan struct {
	From, To string
	Ops      []Op
	Held     []Held
	// Views has one verdict for each stack, sorted by name and file: the wanted
	// ones, and projects of ours that are to go.
	Views []View `json:",omitempty"`
	// Heirs are the stacks that take the place of projects, by project; empty for one
	// that goes on after all. They are to be remembered.
	Heirs map[string]Heir `json:",omitempty"`
	// HandsOff are projects that are left alone because their stacks are ignored, or
	// were when git last had them; that is to be remembered.
	HandsOff []string `json:",omitempty"`
	// Wake is the earliest time at which the plan would be another one although
	// nothing happens; zero if there is none.
	Wake time.Time `json:",omitzero"`
	// Needs is what stacks are held for because it is not there: once somebody has
	// made it, the plan is another one.
	Needs []Requirement `json:",omitempty"`
}

// Event is something that happened on the host. The zero value says that it is
// not known what.
type Event struct {
	// Project is the one whose containers changed; empty if it was nobody's.
	Project string
	// Made is what is there now and was not before.
	Made Requirement
}

// Heir is the stack that takes the place of another one: their files.
type Heir struct{ File, Of string }

// View is the verdict on one stack: what is wanted, what runs, in what they
// differ, and what is done about it.
type View struct {
	Name, File string
	// Wanted is the stack; nil if git does not have it.
	Wanted *Stack `json:",omitempty"`
	// Running is what runs of it, empty if nothing does.
	Running     Running
	Differences []Difference `json:",omitempty"`
	// Problems are what only time or a person can change: a crash loop, a failing
	// healthcheck.
	Problems []string `json:",omitempty"`
	// Starting says that a healthcheck has not spoken yet.
	Starting bool `json:",omitempty"`
	// Held says why it is left as it is; nil if it is not held.
	Held *Held `json:",omitempty"`
	// Next are the operations that will be done on it.
	Next []ID `json:",omitempty"`
}
