package render_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
)

// withKey gives a loader the key, and a folder for what is in clear that the test can
// look into.
func withKey(t *testing.T, s *sopstest.Sops) func(*render.Options) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	return func(o *render.Options) { o.Keys = secrets.Keys{Age: s.Key} }
}

// inClear fails if anything that was decrypted is left.
func inClear(t *testing.T, f *folder) {
	t.Helper()
	for _, root := range []string{os.Getenv("TMPDIR"), f.dir} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte("hunter2")) {
				t.Errorf("%s is in clear", p)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "gitops-*")); left != nil {
		t.Errorf("left over: %v", left)
	}
}

// A stack with encrypted files is the one that it is with the same files in clear,
// wherever Compose reads them.
func TestAnEncryptedStackIsWhatItIsInClear(t *testing.T) {
	s := sopstest.New(t)
	for name, c := range map[string]struct {
		plain  map[string]string // by name
		sealed string            // names of those that are encrypted
	}{
		".env": {map[string]string{
			"web/compose.yaml": "services: {app: {image: 'a:$TAG', environment: {P: $PASSWORD}, env_file: .env}}",
			"web/.env":         "TAG=1\nPASSWORD=hunter2\n",
		}, "web/.env"},
		"a compose file": {map[string]string{
			"web/compose.yaml": "services:\n  app:\n    image: a\n    environment:\n      P: hunter2\n    ports: [\"80:80\"]\n    read_only: true\n",
		}, "web/compose.yaml"},
		"an override file": {map[string]string{
			"web/compose.yaml":          "services: {app: {image: a}}",
			"web/compose.override.yaml": "services:\n  app:\n    environment:\n      P: hunter2\n",
		}, "web/compose.override.yaml"},
		"an env_file elsewhere": {map[string]string{
			"web/compose.yaml":       "services: {app: {image: a, env_file: [../shared/deep/db.env, own.env]}}",
			"web/own.env":            "Q=$P\n",
			"shared/deep/db.env":     "P=hunter2\n",
			"shared/deep/other/file": "x",
		}, "shared/deep/db.env"},
		"a raw env_file": {map[string]string{
			"web/compose.yaml": "services: {app: {image: a, env_file: [{path: raw.env, format: raw}]}}",
			"web/raw.env":      "P=\"hunter2$X\n",
		}, "web/raw.env"},
		"include and its .env": {map[string]string{
			"web/compose.yaml": "include: [../inc/i.yaml]\nservices: {app: {image: a}}",
			"inc/i.yaml":       "services:\n  inc:\n    image: i\n    environment:\n      P: hunter2-$TAG\n",
			"inc/.env":         "TAG=hunter2\n",
		}, "inc/i.yaml inc/.env"},
		"extends, and what that extends": {map[string]string{
			"web/compose.yaml": "services: {app: {extends: {file: ../base/b.yaml, service: base}}}",
			"base/b.yaml":      "services:\n  base:\n    extends:\n      file: more/m.yaml\n      service: more\n    environment:\n      P: hunter2\n",
			"base/more/m.yaml": "services:\n  more:\n    image: m\n    environment:\n      Q: hunter2\n",
		}, "base/b.yaml base/more/m.yaml"},
		"label_file": {map[string]string{
			"web/compose.yaml": "services: {app: {image: a, label_file: l.env}}",
			"web/l.env":        "p=hunter2\n",
		}, "web/l.env"},
		"all at once, with mounts": {map[string]string{
			"web/compose.yaml": "services:\n  app:\n    image: a:$TAG\n    env_file: app.env\n    volumes: [\"./conf:/conf\", \"./file:/file\"]\n    build: ./ctx\n",
			"web/.env":         "TAG=hunter2\n", "web/app.env": "P=hunter2\n",
			"web/conf/x": "x", "web/file": "f", "web/ctx/Dockerfile": "FROM scratch",
		}, "web/compose.yaml web/.env web/app.env"},
	} {
		t.Run(name, func(t *testing.T) {
			clear, sealed := newFolder(t), newFolder(t)
			for file, text := range c.plain {
				clear.write(file, text)
				if strings.Contains(" "+c.sealed+" ", " "+file+" ") {
					text = s.Encrypt(file, text)
				}
				sealed.write(file, text)
			}
			key := withKey(t, s)
			same := func(o *render.Options) { o.HostRoot = "/srv/stacks" }
			want, err := compose(t, valid(t, clear, same)).MarshalYAML()
			if err != nil {
				t.Fatal(err)
			}
			got, err := compose(t, valid(t, sealed, same, key)).MarshalYAML()
			if err != nil {
				t.Fatal(err)
			}
			got = bytes.ReplaceAll(got, []byte(sealed.dir), []byte(clear.dir)) // of what is built
			if string(got) != string(want) {
				t.Errorf("in clear it is\n%s\nencrypted\n%s", want, got)
			}
			if !bytes.Contains(got, []byte("hunter2")) {
				t.Error("nothing was decrypted")
			}
			inClear(t, sealed)
		})
	}
}

