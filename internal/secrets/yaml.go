package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// metadataKey is where sops has its metadata.
const metadataKey = "sops"

func loadYAML(content []byte) ([]mapping, map[string]string, error) {
	l := yamlLoader{budget: fullBudget}
	var documents []mapping
	flat := map[string]string{}
	for d := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var node yaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, notYAML(err)
		}
		m, err := l.document(&node)
		if err != nil {
			return nil, nil, err
		}
		m, value, err := m.without(metadataKey)
		if err != nil {
			return nil, nil, err
		}
		if len(documents) == 0 { // sops writes them into each, and reads the first
			flatten(flat, "", value)
		}
		documents = append(documents, m)
	}
	if len(documents) == 0 {
		return nil, nil, fail(Malformed, "the file is empty")
	}
	return documents, flat, nil
}

// notYAML says where the parser has stopped, and not why: that may quote the file.
func notYAML(err error) error {
	line := 0
	if _, err := fmt.Sscanf(err.Error(), "yaml: line %d:", &line); err != nil {
		return fail(Malformed, "the file is not valid YAML")
	}
	return fail(Malformed, "the file is not valid YAML at line %d", line)
}

// yamlLoader makes documents of nodes as sops does. Where a comment belongs to decides
// what it is bound to when it is encrypted, so each of them is taken up at the point
// at which sops takes it up.
type yamlLoader struct{ budget budget }

func (l *yamlLoader) document(node *yaml.Node) (mapping, error) {
	var m mapping
	comments(&m, node.HeadComment, node.LineComment)
	for _, top := range node.Content {
		switch {
		case top.Kind == yaml.MappingNode:
		case top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null":
			comments(&m, top.HeadComment, top.LineComment)
			continue
		default:
			return nil, fail(Malformed, "the file is YAML, and one of its documents is not a mapping")
		}
		part, err := l.mapping(top, false, 0)
		if err != nil {
			return nil, err
		}
		m = append(m, part...)
	}
	comments(&m, node.FootComment)
	return m, nil
}

// mapping makes one of a node. With handled, the comments at the node itself were
// taken up by the list that it is in.
func (l *yamlLoader) mapping(node *yaml.Node, handled bool, depth int) (mapping, error) {
	m := mapping{}
	if !handled {
		comments(&m, node.HeadComment, node.LineComment)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		comments(&m, key.HeadComment, key.LineComment)
		simple := value.Kind == yaml.ScalarNode || value.Kind == yaml.AliasNode
		if simple {
			comments(&m, value.HeadComment, value.LineComment)
		}
		name, err := l.key(key, depth)
		if err != nil {
			return nil, err
		}
		v, err := l.value(value, simple, depth+1)
		if err != nil {
			return nil, err
		}
		m = append(m, entry{key: name, value: v})
		if simple {
			comments(&m, value.FootComment)
		}
		comments(&m, key.FootComment)
	}
	if !handled {
		comments(&m, node.FootComment)
	}
	return m, nil
}

