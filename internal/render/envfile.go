package render

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
)

// registerRaw makes compose-go know the env_file format "raw", which the docker
// compose command registers as well: without it such a stack is refused. The
// list of formats is compose-go's own, for the whole process and without a lock.
var registerRaw = sync.OnceFunc(func() { //nolint:gochecknoglobals // as the list that it adds to
	dotenv.RegisterFormat("raw", rawEnv)
})

// rawEnv reads lines of KEY=value as docker run --env-file does: what is behind
// the equals sign is the value, with quotes, dollars and blanks. A name alone
// takes the value that it has where the stack is loaded, if it has one.
func rawEnv(r io.Reader, file string, vars map[string]string, lookup func(string) (string, bool)) error {
	lines, err := kvfile.ParseFromReader(r, lookup)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	return nil
}
