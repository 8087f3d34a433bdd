package enginetest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
)

func TestTheEngineInMemoryKeepsTheContract(t *testing.T) {
	const repository = "example.org/stacks"
	var one *enginetest.Fake
	enginetest.Run(t, enginetest.Setup{Repository: repository, Hasher: hasher{}, New: func(_ testing.TB, root string) enginetest.Host {
		if one == nil { // what the suite gets before its cases has the image
			one = enginetest.NewFake(repository, root)
			return one
		}
		return one.At(root)
	}})
}

// hasher hashes everything; Services come without what compose leaves out.
type hasher struct{}

func (hasher) Service(s types.ServiceConfig) (string, error) {
	s.Build, s.PullPolicy, s.Scale, s.DependsOn, s.Profiles = nil, "", nil, nil, nil
	if s.Deploy != nil {
		deploy := *s.Deploy
		deploy.Replicas = nil
		s.Deploy = &deploy
	}
	return sum(s)
}

func (hasher) Network(n types.NetworkConfig) (string, error) { return sum(n) }
func (hasher) Volume(v types.VolumeConfig) (string, error)   { return sum(v) }

func sum(v any) (string, error) {
	b, err := json.Marshal(v)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), err
}
