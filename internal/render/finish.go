package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// composeVersion is the version of the compose SDK whose hashes are used.
const composeVersion = "2.40.3"

// finish takes a loaded project to what the engine gets and what the plan
// compares: paths, labels, digests.
func (l *Loader) finish(p *Project, project *types.Project, in *inputs, back *back) error {
	tree := in.tree
	if err := supported(project); err != nil {
		return err
	}
	p.hasher = l.o.Hasher
	project, err := copyOf(project.WithoutUnnecessaryResources())
	if err != nil {
		return err
	}
	if err := refuseBlanks(project); err != nil {
		return err
	}
	x, err := extensionOf(project)
	if err != nil {
		return err
	}
	if back != nil { // what was good has run its hooks
		project = project.WithServicesDisabled(x.hooks()...)
		x.before, x.after = nil, nil
	}
	rollsBack, err := rollbackLabel(project)
	if err != nil {
		return err
	}
	if p.MinAge, err = minAge(project); err != nil {
		return err
	}
	if p.Suspend, err = suspendLabel(project); err != nil {
		return err
	}
	if p.Window, err = windowLabel(project); err != nil {
		return err
	}
	if err := refuseSealed(project); err != nil {
		return err
	}
	build, err := copyOf(project)
	if err != nil {
		return err
	}
	if p.build, err = l.mapPaths(build, tree, l.readable(tree)); err != nil {
		return err
	}
	p.build.WorkingDir, _ = l.readable(tree)(project.WorkingDir)
	clear, err := l.openObjects(project, in)
	if err != nil {
		return err
	}
	sealed, err := l.sealedMounts(project, in)
	if err != nil {
		return err
	}
	if err := l.refuseSealedContexts(project, clear, in); err != nil {
		return err
	}
	content, err := l.contents(project, p.build, clear, sealed, in)
	if err != nil {
		return err
	}
	host, err := copyOf(project)
	if err != nil {
		return err
	}
	if p.compose, err = l.mapPaths(host, tree, l.visible(tree)); err != nil {
		return err
	}
	if back != nil {
		if p.files, err = back.apply(p.compose); err != nil {
			return err
		}
	}
	objects, err := clear.mountObjects(p.compose, sealed, l.o.HostSecrets)
	if err != nil {
		return err
	}
	p.files = slices.Concat(p.files, objects, sealed.apply(p.compose, l.o.HostSecrets))
	clear.carry(p.compose)
	workingDir := l.hostPath(tree, project.WorkingDir)
	files := make([]string, len(project.ComposeFiles))
	p.build.ComposeFiles = make([]string, len(files))
	for i, f := range project.ComposeFiles {
		files[i] = l.hostPath(tree, f)
		p.build.ComposeFiles[i], _ = l.readable(tree)(f)
	}
	p.compose.ComposeFiles = files
	// The SDK reads what lies relative to these by itself (seccomp profiles).
	p.compose.WorkingDir = p.build.WorkingDir
	hooks := map[string]plan.Service{}
	for name, s := range p.compose.Services {
		fresh, err := newData(s)
		if err != nil {
			return err
		}
		parts, err := l.fields(p.compose, s, path.Dir(p.File), content[name])
		if err != nil {
			return fmt.Errorf("services.%s: %w", name, err)
		}
		bare := ""
		if content[name].digest != "" {
			if bare, err = l.o.Hasher.Service(s); err != nil {
				return fmt.Errorf("services.%s: %w", name, err)
			}
		}
		hash, err := l.o.Hasher.Service(digested(s, content[name].digest))
		if err != nil {
			return fmt.Errorf("services.%s: %w", name, err)
		}
		isHook := slices.Contains(x.hooks(), name)
		p.preStop = p.preStop || len(s.PreStop) > 0 && !isHook
		s.CustomLabels = types.Labels{
			"com.docker.compose.project":              project.Name,
			"com.docker.compose.service":              name,
			"com.docker.compose.version":              composeVersion,
			"com.docker.compose.project.working_dir":  workingDir,
			"com.docker.compose.project.config_files": strings.Join(files, ","),
			"com.docker.compose.oneoff":               "False",
			LabelRepository:                           l.o.Repository,
			LabelStack:                                p.File,
			LabelHash:                                 hash,
			LabelGrace:                                grace(s).String(),
		}
		if digest := content[name].digest; digest != "" {
			s.CustomLabels[LabelContent] = digest
		}
		p.compose.Services[name] = s
		b := p.build.Services[name]
		b.CustomLabels = s.CustomLabels
		p.build.Services[name] = b
		svc, err := l.service(p.compose, s, hash)
		if err != nil {
			return fmt.Errorf("services.%s: %w", name, noValue(in.blanks.images[s.Image], err))
		}
		svc.Bare, svc.NewData = bare, fresh
		if isHook {
			svc.Mounts, svc.Fields = l.mounts(p.compose, s), parts
			hooks[name] = svc
			continue
		}
		svc.Rollback, svc.Monitor = rollback(s, rollsBack, l.o.Rollback)
		if svc.StartFirst, svc.Parallelism, svc.StopFirst = startFirst(s); l.o.StopFirst {
			svc.StartFirst, svc.Parallelism, svc.StopFirst = false, 0, ""
		}
		if svc.StartFirst {
			svc.Monitor = cmp.Or(svc.Monitor, time.Duration(s.Deploy.UpdateConfig.Monitor))
		}
		if svc.StopFirst != "" {
			in.warnings[fmt.Sprintf("service %s is to start before the old one stops (order: start-first), and can't: %s; the old one is stopped first", name, svc.StopFirst)] = true
		}
		svc.ContainerName, svc.Ports, svc.Mounts = s.ContainerName, ports(s), l.mounts(p.compose, s)
		svc.Fields = parts
		if aged := content[name].aged; aged != nil {
			if p.aged == nil {
				p.aged = map[string][]string{}
			}
			p.aged[name] = aged
		}
		p.Services = append(p.Services, svc)
	}
	slices.SortFunc(p.Services, func(a, b plan.Service) int { return strings.Compare(a.Name, b.Name) })
	x.take(p, hooks)
	p.Disabled = append(project.DisabledServiceNames(), x.hooks()...)
	slices.Sort(p.Disabled)
	if len(p.Services) == 0 {
		p.Profiles = profilesOf(project.DisabledServices)
	}
	if err := l.resources(p); err != nil {
		return err
	}
	p.Digest = digestOf(p.Stack)
	if !slices.ContainsFunc(slices.Collect(maps.Values(p.build.Services)), func(s types.ServiceConfig) bool { return s.Build != nil }) {
		p.build = nil // nobody will ask for it
	}
	return nil
}

