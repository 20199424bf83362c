package tools

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"example.com/life/adapters/tools/hashline"
	"example.com/life/events"
)

// A form checks arguments against the schema of a struct and fills the struct from them. Its verdict is that of the schema, which
// a test holds it to; it is there because it says what is wrong in a model's terms, all of it, and costs a tenth.
//
// The struct's fields are of type string, int, bool, []string, lines, or a list of structs. Tags: json names the argument, omitempty makes it optional, jsonschema
// describes it; min and max bound an int's value, a string's length in characters, or a list's number of strings.
type form struct {
	fields []field
	names  string // of all fields, for messages
}

type field struct {
	name     string
	kind     reflect.Kind
	required bool
	min, max int   // of the value, or of the length
	items    *form // of a list of structs
}

// lines is an argument that is a text, or a list of its lines.
type lines struct {
	text   []string
	closed bool // the text ended in a line end
	given  bool
}

// linesSchema is what models see of it.
func linesSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}}}}
}

// biggest is the range in which every whole number of JSON is exact.
const biggest = 1 << 53

// formOf makes the form of A, and the schema as models get it.
func formOf[A any]() (form, json.RawMessage, error) {
	schema, err := jsonschema.For[A](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[lines](): linesSchema()}})
	if err != nil {
		return form{}, nil, fmt.Errorf("make the schema of its arguments: %w", err)
	}
	f, err := formIn(reflect.TypeFor[A](), schema)
	if err != nil {
		return form{}, nil, err
	}
	if _, err := schema.Resolve(nil); err != nil {
		return form{}, nil, fmt.Errorf("compile the schema of its arguments: %w", err)
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return form{}, nil, fmt.Errorf("write the schema of its arguments: %w", err)
	}
	return f, text, nil
}

// formIn makes the form of a struct, and completes its schema.
func formIn(of reflect.Type, schema *jsonschema.Schema) (f form, err error) {
	for i := range of.NumField() {
		field, err := fieldOf(of.Field(i), schema)
		if err != nil {
			return form{}, err
		}
		f.fields = append(f.fields, field)
	}
	f.names = strings.Join(schema.PropertyOrder, ", ")
	return f, nil
}

// fieldOf reads one field's tags, and adds its bounds to the schema.
func fieldOf(of reflect.StructField, schema *jsonschema.Schema) (field, error) {
	name, _, _ := strings.Cut(of.Tag.Get("json"), ",")
	property := schema.Properties[name]
	if property == nil {
		return field{}, fmt.Errorf("the field %s has no argument's name", of.Name)
	}
	f := field{name: name, kind: of.Type.Kind(), required: slices.Contains(schema.Required, name), min: -biggest, max: biggest}
	for tag, bound := range map[string]*int{"min": &f.min, "max": &f.max} {
		if text, given := of.Tag.Lookup(tag); given {
			n, err := strconv.Atoi(text)
			if err != nil {
				return field{}, fmt.Errorf("the tag %s of %s: %w", tag, name, err)
			}
			*bound = n
		}
	}
	switch f.kind {
	case reflect.Bool:
	case reflect.String:
		f.min = max(f.min, 0)
		property.MinLength = &f.min
		if f.max < biggest {
			property.MaxLength = &f.max
		}
	case reflect.Int:
		low, high := float64(f.min), float64(f.max)
		property.Minimum, property.Maximum = &low, &high
	case reflect.Slice:
		switch of.Type.Elem().Kind() {
		case reflect.String:
			f.max = min(f.max, 100)
		case reflect.Struct:
			items, err := formIn(of.Type.Elem(), property.Items)
			if err != nil {
				return field{}, err
			}
			f.items = &items
		default:
			return field{}, fmt.Errorf("the argument %s is a list of %s", name, of.Type.Elem().Kind())
		}
		property.Type, property.Types = "array", nil // not null, which is how an empty list is written
		f.min = max(f.min, 0)
		property.MinItems, property.MaxItems = &f.min, &f.max
	case reflect.Struct:
		if of.Type != reflect.TypeFor[lines]() {
			return field{}, fmt.Errorf("the argument %s is a %s", name, of.Type)
		}
	default:
		return field{}, fmt.Errorf("the argument %s is a %s", name, f.kind)
	}
	return f, nil
}

// fill checks the arguments and sets the fields of the struct that into points to. It returns what is wrong, one phrase for each
// field, beginning with the field's name; then the struct is of no use.
func (f form) fill(arguments json.RawMessage, into any) (wrong []string) {
	var value any
	if err := json.Unmarshal(arguments, &value); err != nil {
		return []string{"arguments: not valid JSON: " + err.Error()}
	}
	given, ok := value.(map[string]any)
	if !ok {
		return []string{"arguments: must be a JSON object, not " + kindOf(value)}
	}
	return f.fillIn(given, reflect.ValueOf(into).Elem())
}