func TestEncryptedConfigsAndSecretsAreCarriedIntoContainers(t *testing.T) {
	s := sopstest.New(t)
	f := newFolder(t).write("web/compose.yaml", `
services: {app: {image: a, secrets: [db, {source: tls, target: /run/tls.key, uid: "7", mode: 0400}], configs: [c]}}
secrets: {db: {file: db.txt}, tls: {file: ../shared/tls.key}}
configs: {c: {file: c.json}}
`).write("web/db.txt", s.Encrypt("db.txt", "hunter2\n")).write("shared/tls.key", s.Encrypt("tls.key", "\x00hunter2\xff")).
		write("web/c.json", s.Encrypt("c.json", `{"p": "hunter2"}`))
	key := withKey(t, s)
	l := loader(f, key)
	p := validOf(t, l, f)
	project := compose(t, p)
	for name, want := range map[string]string{"db": "hunter2\n", "tls": "\x00hunter2\xff"} {
		o := project.Secrets[name]
		if o.File != "" || project.Environment[o.Environment] != want {
			t.Errorf("secret %s is %+v: %q", name, o, project.Environment[o.Environment])
		}
	}
	if o := project.Configs["c"]; o.File != "" || !strings.Contains(project.Environment[o.Environment], "hunter2") {
		t.Errorf("config is %+v", o)
	}
	inClear(t, f)

	before := service(t, p, "app").Hash
	f.write("web/db.txt", s.Encrypt("db.txt", "hunter2-new\n"))
	if after := service(t, validOf(t, l, f), "app").Hash; after == before {
		t.Error("another secret is no change")
	}
}

// What is wrong with a file is said, and the stack is not deployed; of what is in it
// nothing is said.
func TestWhatCantBeDecryptedIsInvalidAndSaysNothingOfIt(t *testing.T) {
	s, other := sopstest.New(t), sopstest.New(t)
	compose := "services: {app: {image: a, env_file: db.env}}"
	env := s.Encrypt("db.env", "PASSWORD=hunter2-hunter2\n")
	for name, c := range map[string]struct {
		files map[string]string
		key   *sopstest.Sops
		says  []string
	}{
		"no key":           {map[string]string{"web/compose.yaml": compose, "web/db.env": env}, nil, []string{"web/db.env", "no key"}},
		"another key":      {map[string]string{"web/compose.yaml": compose, "web/db.env": env}, other, []string{"web/db.env", s.To, other.To, "sops updatekeys"}},
		"changed by hand":  {map[string]string{"web/compose.yaml": compose, "web/db.env": strings.Replace(env, "PASSWORD=", "PASSWORT=", 1)}, s, []string{"web/db.env", "changed"}},
		"broken":           {map[string]string{"web/compose.yaml": compose, "web/db.env": "PASSWORD=ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\n"}, s, []string{"still encrypted", "app"}},
		"an inline value":  {map[string]string{"web/compose.yaml": "services: {app: {image: a, configs: [c]}}\nconfigs: {c: {content: 'ENC[AES256_GCM,x]'}}"}, s, []string{"still encrypted", "configs.c"}},
		"a mounted file":   {map[string]string{"web/compose.yaml": "services: {app: {image: a, volumes: ['./db.env:/x']}}", "web/db.env": env}, s, []string{"web/db.env", "gitops-secrets:/secrets"}},
		"read-only":        {map[string]string{"web/compose.yaml": "services: {app: {image: a, read_only: true, secrets: [x]}}\nsecrets: {x: {file: db.env}}", "web/db.env": env}, s, []string{"read_only"}},
		"a secret, no key": {map[string]string{"web/compose.yaml": "services: {app: {image: a, secrets: [x]}}\nsecrets: {x: {file: db.env}}", "web/db.env": env}, nil, []string{"web/db.env", "no key", "secrets.x"}},
		"an empty secret":  {map[string]string{"web/compose.yaml": "services: {app: {image: a, secrets: [x]}}\nsecrets: {x: {file: e.txt}}", "web/e.txt": s.Encrypt("e.txt", "")}, s, []string{"empty"}},
		"bad YAML in it":   {map[string]string{"web/compose.yaml": s.Encrypt("compose.yaml", "services:\n  app:\n    image: a\n    portz: hunter2-hunter2\n")}, s, []string{"web/compose.yaml", "portz"}},
		"a bad value": {
			map[string]string{"web/compose.yaml": "services: {app: {image: a, ports: ['$PORT:80']}}", "web/.env": s.Encrypt(".env", "PORT=hunter2-hunter2\n")}, s, []string{"web/compose.yaml"},
		},
		"a bad line of an env file": {
			map[string]string{"web/compose.yaml": compose, "web/db.env": s.Encrypt("db.env", "PASS=\"hunter2-hunter2 x\nQ=1\n")}, s, []string{"web"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			for file, text := range c.files {
				f.write(file, text)
			}
			var logged bytes.Buffer
			change := []func(*render.Options){func(o *render.Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) }}
			if c.key != nil {
				change = append(change, withKey(t, c.key))
			} else {
				t.Setenv("TMPDIR", t.TempDir())
			}
			got := invalid(t, f, change...)
			for _, want := range c.says {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in: %s", want, got)
				}
			}
			if strings.Contains(got+logged.String(), "hunter2") {
				t.Errorf("it says what is in it: %s %s", got, &logged)
			}
			inClear(t, f)
		})
	}
}

