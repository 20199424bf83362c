package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	firstCall     = 3 * time.Second
	maxFirst      = 128 << 10 // bytes that are read to find the first request
	frameHeader   = 9         // bytes
	maxFrame      = 16 << 10  // bytes, as long as no settings say otherwise, and gRPC's do not
	hpackTable    = 4096      // bytes, HTTP/2's default
	grpcMediaType = "application/grpc"
)

// routeHTTP2 hands over a connection that speaks HTTP/2, of which the first bytes were read: to gRPC, or to the health check when its
// first request is an ordinary one. A client of gRPC sends nothing before it has the server's settings, so the port sends some of its own
// before it looks.
func (p *port) routeHTTP2(c *connection) error {
	if err := c.SetReadDeadline(time.Now().Add(p.firstCall)); err != nil {
		return err
	}
	if err := http2.NewFramer(c, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxCalls}); err != nil {
		return fmt.Errorf("send the first settings: %w", err)
	}
	read, ordinary := firstRequest(c)
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.reader = io.MultiReader(bytes.NewReader(read), c.Conn)
	if !ordinary {
		return p.grpc.hand(c) // ignores the acknowledgement of settings that it did not send
	}
	c.reader = &unacknowledged{from: c.reader, frame: len(http2.ClientPreface)}
	return p.http.hand(c)
}

// firstRequest reads up to the first request, and says whether it is ordinary: none of gRPC's. What is wrong is not, and nor is what takes
// too long: gRPC knows how to answer.
func firstRequest(from io.Reader) (read []byte, ordinary bool) {
	var recorded bytes.Buffer
	from = io.TeeReader(from, &recorded)
	begin := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(from, begin); err != nil || string(begin) != http2.ClientPreface {
		return recorded.Bytes(), false
	}
	framer := http2.NewFramer(nil, from)
	framer.ReadMetaHeaders = hpack.NewDecoder(hpackTable, nil)
	framer.MaxHeaderListSize = maxHeaders
	framer.SetMaxReadFrameSize(maxFrame)
	for recorded.Len() < maxFirst {
		frame, err := framer.ReadFrame()
		if err != nil {
			break
		}
		if request, ok := frame.(*http2.MetaHeadersFrame); ok {
			return recorded.Bytes(), !isGRPC(request)
		}
	}
	return recorded.Bytes(), false
}

func isGRPC(request *http2.MetaHeadersFrame) bool {
	for _, field := range request.RegularFields() {
		if field.Name == "content-type" {
			return strings.HasPrefix(field.Value, grpcMediaType)
		}
	}
	return false
}

// unacknowledged reads a client's side of a connection without its first acknowledgement of settings: that is for the port's, and a server
// that has sent none yet takes it for an error.
type unacknowledged struct {
	from  io.Reader
	head  []byte // of a frame, not read by the server yet
	frame int    // bytes that are left of the present frame; at first, those before all frames
	done  bool
}

// Read implements io.Reader.
func (u *unacknowledged) Read(into []byte) (int, error) {
	for {
		switch {
		case len(u.head) > 0:
			n := copy(into, u.head)
			u.head = u.head[n:]
			return n, nil
		case u.frame > 0:
			n, err := u.from.Read(into[:min(len(into), u.frame)])
			u.frame -= n
			return n, err
		case u.done:
			return u.from.Read(into)
		}
		head := make([]byte, frameHeader)
		if _, err := io.ReadFull(u.from, head); err != nil {
			return 0, err
		}
		length := int(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
		if u.done = http2.FrameType(head[3]) == http2.FrameSettings && http2.Flags(head[4]).Has(http2.FlagSettingsAck); u.done && length == 0 {
			continue
		}
		u.head, u.frame = head, length
	}
}
