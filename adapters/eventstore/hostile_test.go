package eventstore_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/events"
)

// raw is a codec that sends bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// hostile answers every call but heartbeats with these bytes as messages.
func hostile(t *testing.T, answer func(call grpc.ServerStream) error) *eventstore.Journal {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, call grpc.ServerStream) error {
		var request []byte
		if err := call.RecvMsg(&request); err != nil {
			return err
		}
		var read streams.ReadReq
		if proto.Unmarshal(request, &read) == nil && string(read.GetOptions().GetStream().GetStreamIdentifier().GetStreamName()) == "life" {
			return nil
		}
		return answer(call)
	}))
	done := make(chan error, 1)
	go func() { done <- served.Serve(listener) }()
	t.Cleanup(func() {
		served.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return connect(t, eventstore.Config{Connection: plain(listener.Addr().String()) + "&defaultDeadline=2000"})
}

// Messages that are broken, cut off, or larger than any of EventStoreDB's give an error that says so, in every call.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	whole, err := proto.Marshal(recordedAt("s", 1, 1, &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{MostSignificantBits: 1}}}))
	if err != nil {
		t.Fatal(err)
	}
	messages := map[string][]byte{
		"noise": []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "cut off": whole[:len(whole)-3], "length beyond the end": {0x0a, 0xff, 0xff, 0xff, 0x7f}, "group end": {0x0c},
		"too large": make([]byte, 18<<20),
	}
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journal := hostile(t, func(call grpc.ServerStream) error { return call.SendMsg(message) })
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			calls := map[string]func() error{
				"read": func() error {
					_, err := journal.Read(ctx, "s", 0, storage.Forward, storage.Limit{})
					return err
				},
				"read everything": func() error {
					_, err := journal.ReadAll(ctx, storage.Start(), storage.Forward, storage.Filter{}, storage.Limit{})
					return err
				},
				"append": func() error {
					_, err := journal.Append(ctx, "s", 3, happened("x", 1))
					return err
				},
				"subscription": func() error {
					subscription, err := journal.Subscribe(ctx, storage.From{})
					if err != nil {
						return err
					}
					defer subscription.Close()
					_, err = subscription.Next(ctx)
					return err
				},
				"group": func() error {
					return journal.Consume(ctx, "g", storage.From{Stream: "s"}, func(context.Context, events.Envelope) error { return nil })
				},
			}
			answers := make(chan struct{}, len(calls))
			for call, do := range calls {
				go func() {
					if err := do(); !errors.Is(err, eventstore.ErrProtocol) {
						t.Errorf("%s: the error is %v, want %v", call, err, eventstore.ErrProtocol)
					}
					answers <- struct{}{}
				}()
			}
			for range calls {
				<-answers
			}
		})
	}
}

// What a server sends beside the data counts too: a page and a queue hold about what they may.
func TestHostileSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("moves a gigabyte")
	}
	beside := strings.Repeat("x", 4<<20)
	message := recordedAt("s", 1, 1, nil)
	message.GetEvent().GetEvent().CustomMetadata = []byte(beside)
	message.GetEvent().GetEvent().Metadata["type"] = beside
	bytes, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	journal := hostile(t, func(call grpc.ServerStream) error {
		for range 100 {
			if err := call.SendMsg(bytes); err != nil {
				return err
			}
		}
		return nil
	})
	page, err := journal.Read(t.Context(), "s", 0, storage.Forward, storage.Limit{Events: 4096, Bytes: 1 << 20})
	if err != nil || len(page.Events) != 1 || page.End {
		t.Errorf("a page has %d events, want one: %v", len(page.Events), err)
	}
	subscription, err := journal.Subscribe(t.Context(), storage.From{Stream: "s", Revision: events.NoRevision})
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	if _, err := subscription.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var memory runtime.MemStats
	if runtime.ReadMemStats(&memory); memory.HeapAlloc > 200<<20 {
		t.Errorf("%d MiB are in use", memory.HeapAlloc>>20)
	}
}

// A server's words are shown as text, and not at any length.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	journal := hostile(t, func(call grpc.ServerStream) error {
		call.SetTrailer(metadata.Pairs("exception", "access-denied"))
		return status.Error(codes.InvalidArgument, "\x1b[2J\r\n"+strings.Repeat("long ", 10000))
	})
	_, err := journal.Append(t.Context(), "s", storage.ExpectAny, happened("x", 1))
	if err == nil || len(err.Error()) > 4096 || strings.ContainsAny(err.Error(), "\x1b\r\n") {
		t.Errorf("the error is %q", err)
	}
}