func TestANewKeyIsSeenAtTheNextLook(t *testing.T) {
	s, other := sopstest.New(t), sopstest.New(t)
	t.Setenv("TMPDIR", t.TempDir())
	keys := filepath.Join(t.TempDir(), "keys")
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: db.env}}").write("web/db.env", s.Encrypt("db.env", "P=hunter2\n")).
		write("db/compose.yaml", "services: {app: {image: a}}")
	l := loader(f, func(o *render.Options) { o.Keys.AgeFile = keys })
	say := func(text string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour).Add(time.Duration(len(text)) * time.Second)
		if err := os.Chtimes(keys, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if why := load(t, l, f)["web/compose.yaml"].Invalid; !strings.Contains(why, keys) {
		t.Errorf("without the file: %s", why)
	}
	say(other.Key + "\n")
	if why := load(t, l, f)["web/compose.yaml"].Invalid; !strings.Contains(why, other.To) {
		t.Errorf("with another key: %s", why)
	}
	say("# a comment\n" + other.Key + "\n" + s.Key + "\n")
	if why := load(t, l, f)["web/compose.yaml"].Invalid; why != "" {
		t.Errorf("with the key: %s", why)
	}
	loads := l.Loads()
	load(t, l, f)
	if l.Loads() != loads {
		t.Error("an encrypted stack is loaded at each look")
	}
}

func TestOtherRecipientsAreNoChange(t *testing.T) {
	s, other := sopstest.New(t), sopstest.New(t)
	key := withKey(t, s)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return full
	}
	env, secret := write("db.env", s.Encrypt("db.env", "P=hunter2\n")), write("x.txt", s.Encrypt("x.txt", "hunter2"))
	read := func(full string) string {
		b, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: db.env, secrets: [x]}}\nsecrets: {x: {file: x.txt}}").
		write("web/db.env", read(env)).write("web/x.txt", read(secret))
	l := loader(f, key)
	before := validOf(t, l, f)
	write(".sops.yaml", "creation_rules:\n  - age: "+s.To+","+other.To+"\n")
	for _, file := range []string{env, secret} {
		s.Run("updatekeys", "--yes", file)
	}
	if read(env) == before.Blob || !strings.Contains(read(env), other.To) {
		t.Fatal("sops added no recipient")
	}
	f.write("web/db.env", read(env)).write("web/x.txt", read(secret))
	after := validOf(t, l, f)
	if after.Digest != before.Digest {
		t.Errorf("the stack is another one: %+v, then %+v", before.Services, after.Services)
	}
}

func TestWhatACrashLeftInClearIsRemovedAtTheNextStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	left := filepath.Join(os.Getenv("TMPDIR"), "gitops-compose-clear-1")
	if err := os.MkdirAll(filepath.Join(left, "web"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "web/.env"), []byte("P=hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a}}")
	loader(f)
	inClear(t, f)
}

func TestAnErrorOfTheEngineIsShownWithoutWhatIsSecret(t *testing.T) {
	s := sopstest.New(t)
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: [$RUN]}}").write("web/.env", s.Encrypt(".env", "RUN=hunter2-hunter2\n"))
	p := valid(t, f, withKey(t, s))
	cause := errors.New(`exec: "hunter2-hunter2": not found`)
	err := p.Withhold(fmt.Errorf("start: %w", cause))
	if err.Error() != `start: exec: "***": not found` || !errors.Is(err, cause) {
		t.Errorf("it is %v", err)
	}
	if got := p.Withhold(errors.New("near hunter2-hun")).Error(); strings.Contains(got, "hunter2") {
		t.Errorf("a part of it: %s", got)
	}
	if err := p.Withhold(nil); err != nil {
		t.Errorf("of no error it makes %v", err)
	}
	if got := p.Withhold(errors.New("no such image")).Error(); got != "no such image" {
		t.Errorf("an error without a secret is %s", got)
	}
}

func TestWithoutAKeyAFolderWithSomethingEncryptedIsNotMounted(t *testing.T) {
	s := sopstest.New(t)
	t.Setenv("TMPDIR", t.TempDir())
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['./conf:/conf']}}").
		write("web/conf/x.yaml", s.Encrypt("x.yaml", "a: hunter2\n")).write(".sops.yaml", "creation_rules: []\n")
	if why := invalid(t, f, func(o *render.Options) { o.HostSecrets = "/srv/secrets" }); !strings.Contains(why, "web/conf/x.yaml") || !strings.Contains(why, "no key") {
		t.Errorf("it says %s", why)
	}
}
