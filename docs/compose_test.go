package docs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is what of docker-compose.yml is held to rules. Nothing here starts a container: images cannot be had everywhere.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
	Secrets  map[string]map[string]string
	Configs  map[string]struct{ Content string }
}

type service struct {
	Image string
	Build struct {
		Inline string `yaml:"dockerfile_inline"`
	}
	Command   []string
	Ports     []string
	Volumes   []string
	Profiles  []string
	Secrets   []string
	Configs   []struct{ Source string }
	DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
	Health    struct {
		Test     []string
		Interval string
		Timeout  string
		Retries  int
	} `yaml:"healthcheck"`
	Environment map[string]string
}

func readCompose(t *testing.T) (compose, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c, string(text)
}

// TestCompose holds docker-compose.yml together: what refers to something refers to something that is there.
func TestCompose(t *testing.T) {
	c, _ := readCompose(t)
	for _, name := range []string{"eventstore-1", "eventstore-2", "eventstore-3", "life-1", "life-2", "life-3", "otel-collector", "traces"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	mounted := map[string]bool{}
	for name, s := range c.Services {
		if s.Image == "" || len(s.Health.Test) < 2 || s.Health.Interval == "" || s.Health.Timeout == "" || s.Health.Retries == 0 {
			t.Errorf("%s has no image or no whole health check", name)
		}
		for other, on := range s.DependsOn {
			if needed, ok := c.Services[other]; !ok || on.Condition != "service_healthy" || len(needed.Profiles) > 0 {
				t.Errorf("%s depends on %s, which is not there in every profile, or not on its being healthy", name, other)
			}
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, ok := c.Volumes[source]; !ok {
				t.Errorf("%s mounts %s, which is no volume", name, source)
			}
			mounted[source] = true
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("%s uses the secret %s, which is not there", name, secret)
			}
		}
		for _, config := range s.Configs {
			if _, ok := c.Configs[config.Source]; !ok {
				t.Errorf("%s uses the configuration %s, which is not there", name, config.Source)
			}
		}
	}
	if unused := slices.DeleteFunc(slices.Collect(maps.Keys(c.Volumes)), func(v string) bool { return mounted[v] }); len(unused) > 0 {
		t.Errorf("nobody mounts the volumes %v", unused)
	}
	var collector map[string]any
	if err := yaml.Unmarshal([]byte(c.Configs["otel-collector"].Content), &collector); err != nil || collector["service"] == nil {
		t.Errorf("the collector's configuration: %v", err)
	}
}

// TestComposeNamesOnce wants every image, with a version that does not move, and every port of the machine once, on loopback.
func TestComposeNamesOnce(t *testing.T) {
	c, text := readCompose(t)
	pulled := regexp.MustCompile(`docker\.io/[\w./-]+(:[\w.-]+)?`).FindAllString(text, -1)
	counts := map[string]int{}
	for _, image := range pulled {
		counts[image]++
		if _, tag, _ := strings.Cut(image, ":"); tag == "" || tag == "latest" {
			t.Errorf("%s has no version", image)
		}
	}
	for image, n := range counts {
		if n != 1 && !strings.Contains(image, "/busybox:") { // the two without a shell each take it from there
			t.Errorf("%s is named %d times", image, n)
		}
	}
	ports := map[string]string{}
	for name, s := range c.Services {
		if !strings.HasSuffix(s.Image, ":local") && counts[s.Image] == 0 {
			t.Errorf("%s runs %s, which names no registry", name, s.Image)
		}
		for _, port := range s.Ports {
			parts := strings.Split(port, ":")
			if len(parts) != 3 || parts[0] != "127.0.0.1" {
				t.Errorf("%s opens %s, want 127.0.0.1:PORT:PORT", name, port)
				continue
			}
			if other, taken := ports[parts[1]]; taken {
				t.Errorf("%s and %s both open port %s", name, other, parts[1])
			}
			ports[parts[1]] = name
		}
	}
}

// TestComposeHosts wants three hosts on one store: their blobs shared, their data not, nothing open without a token.
func TestComposeHosts(t *testing.T) {
	c, _ := readCompose(t)
	own := map[string]bool{}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("life-%d", i)
		s := c.Services[name]
		if !slices.Contains(s.Volumes, "blobs:/data/blobs") || s.Environment["LIFE_DATA"] != "/data" {
			t.Errorf("%s does not share its blobs: %v", name, s.Volumes)
		}
		if own[s.Volumes[0]] || !strings.HasSuffix(s.Volumes[0], ":/data") {
			t.Errorf("%s has no data directory of its own: %v", name, s.Volumes)
		}
		own[s.Volumes[0]] = true
		if file := s.Environment["LIFE_TOKEN_FILE"]; !slices.Contains(s.Secrets, "life-token") || file != "/run/secrets/life-token" {
			t.Errorf("%s has no token: %q, %v", name, file, s.Secrets)
		}
		if store := s.Environment["LIFE_STORE"]; !strings.Contains(store, "esdb://eventstore-1:2113") {
			t.Errorf("%s keeps its history in %q", name, store)
		}
	}
	env, err := os.ReadFile("compose/cluster.env")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"eventstore-1:2113", "eventstore-2:2113", "eventstore-3:2113"} {
		if !regexp.MustCompile(`(?m)^LIFE_STORE=.*` + node).Match(env) {
			t.Errorf("compose/cluster.env does not lead the hosts to %s", node)
		}
	}
}

// TestComposeCluster wants compose/hosts.yml to make the three hosts one cluster: each with a name and an address of its own, and with the certificate for them.
func TestComposeCluster(t *testing.T) {
	base, _ := readCompose(t)
	text, err := os.ReadFile("compose/hosts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var over compose
	if err := yaml.Unmarshal(text, &over); err != nil {
		t.Fatal(err)
	}
	makes := over.Services["certificates"]
	if len(makes.Volumes) != 1 || makes.Volumes[0] != "certificates:/certs" || len(makes.Health.Test) == 0 || len(makes.Profiles) > 0 {
		t.Errorf("nobody makes the certificates: %+v", makes)
	}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("life-%d", i)
		s, below := over.Services[name], base.Services[name]
		want := map[string]string{"LIFE_CLUSTER": "main", "LIFE_PEER": name + ":4778", "LIFE_PEER_NAME": name, "LIFE_PEER_CERTS": "/certs"}
		if !maps.Equal(s.Environment, want) {
			t.Errorf("%s: %v, want %v", name, s.Environment, want)
		}
		if !slices.Contains(s.Volumes, "certificates:/certs:ro") || s.DependsOn["certificates"].Condition != "service_healthy" {
			t.Errorf("%s does not wait for its certificate: %+v", name, s)
		}
		if !strings.Contains(strings.Join(makes.Command, " "), "--host "+name) {
			t.Errorf("no certificate is made for %s", name)
		}
		if _, open := below.Environment["LIFE_CLUSTER"]; open || len(s.Ports) > 0 {
			t.Errorf("%s opens %v besides its API", name, s.Ports)
		}
	}
	if _, ok := over.Volumes["certificates"]; !ok {
		t.Error("there is no volume of certificates")
	}
}
