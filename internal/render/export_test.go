package render

import "github.com/santhosh-tekuri/jsonschema/v6"

// Loads counts the stacks that were loaded, not those that were kept.
func (l *Loader) Loads() int { return int(l.loads.Load()) }

// WithoutTick makes a Loader trust the stamps of files that were written right
// before it reads them. A test then has to give each content another time.
func (l *Loader) WithoutTick() *Loader {
	l.tick = 0
	return l
}

// SameSums makes a Loader give the sums of fields that another one gives.
func (l *Loader) SameSums(o *Loader) *Loader {
	l.key = o.key
	return l
}

// ByLibrary makes a Loader leave all of it to compose-go's own loader.
func (l *Loader) ByLibrary() *Loader {
	l.schema = func() (*jsonschema.Schema, error) { return nil, errUnsure }
	return l
}