// fillIn is fill for an object that was read.
func (f form) fillIn(given map[string]any, target reflect.Value) (wrong []string) {
	known := 0
	for i, field := range f.fields {
		value, there := given[field.name]
		if !there {
			if field.required {
				wrong = append(wrong, field.name+": is missing")
			}
			continue
		}
		known++
		if field.items != nil {
			wrong = append(wrong, field.setObjects(target.Field(i), value)...)
		} else if problem := field.set(target.Field(i), value); problem != "" {
			wrong = append(wrong, field.name+": "+problem)
		}
	}
	if known < len(given) {
		wrong = append(wrong, f.strangers(given)...)
	}
	return wrong
}

// strangers names the arguments that the tool does not have.
func (f form) strangers(given map[string]any) (wrong []string) {
	for name := range given {
		if !slices.ContainsFunc(f.fields, func(known field) bool { return known.name == name }) {
			wrong = append(wrong, fmt.Sprintf("%s: there is no such argument; there are %s", events.Cut(name, 60), f.names))
		}
	}
	slices.Sort(wrong)
	return wrong[:min(len(wrong), 10)]
}

// set checks one value and stores it; it returns what is wrong with it.
func (f field) set(target reflect.Value, value any) string {
	switch f.kind {
	case reflect.String:
		text, ok := value.(string)
		if !ok {
			return "must be a string, not " + kindOf(value)
		}
		target.SetString(text)
		return f.length(text)
	case reflect.Int:
		number, ok := value.(float64)
		if !ok || number != math.Trunc(number) {
			return "must be a whole number, not " + kindOf(value)
		}
		if number < float64(f.min) || number > float64(f.max) {
			return fmt.Sprintf("must be from %d to %d, not %v", f.min, f.max, number)
		}
		target.SetInt(int64(number))
	case reflect.Slice:
		return f.setList(target, value)
	case reflect.Struct:
		return setLines(target, value)
	case reflect.Bool:
		truth, ok := value.(bool)
		if !ok {
			return "must be true or false, not " + kindOf(value)
		}
		target.SetBool(truth)
	}
	return ""
}

// setObjects is set for a list of structs. What is wrong begins with the place in the list.
func (f field) setObjects(target reflect.Value, value any) (wrong []string) {
	list, ok := value.([]any)
	if !ok {
		return []string{f.name + ": must be a list of objects, not " + kindOf(value)}
	}
	if len(list) < f.min || len(list) > f.max {
		return []string{fmt.Sprintf("%s: must have from %d to %d objects, not %d", f.name, f.min, f.max, len(list))}
	}
	target.Set(reflect.MakeSlice(target.Type(), len(list), len(list)))
	for i := range list {
		at := fmt.Sprintf("%s[%d]", f.name, i)
		given, ok := list[i].(map[string]any)
		if !ok {
			wrong = append(wrong, at+": must be an object, not "+kindOf(list[i]))
			continue
		}
		for _, problem := range f.items.fillIn(given, target.Index(i)) {
			wrong = append(wrong, at+"."+problem)
		}
	}
	return wrong[:min(len(wrong), mostWrong)]
}

// mostWrong bounds what is said of one list.
const mostWrong = 20

// setLines is set for a text that may be a list of its lines.
func setLines(target reflect.Value, value any) string {
	read := lines{given: true}
	switch value := value.(type) {
	case string:
		read.text, read.closed = hashline.SplitText(value)
	case []any:
		for i := range value {
			text, ok := value[i].(string)
			if !ok {
				return "must be a string or a list of strings, not a list with " + kindOf(value[i])
			}
			read.text = append(read.text, text)
		}
	default:
		return "must be a string or a list of strings, not " + kindOf(value)
	}
	target.Set(reflect.ValueOf(read))
	return ""
}

// setList is set for a list of strings.
func (f field) setList(target reflect.Value, value any) string {
	list, ok := value.([]any)
	if !ok {
		return "must be a list of strings, not " + kindOf(value)
	}
	if len(list) < f.min || len(list) > f.max {
		return fmt.Sprintf("must have from %d to %d strings, not %d", f.min, f.max, len(list))
	}
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			return "must be a list of strings, not of " + kindOf(list[i])
		}
	}
	target.Set(reflect.ValueOf(texts))
	return ""
}

// length checks the length of a text in characters.
func (f field) length(text string) string {
	if f.min == 0 && len(text) <= f.max {
		return ""
	}
	n := utf8.RuneCountInString(text)
	switch {
	case n < f.min && f.min == 1:
		return "must not be empty"
	case n < f.min:
		return fmt.Sprintf("must have at least %d characters, not %d", f.min, n)
	case n > f.max:
		return fmt.Sprintf("must have at most %d characters, not %d", f.max, n)
	}
	return ""
}

// kindOf names a JSON value in a message: short ones themselves, others by their type.
func kindOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case string:
		if len(value) <= 40 {
			return "the string " + strconv.Quote(value)
		}
		return "a string"
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	}
	return fmt.Sprint(value) // a number, true or false
}
