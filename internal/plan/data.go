package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Doubt is a question about data that going on might leave behind: it is a loss
// when Old has content and New does not exist or is empty. Who plans asks the
// engine and the file system, and answers in State.Losses.
type Doubt struct {
	// Container has Old mounted. Empty when both are files of the clone.
	Container string
	Old, New  Mount
}

// differs says whether what exists was defined otherwise than is wanted.
func (have Resource) differs(want Resource) bool {
	return have.Hash != "" && want.Hash != "" && have.Hash != want.Hash
}

// relabelled says whether a volume that differs does so by nothing but labels.
func (have Resource) relabelled(want Resource) bool {
	return have.differs(want) && have.Made != "" && have.Made == want.Made
}

// relabelled are the volumes of a stack that are to have other labels, sorted.
func relabelled(s Stack, r Running) []string {
	var names []string
	for _, v := range s.Volumes {
		if have, ok := find(r.Volumes, v.Name); ok && have.relabelled(v) {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return names
}

// redefines finds a volume whose definition changed, by more than labels: that could
// only be applied by deleting the volume and what is in it.
func redefines(s Stack, r Running) string {
	for _, v := range s.Volumes {
		if have, ok := find(r.Volumes, v.Name); ok && have.differs(v) && !have.relabelled(v) {
			return fmt.Sprintf("the definition of volume %s changed, which can only be applied by deleting its data; put the old definition back, or give the volume another name and move the data", v.Name)
		}
	}
	return ""
}

// loses says what data a stack would start without. Only what containers mount
// decides, not what files and folders are called:
//
//	the container of before mounts       the new one would mount     held
//	-----------------------------------  --------------------------  ----
//	a named volume, or of the clone a
//	folder or file, that has content     the same                    no
//	                                     another that has content    no
//	                                     another that is missing or
//	                                     empty                       yes
//	                                     another, and nobody could
//	                                     tell (State.Losses)         yes
//	something else                       anything                    no
//
// The container of before is the service's own, or else the one of the same
// service in the project whose place the stack takes, or in the stack that the
// service moved from. A folder that moved takes its tracked files with it, and
// leaves an untracked env file behind, which holds it as well.
//
// Every question is asked, whatever the answer to another one.
func (b *builder) loses(s Stack, r Running) string {
	loss, unsure := "", ""
	for _, svc := range s.Services {
		if svc.NewData || svc.Scale == 0 {
			continue
		}
		project, containers := b.before(s, r, svc)
		for _, c := range containers {
			for _, want := range svc.Mounts {
				old, ok := mountAt(c, want.Target)
				if !ok || want.Type == MountAnonymous || old.Type == want.Type && old.Source == want.Source {
					continue
				}
				switch lost, known := b.loss(Doubt{Container: c.ID, Old: old, New: want}); {
				case !known:
					unsure = cmp.Or(unsure, fmt.Sprintf("service %s has its data in %s (at %s), and would start with %s; %s",
						svc.Name, old.text(), want.Target, want.text(), unknown))
				case lost:
					loss = cmp.Or(loss, lossText(s, svc, project, old, want))
				}
			}
		}
	}
	return cmp.Or(loss, b.leavesEnv(s), unsure)
}

// unknown is said of a doubt without an answer.
const unknown = "whether anything would stay behind could not be found out, for the reason in the log; that is tried again"

// before are the containers whose data a service goes on with, and the project
// that they are of.
func (b *builder) before(s Stack, r Running, svc Service) (project string, containers []Container) {
	of := func(r Running) []Container {
		var out []Container
		for _, c := range r.Containers {
			if c.Service == svc.Name && !c.OneOff {
				out = append(out, c)
			}
		}
		return out
	}
	if own := of(r); len(own) > 0 {
		return s.Name, own
	}
	for _, project := range b.heirOf(s) {
		if old := b.running.at(project); len(old.Containers) > 0 {
			if had := of(old); len(had) > 0 {
				return old.Project, had
			}
		}
	}
	for _, old := range b.ix.having(svc) {
		if b.movesFrom(*old, s, svc) {
			return old.Project, of(*old)
		}
	}
	return "", nil
}

// heirOf are the projects whose place a stack takes, sorted.
func (b *builder) heirOf(s Stack) []string {
	var projects []string
	for project, heir := range b.heir {
		if heir == s.Name {
			projects = append(projects, project)
		}
	}
	slices.Sort(projects)
	return projects
}

// loss looks up the answer to a doubt, and notes the question.
func (b *builder) loss(d Doubt) (lost, known bool) {
	if !slices.Contains(b.doubts, d) {
		b.doubts = append(b.doubts, d)
	}
	lost, known = b.state.Losses[d]
	return lost, known
}

func mountAt(c Container, target string) (Mount, bool) {
	for _, m := range c.Mounts {
		if m.Target == target {
			return m, m.Type == MountVolume || m.Type == MountClone
		}
	}
	return Mount{}, false
}

func lossText(s Stack, svc Service, project string, old, want Mount) string {
	var ways []string
	if project != s.Name && old.Type == MountVolume {
		ways = append(ways, "keep the project name (name: "+project+")")
	}
	switch {
	case want.Type == MountVolume:
		ways = append(ways, "fill "+want.text()+" with the data by hand")
	case old.Type == MountClone:
		ways = append(ways, "move the content to "+want.text())
	default:
		ways = append(ways, "copy the content to "+want.text())
	}
	ways = append(ways, "or, to start without it, give the service the label "+LabelData+"=new in git")
	return fmt.Sprintf("service %s has its data in %s (at %s), and would start with %s, which does not exist or is empty; %s",
		svc.Name, old.text(), want.Target, want.text(), strings.Join(ways, ", "))
}

// LabelData is the label that lets a service start without its data; its value
// is "new".
const LabelData = "gitops.data"

func (m Mount) text() string {
	switch m.Type {
	case MountVolume:
		return "volume " + m.Source
	case MountClone:
		return "./" + m.Source
	case MountAnonymous:
		return "an anonymous volume"
	default:
		return m.Source
	}
}

// leavesEnv finds an env file that git does not track and that stays behind in
// the folder that the stack moved from, or that of a stack which is no more and
// whose services went to several new ones.
func (b *builder) leavesEnv(s Stack) string {
	old, files, how := b.envBefore(s)
	from, to := path.Dir(old), path.Dir(s.File)
	if old == "" || from == to || from == "." {
		return ""
	}
	loss, unsure := "", ""
	for _, f := range files {
		rel, inside := strings.CutPrefix(f, from+"/")
		if !inside {
			continue
		}
		d := Doubt{Old: Mount{Type: MountClone, Source: f}, New: Mount{Type: MountClone, Source: path.Join(to, rel)}}
		if slices.Contains(s.Untracked, d.New.Source) {
			continue
		}
		switch lost, known := b.loss(d); {
		case !known:
			unsure = cmp.Or(unsure, fmt.Sprintf("%s is not tracked by git, and the stack reads %s now; %s", f, d.New.Source, unknown))
		case lost:
			loss = cmp.Or(loss, fmt.Sprintf("%s is not tracked by git and stays behind where the stack was before; %s %s %s", f, how, f, d.New.Source))
		}
	}
	return cmp.Or(loss, unsure)
}

// envBefore gives the file that a stack had before it moved, or that the stack
// had which a new one has services of, the untracked env files that were read
// then, and how they come along.
func (b *builder) envBefore(s Stack) (file string, untracked []string, how string) {
	names := append(b.heirOf(s), s.Name)
	slices.Sort(names)
	heirOf := len(names)
	if b.isNew(s) {
		for _, svc := range s.Services {
			for _, old := range b.ix.having(svc) {
				if b.removed(*old) && b.movesFrom(*old, s, svc) {
					names = append(names, old.Project)
				}
			}
		}
	}
	for i, name := range names {
		if b.displaced[name] && b.heir[name] != s.Name {
			continue
		}
		r, runs := b.running.find(name)
		rec := b.state.Memory[name]
		file, untracked = rec.File, rec.Untracked
		for _, was := range b.state.Before {
			if file == "" && runs && was.Name == name && was.Invalid == "" { // else it was held there, and never read that
				file, untracked = was.File, was.Untracked
			}
		}
		if file == "" && runs && hasContainers(r) && r.Ours { // nothing is remembered: .env is what most have
			file, untracked = r.File, []string{path.Join(path.Dir(r.File), ".env")}
		}
		switch {
		case file == "" || file == s.File:
		case i < heirOf:
			return file, untracked, "move it: mv"
		default: // others have services of it, too
			return file, untracked, "copy it: cp"
		}
	}
	return "", nil, ""
}
