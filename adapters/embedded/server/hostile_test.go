package server_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// bytesCodec sends what it is given as it is.
type bytesCodec struct{ encoding.CodecV2 }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil //nolint:forcetypeassert // nothing else is sent
}
func (bytesCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (bytesCodec) Name() string                         { return "proto" }

// TestHostileMessages sends to every method of the server, as its registration lists them, what no client sends: each call ends, with a status
// that blames the caller, at a bounded cost, and the server goes on.
func TestHostileMessages(t *testing.T) {
	w := serve(t)
	conn, err := grpc.NewClient(w.server.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	inputs := map[string][]byte{
		"no proto": []byte("\xff\xff\xff\xff\xff"), "a length without an end": []byte("\x0a\xff\xff\xff\xff\x0f"), "empty": {}, "zeros": make([]byte, 1000),
		"nested": bytes.Repeat([]byte("\x0b"), 20_000), "unknown fields": bytes.Repeat([]byte("\xfa\x3f\x01x"), 10_000), "too large": make([]byte, 21<<20),
	}
	fine := []codes.Code{codes.OK, codes.InvalidArgument, codes.NotFound, codes.Unimplemented, codes.ResourceExhausted, codes.FailedPrecondition, codes.PermissionDenied, codes.AlreadyExists}
	slowest, largest, sent := time.Duration(0), uint64(0), 0
	for _, method := range w.server.Methods() {
		if method == "/event_store.client.operations.Operations/Shutdown" { // it does what it is asked for
			continue
		}
		for name, input := range inputs {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			err := call(t, conn, method, input)
			slowest = max(slowest, time.Since(began))
			runtime.ReadMemStats(&after)
			largest = max(largest, after.TotalAlloc-before.TotalAlloc)
			unread := status.Code(err) == codes.Internal && strings.Contains(err.Error(), "unmarshal") // what gRPC makes of what is no message
			if sent++; !unread && !slices.Contains(fine, status.Code(err)) {
				t.Errorf("%s, %s: %v", method, name, err)
			}
		}
	}
	if sent == 0 || largest > 64<<20 {
		t.Errorf("%d calls were made, the largest took %d bytes", sent, largest)
	}
	appendTo(t, w.client(t), "orders", eventsOf(1)...)
	t.Logf("%d hostile calls; the slowest took %s, the largest %d KiB", sent, slowest.Round(time.Millisecond), largest>>10)
}

// call sends one message, and reads the answer, if there is one.
func call(t *testing.T, conn *grpc.ClientConn, method string, input []byte) error {
	t.Helper()
	stream, err := conn.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(input); err == nil {
		_ = stream.CloseSend() // the answer says more
	}
	for {
		if err := stream.RecvMsg(nil); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
