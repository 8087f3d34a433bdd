package render

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compileSchema compiles the schema that compose-go has in it, as its own
// Validate does for every file anew: that is most of what a load costs there.
// What it gives is safe for use by several goroutines.
func compileSchema() (*jsonschema.Schema, error) {
	const name = "compose-spec.json"
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.Schema))
	if err != nil {
		return nil, fmt.Errorf("read the schema of compose files: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, text); err != nil {
		return nil, fmt.Errorf("read the schema of compose files: %w", err)
	}
	c.RegisterFormat(&jsonschema.Format{Name: "duration", Validate: isDuration})
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("compile the schema of compose files: %w", err)
	}
	return compiled, nil
}

func isDuration(value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("expected string")
	}
	_, err := time.ParseDuration(text)
	return err
}
