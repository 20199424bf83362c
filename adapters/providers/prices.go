package providers

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"strings"
	"time"

	"example.com/life/events"
)

//go:embed prices.yaml
var builtinPrices []byte

// maxPrices bounds a price file, in bytes.
const maxPrices = 1 << 20

// Prices is a table of what models cost. It implements actors.Prices. A model is named as "provider/model", and a bare
// name means OpenAI's; a dated name such as gpt-4o-2024-08-06 has the price of the undated one unless it has its own; an
// entry "provider/*" prices all others of that provider.
type Prices struct {
	models map[string]price
}

// price is in micro-dollars per million tokens.
type price struct{ input, cached, output uint64 }

// pricesFile is a price file: dollars per million tokens, in at most six decimals. Without cached, input is meant.
type pricesFile struct {
	AsOf   string               `yaml:"as_of"`
	Models map[string]priceFile `yaml:"models"`
}

type priceFile struct {
	Input  string `yaml:"input"`
	Cached string `yaml:"cached"`
	Output string `yaml:"output"`
}

// LoadPrices returns the built-in table with a YAML file laid over it; an empty path means no file.
func LoadPrices(path string) (*Prices, error) {
	table := &Prices{models: map[string]price{}}
	if err := table.add(builtinPrices); err != nil {
		return nil, fmt.Errorf("read built-in prices: %w", err)
	}
	if path == "" {
		return table, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	defer file.Close()
	source, err := io.ReadAll(io.LimitReader(file, maxPrices+1))
	if err != nil {
		return nil, fmt.Errorf("read prices %s: %w", path, err)
	}
	if err := table.add(source); err != nil {
		return nil, fmt.Errorf("read prices %s: %w", path, err)
	}
	return table, nil
}

// add lays a price file over the table.
func (p *Prices) add(source []byte) error {
	if len(source) > maxPrices {
		return fmt.Errorf("it is larger than %d bytes", maxPrices)
	}
	var file pricesFile
	if err := decodeYAML(source, &file); err != nil {
		return err
	}
	for name, entry := range file.Models {
		provider, model, found := strings.Cut(name, "/")
		if !found || provider == "" || model == "" {
			return fmt.Errorf("models: %q is not provider/model", name)
		}
		parsed, err := entry.parse()
		if err != nil {
			return fmt.Errorf("models: %s: %w", name, err)
		}
		p.models[name] = parsed
	}
	return nil
}

func (f priceFile) parse() (price, error) {
	if f.Input == "" || f.Output == "" {
		return price{}, errors.New("input and output are needed, in dollars per million tokens")
	}
	if f.Cached == "" {
		f.Cached = f.Input
	}
	var micros [3]uint64
	for i, text := range []string{f.Input, f.Cached, f.Output} {
		amount, err := events.ParseMoney(text)
		if err != nil {
			return price{}, err
		}
		micros[i] = uint64(amount) // ParseMoney takes no sign
	}
	return price{input: micros[0], cached: micros[1], output: micros[2]}, nil
}

// Cost prices a usage, rounded up to the next micro-dollar. priced is false for a model that the table does not know.
func (p *Prices) Cost(model string, usage events.Usage) (cost events.Money, priced bool) {
	price, ok := p.find(model)
	if !ok {
		return 0, false
	}
	input, output := max(usage.Input, 0), max(usage.Output, 0)
	cached := min(max(usage.Cached, 0), input)
	var high, low uint64 // the sum of tokens times micro-dollars per million, in 128 bits
	for _, part := range [...][2]uint64{{uint64(input - cached), price.input}, {uint64(cached), price.cached}, {uint64(output), price.output}} {
		h, l := bits.Mul64(part[0], part[1])
		var carry uint64
		low, carry = bits.Add64(low, l, 0)
		high += h + carry
	}
	const million = 1_000_000
	if high >= million {
		return math.MaxInt64, true
	}
	whole, rest := bits.Div64(high, low, million)
	if rest > 0 {
		whole++
	}
	return events.Money(min(whole, math.MaxInt64)), true
}

// undated takes a date such as -2024-08-06 off the end of a model's name.
func undated(model string) string {
	const date = "-2006-01-02"
	at := len(model) - len(date)
	if at <= 0 {
		return model
	}
	if _, err := time.Parse(date, model[at:]); err != nil {
		return model
	}
	return model[:at]
}

func (p *Prices) find(model string) (price, bool) {
	if !strings.Contains(model, "/") {
		model = "openai/" + model
	}
	provider, _, _ := strings.Cut(model, "/")
	for _, name := range []string{model, undated(model), provider + "/*"} {
		if found, ok := p.models[name]; ok {
			return found, true
		}
	}
	return price{}, false
}