// profilesOf are the profiles of services, sorted.
func profilesOf(services types.Services) []string {
	var all []string
	for _, s := range services {
		all = append(all, s.Profiles...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// digested is a service with the digest of the files that it uses among its
// labels, so that its hash tells them as well.
func digested(s types.ServiceConfig, digest string) types.ServiceConfig {
	if digest != "" {
		s.Labels = maps.Clone(s.Labels).Add(LabelContent, digest)
	}
	return s
}

// Former is a service as releases before gave it to Compose: with its digest
// among the labels that are hashed.
func Former(s types.ServiceConfig) types.ServiceConfig {
	return digested(s, s.CustomLabels[LabelContent])
}

func (l *Loader) service(p *types.Project, s types.ServiceConfig, hash string) (plan.Service, error) {
	image := s.Image
	if image == "" {
		image = p.Name + "-" + s.Name
	}
	ref, err := Reference(image)
	if err != nil {
		return plan.Service{}, fmt.Errorf("image %q: %w", image, err)
	}
	pull, every, err := pullPolicy(s)
	if err != nil {
		return plan.Service{}, fmt.Errorf("pull_policy %q: %w", s.PullPolicy, err)
	}
	if strings.Contains(ref, "@") {
		every = 0 // a digest does not move
	}
	svc := plan.Service{Own: IsTrue(s.Labels[LabelController]), Name: s.Name, Hash: hash, Image: ref, Pull: pull, Every: every, Scale: s.GetScale(), Completes: completes(s), Follows: follows(s), Shares: shares(s)}
	svc.Platform, svc.Grace = s.Platform, grace(s)
	if svc.MountedImages, err = mountedImages(s); err != nil {
		return plan.Service{}, err
	}
	svc.NetworkOf, _ = strings.CutPrefix(s.NetworkMode, types.ServicePrefix)
	if svc.NetworkOf == s.NetworkMode {
		svc.NetworkOf = ""
	}
	svc.Joins = joins(s)
	if name, ok := strings.CutPrefix(s.NetworkMode, types.ContainerPrefix); ok {
		svc.NetworkFrom = name
	}
	if s.NetworkMode == "" {
		for key := range s.Networks {
			if n, ok := p.Networks[key]; ok {
				svc.Networks = append(svc.Networks, n.Name)
			}
		}
		slices.Sort(svc.Networks)
	}
	return svc, nil
}

// mountedImages are the images that a service mounts as volumes, sorted.
func mountedImages(s types.ServiceConfig) ([]string, error) {
	var refs []string
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeImage {
			continue
		}
		ref, err := Reference(v.Source)
		if err != nil {
			return nil, fmt.Errorf("volumes: image %q: %w", v.Source, err)
		}
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return slices.Compact(refs), nil
}

// Reference gives an image reference as the engine lists it: the familiar
// name with a tag, or with a digest.
func Reference(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	if d, ok := named.(reference.Digested); ok {
		return reference.FamiliarName(named) + "@" + d.Digest().String(), nil
	}
	return reference.FamiliarString(reference.TagNameOnly(named)), nil
}

// DefaultGrace is the engine's, for containers whose file says nothing of it.
const DefaultGrace = 10 * time.Second

// grace is how long a container of a service has to end.
func grace(s types.ServiceConfig) time.Duration {
	if s.StopGracePeriod == nil {
		return DefaultGrace
	}
	return time.Duration(*s.StopGracePeriod)
}

// alwaysEvery is how often the registry is asked about the image of a service
// with pull_policy: always.
const alwaysEvery = 5 * time.Minute

// pullPolicy says when a service's image is pulled, and how often the registry
// is asked for a newer one.
func pullPolicy(s types.ServiceConfig) (plan.PullPolicy, time.Duration, error) {
	// Compose's schema lets anything through that contains a known word, and
	// Compose then takes it for "missing".
	switch p := s.PullPolicy; {
	case p == "", p == "daily", p == "weekly", strings.HasPrefix(p, "every_"):
	case p == types.PullPolicyAlways, p == types.PullPolicyNever, p == types.PullPolicyBuild, p == types.PullPolicyMissing,
		p == types.PullPolicyIfNotPresent, p == types.PullPolicyRefresh:
	default:
		return "", 0, errors.New("want always, missing, never, build, daily, weekly or every_<duration> (every_12h, every_1d)")
	}
	policy, every, err := s.GetPullPolicy()
	if err == nil && policy == types.PullPolicyRefresh && every <= 0 {
		err = errors.New("the time must be more than 0")
	}
	if err != nil {
		return "", 0, err
	}
	switch {
	case policy == types.PullPolicyAlways && s.Image != "":
		return plan.PullAlways, alwaysEvery, nil
	case s.Build != nil && policy != types.PullPolicyNever:
		return plan.PullBuild, 0, nil
	case policy == types.PullPolicyRefresh:
		return plan.PullRefresh, every, nil
	case policy == types.PullPolicyNever:
		return plan.PullNever, 0, nil
	case policy == types.PullPolicyBuild:
		return plan.PullBuild, 0, nil
	default:
		return plan.PullMissing, 0, nil
	}
}

// completes says whether a container that exited with 0 has done its work.
func completes(s types.ServiceConfig) bool {
	if s.Restart != "" {
		return s.Restart == "no" || strings.HasPrefix(s.Restart, "on-failure")
	}
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		return s.Deploy.RestartPolicy.Condition == "none" || s.Deploy.RestartPolicy.Condition == "on-failure"
	}
	return true
}

// shares are the services whose namespaces a service lives in.
func shares(s types.ServiceConfig) []string {
	var out []string
	for _, mode := range []string{s.NetworkMode, s.Ipc, s.Pid} {
		if name, ok := strings.CutPrefix(mode, "service:"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// joins are the containers, of whatever stack, whose namespaces a service lives in.
func joins(s types.ServiceConfig) []string {
	var out []string
	for _, mode := range []string{s.NetworkMode, s.Ipc, s.Pid} {
		if name, ok := strings.CutPrefix(mode, types.ContainerPrefix); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func follows(s types.ServiceConfig) []string {
	out := shares(s)
	for _, from := range s.VolumesFrom {
		if name, _, _ := strings.Cut(from, ":"); name != "container" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// resources labels and hashes the networks and volumes that the stack creates
// and lists the ones that it needs.
func (l *Loader) resources(p *Project) error {
	ours := types.Labels{LabelRepository: l.o.Repository, LabelStack: p.File}
	for key, n := range p.compose.Networks {
		if n.External {
			p.Requires = append(p.Requires, plan.Requirement{Kind: "network", Name: n.Name})
			continue
		}
		hash, err := l.o.Hasher.Network(n)
		if err != nil {
			return fmt.Errorf("networks.%s: %w", key, err)
		}
		n.CustomLabels = ours
		p.compose.Networks[key] = n
		p.Networks = append(p.Networks, plan.Resource{Name: n.Name, Hash: hash})
	}
	for key, v := range p.compose.Volumes {
		if v.External {
			p.Requires = append(p.Requires, plan.Requirement{Kind: "volume", Name: v.Name})
			continue
		}
		hash, err := l.o.Hasher.Volume(v)
		if err != nil {
			return fmt.Errorf("volumes.%s: %w", key, err)
		}
		v.CustomLabels = ours
		p.compose.Volumes[key] = v
		p.Volumes = append(p.Volumes, plan.Resource{Name: v.Name, Hash: hash, Made: plan.VolumeMade(v.Driver, v.DriverOpts)})
	}
	byName := func(a, b plan.Resource) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(p.Networks, byName)
	slices.SortFunc(p.Volumes, byName)
	slices.SortFunc(p.Requires, func(a, b plan.Requirement) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return nil
}

// digestOf identifies the wanted state. Scale and image are no part of
// compose's hash, but of what should run. What other fields are in the hash
// already is left out, so that the digests in journals of before stay true.
func digestOf(s plan.Stack) string {
	s.Invalid, s.Digest, s.Blob, s.Untracked, s.Edited, s.Warnings, s.MinAge, s.Back, s.Suspend = "", "", "", nil, nil, nil, nil, nil, false
	s.Volumes = slices.Clone(s.Volumes)
	for i := range s.Volumes {
		s.Volumes[i].Made = ""
	}
	s.Services = digestible(s.Services)
	s.Hooks.Before, s.Hooks.After = digestible(s.Hooks.Before), digestible(s.Hooks.After)
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// digestible are services without what is in their hashes already, and without what
// decides nothing about what runs.
func digestible(services []plan.Service) []plan.Service {
	services = slices.Clone(services)
	for i := range services {
		svc := &services[i]
		svc.ContainerName, svc.Ports, svc.Mounts, svc.NewData, svc.Shares, svc.NetworkOf = "", nil, nil, false, nil, ""
		svc.Joins, svc.NetworkFrom, svc.Platform, svc.MountedImages, svc.Grace = nil, "", "", nil, 0
		svc.Rollback, svc.Monitor, svc.StartFirst, svc.Parallelism, svc.StopFirst = false, 0, false, 0, ""
	}
	return services
}