func (l *yamlLoader) list(node *yaml.Node, handled bool, depth int) ([]any, error) {
	list := []any{}
	remark := func(texts ...string) {
		var m mapping
		comments(&m, texts...)
		for _, e := range m {
			list = append(list, comment(e.key))
		}
	}
	if !handled {
		remark(node.HeadComment, node.LineComment)
	}
	for _, item := range node.Content {
		remark(item.HeadComment, item.LineComment)
		v, err := l.value(item, true, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		remark(item.FootComment)
	}
	if !handled {
		remark(node.FootComment)
	}
	return list, nil
}

func (l *yamlLoader) value(node *yaml.Node, handled bool, depth int) (any, error) {
	size := len(node.Value) + len(node.HeadComment) + len(node.LineComment) + len(node.FootComment)
	if err := l.budget.spend(depth, valueCost+size); err != nil {
		return nil, err
	}
	switch node.Kind {
	case yaml.SequenceNode:
		return l.list(node, handled, depth)
	case yaml.MappingNode:
		return l.mapping(node, handled, depth)
	case yaml.AliasNode:
		return l.value(node.Alias, false, depth+1)
	default:
		return scalar(node)
	}
}

func (l *yamlLoader) key(node *yaml.Node, depth int) (string, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if err := l.budget.spend(depth, len(node.Value)); err != nil {
		return "", err
	}
	if node.Kind == yaml.ScalarNode {
		if v, err := scalar(node); err == nil {
			if s, ok := v.(string); ok {
				return s, nil
			}
		}
	}
	return "", fail(Malformed, "the file has a key that is not a string, which sops does not encrypt")
}

func scalar(node *yaml.Node) (any, error) {
	var v any
	if err := node.Decode(&v); err != nil { // which quotes the value
		return nil, fail(Malformed, "a value in line %d is not of the type that it is said to be", node.Line)
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case []byte:
		return string(v), nil
	case nil, string, int64, float64, bool, time.Time:
		return v, nil
	default: // an integer of more than 63 bits
		return nil, fail(Malformed, "a value in line %d is of a type that sops does not encrypt", node.Line)
	}
}

// comments adds what stands behind the sign in each line of comments.
func comments(m *mapping, texts ...string) {
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			if line != "" {
				*m = append(*m, entry{comment: true, key: line[1:]})
			}
		}
	}
}

// indent is what sops has by default.
const indent = 4

func emitYAML(documents []mapping) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(indent)
	for _, m := range documents {
		node, err := mappingNode(m)
		if err != nil {
			return nil, err
		}
		if err := e.Encode(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{node}}); err != nil {
			return nil, fail(Malformed, "the plaintext can't be written as YAML")
		}
	}
	if err := e.Close(); err != nil {
		return nil, fail(Malformed, "the plaintext can't be written as YAML")
	}
	return b.Bytes(), nil
}

func mappingNode(m mapping) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	var pending []string
	for _, e := range m {
		if e.comment {
			pending = append(pending, e.key)
			continue
		}
		key, err := valueNode(e.key)
		if err != nil {
			return nil, err
		}
		if len(node.Content) == 0 { // before the whole of it
			head(node, pending)
		} else {
			head(key, pending)
		}
		pending = nil
		value, err := valueNode(e.value)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, key, value)
	}
	if len(node.Content) == 0 {
		head(node, pending)
	} else {
		foot(node.Content[len(node.Content)-2], pending)
	}
	return node, nil
}

func listNode(list []any) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode}
	var pending []string
	for _, item := range list {
		if c, ok := item.(comment); ok {
			pending = append(pending, string(c))
			continue
		}
		n, err := valueNode(item)
		if err != nil {
			return nil, err
		}
		if len(node.Content) == 0 {
			head(node, pending)
		} else {
			head(n, pending)
		}
		pending = nil
		node.Content = append(node.Content, n)
	}
	if len(node.Content) == 0 {
		head(node, pending)
	} else {
		foot(node.Content[len(node.Content)-1], pending)
	}
	return node, nil
}

func valueNode(value any) (*yaml.Node, error) {
	switch v := value.(type) {
	case mapping:
		return mappingNode(v)
	case []any:
		return listNode(v)
	default:
		if s, ok := v.(string); ok && strings.Contains(s, "\n") && strings.IndexFunc(s, unicode.IsSpace) == 0 {
			// As a block, the encoder may write it so that nothing of it is read back, or
			// not even the file. sops does that, and overlooks it.
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}, nil
		}
		node := &yaml.Node{}
		err := node.Encode(v)
		if err != nil {
			return nil, fail(Malformed, "the plaintext can't be written as YAML")
		}
		return node, nil
	}
}

// head puts comments before a node, and before those that it has.
func head(node *yaml.Node, texts []string) {
	if len(texts) > 0 {
		node.HeadComment = strings.TrimSuffix("#"+strings.Join(texts, "\n#")+"\n"+node.HeadComment, "\n")
	}
}

// foot puts comments behind a node.
func foot(node *yaml.Node, texts []string) {
	if len(texts) > 0 {
		node.FootComment = strings.TrimPrefix(node.FootComment+"\n#"+strings.Join(texts, "\n#"), "\n")
	}
}
