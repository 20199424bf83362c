package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// Who may log in, and how; who may not is told at once what to look at, and no password is shown to anyone.
func TestLogin(t *testing.T) {
	t.Parallel()
	s := secure(t)
	if err := server.NewUsers(s.kept).Add(t.Context(), server.User{Name: "someone"}, secret); err != nil {
		t.Fatal(err)
	}
	inString := url.UserPassword("someone", secret).String() + "@"
	certificate := s.connection("") + "&userCertFile=" + filepath.Join(s.certificates, "user-admin.crt") + "&userKeyFile=" + filepath.Join(s.certificates, "user-admin.key")
	rows := []struct {
		name   string
		config eventstore.Config
		opens  string // what the error of Open says; empty: it opens
		append string // what the error of an append says
		system string // what the error of reading everything says
	}{
		{"in the string", eventstore.Config{Connection: s.connection(inString)}, "", "", "denies access"},
		{"beside the string", eventstore.Config{Connection: s.connection(""), Username: "admin", Password: secret}, "", "", ""},
		{"beside it, which counts", eventstore.Config{Connection: s.connection(inString), Username: "admin", Password: secret}, "", "", ""},
		{"by certificate", eventstore.Config{Connection: certificate}, "", "", ""},
		{"nobody", eventstore.Config{Connection: s.connection("")}, "", "denies access", "denies access"},
		{"wrong password", eventstore.Config{Connection: s.connection(""), Username: "admin", Password: secret + "x"}, "user name and password", "", ""},
		{"not encrypted", eventstore.Config{Connection: "esdb://" + s.Addr() + "?tls=false&maxDiscoverAttempts=2&discoveryInterval=1"}, "tls=false", "", ""},
		{"unknown issuer", eventstore.Config{Connection: "esdb://" + s.Addr() + "?maxDiscoverAttempts=2&discoveryInterval=1"}, "tlsCAFile=", "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var logged bytes.Buffer
			row.config.Log = slog.New(slog.NewTextHandler(&logged, nil))
			journal, err := eventstore.Open(t.Context(), row.config)
			says(t, "open", err, row.opens)
			if err == nil {
				defer journal.Close()
				_, err = journal.Append(t.Context(), events.Stream(row.name), storage.ExpectAny, happened("x", 1))
				says(t, "append", err, row.append)
				_, err = journal.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
				says(t, "read everything", err, row.system)
				subscription, err := journal.Subscribe(t.Context(), storage.From{})
				says(t, "subscribe", err, "")
				_, err = subscription.Next(t.Context())
				says(t, "subscription", err, row.system)
				journal.Close()
			}
			if strings.Contains(logged.String(), secret) {
				t.Errorf("the log shows the password: %s", &logged)
			}
		})
	}
}

// says fails unless the error says this, or is nil when that is empty. No error shows a password.
func says(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: the error is %v, want one that says %q", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("%s: the error shows the password: %v", what, err)
	}
}

// Credentials that would be sent in the clear are not sent, and that is said.
func TestCredentialsWithoutEncryption(t *testing.T) {
	served := serve(t, server.Config{Store: store(t), Listen: "127.0.0.1:0", Insecure: true})
	var logged bytes.Buffer
	connect(t, eventstore.Config{
		Connection: "esdb://admin:changeit@" + served.Addr() + "?tls=false&nodePreference=follower", Log: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	for _, want := range []string{"are not sent", "nodePreference=follower is not followed"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log does not say %q: %s", want, &logged)
		}
	}
	if strings.Contains(logged.String(), "changeit") {
		t.Errorf("the log shows the password: %s", &logged)
	}
}

// Connection strings as people write them, and what is wrong with others.
func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	rows := []struct{ text, says string }{
		{"esdb://127.0.0.1:1?tls=false", "is away since"},
		{"esdb://127.0.0.1:1/?tls=false&maxDiscoverAttempts=3&defaultDeadline=5000&keepAliveInterval=10000&keepAliveTimeout=10000", "gave up after 3 attempts"},
		{"esdb://127.0.0.1:1,127.0.0.1:1,127.0.0.1:1?tls=false&nodePreference=leader", "is away since"},
		{"esdb+discover://127.0.0.1:1?tls=false&gossipTimeout=1&connectionName=life&throwOnAppendFailure=false", "is away since"},
		{"esdb://admin:secret@127.0.0.1:1?keepAliveInterval=-1&tlsVerifyCert=false", "is away since"},
		{"", "must begin with esdb://"},
		{"http://localhost:2113", "must begin with esdb://"},
		{"esdb://", "names no host"},
		{"esdb://a,,b", "one of several is empty"},
		{"esdb://localhost:70000", "no number from 1 to 65535"}, // the official parser takes it for 4464
		{"esdb://localhost:", "no number from 1 to 65535"},
		{"esdb://[::1]:2113", "IPv6"},
		{"esdb://a b", "is no host"},
		{"esdb://localhost/path", "is no host"},
		{"esdb://admin@localhost", "belong together"},
		{"esdb://admin:se%cret@localhost", "begins no escape"},
		{"esdb://admin:se/cret@localhost", "write %2F"},
		{"esdb://localhost?defaultDeadline=soon", "defaultDeadline is \"soon\""}, // the official parser stops at it
		{"esdb://localhost?tls=maybe", "want true or false"},
		{"esdb://localhost?tls=true&TLS=false", "more than once"},
		{"esdb://localhost?tsl=false", "the setting tsl is not known"},
		{"esdb://localhost?nodePreference=nearest", "want leader"},
		{"esdb://localhost?keepAliveInterval=10", "at least 10000"},
		{"esdb://localhost?tlsCAFile=missing.pem", "a file that can be read"},
		{"esdb://localhost?userCertFile=secure_test.go", "both userCertFile and userKeyFile"},
		{"esdb://localhost?userCertFile=secure_test.go&userKeyFile=secure_test.go", "read the user's certificate"},
		{"esdb://localhost?tlsCAFile=secure_test.go", "failed to append certificate"},
		{"esdb://localhost?%zz", "name=value"},
	}
	for _, row := range rows {
		t.Run(row.text, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if strings.Contains(row.says, "gave up") {
				ctx = t.Context()
			}
			_, err := eventstore.Open(ctx, eventstore.Config{Connection: row.text})
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Fatalf("the error is %v, want one that says %q", err, row.says)
			}
			if row.says == "is away since" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the error is %v, want %v", err, context.DeadlineExceeded)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
