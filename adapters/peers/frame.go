package peers

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"example.com/life/actors"
)

// protocol is how both ends name what they speak, in TLS's ALPN. A build that speaks several versions offers all of them.
const protocol = "life-peer/1"

// Protocol is the version of what hosts say to each other.
const Protocol = 1

// maxBody is the most that one request, answer or part may hold.
const maxBody = actors.MaxPeerBody

const (
	frameTime = 10 * time.Second // that a frame may take from its first byte to its last, in either direction
	preparing = 64 << 10         // a body is given so much memory before it arrives, and more as it does
	queued    = 64               // frames that may wait to be written
	buffered  = 16 << 10         // about one record of TLS
)

// kind says what a frame is. The numbers are those of the wire.
type kind byte

const (
	kindHello   kind = 1 // the first in each direction
	kindPing    kind = 2
	kindConfirm kind = 3
	kindProbe   kind = 4
	kindCall    kind = 5
	kindDeltas  kind = 6 // is answered by parts, and then by an answer or a failure
	kindCancel  kind = 7 // of the request with the same id, whose answer nobody waits for any more
	kindAnswer  kind = 16
	kindPart    kind = 17
	kindFailed  kind = 18 // the body is a Failure
)

// frame is what travels. On the wire it is the length of the body, the kind, the id and the milliseconds (big-endian: 4, 1, 8 and 4 bytes), and the body.
type frame struct {
	kind kind
	id   uint64 // of the request, chosen by who asks; requests of one connection are answered in any order
	left uint32 // milliseconds that the asker waits for the answer; 0: until it says otherwise
	body []byte
}

const frameHead = 17

var errTooLarge = errors.New("it is larger than 9 MiB")

func (f *frame) writeTo(w *bufio.Writer) error {
	var head [frameHead]byte
	binary.BigEndian.PutUint32(head[0:], uint32(len(f.body))) //nolint:gosec // at most maxBody
	head[4] = byte(f.kind)
	binary.BigEndian.PutUint64(head[5:], f.id)
	binary.BigEndian.PutUint32(head[13:], f.left)
	_, err := w.Write(head[:])
	if err == nil {
		_, err = w.Write(f.body)
	}
	return err
}

// frames reads what the other end sends. It waits for as long as the other end likes for a frame to begin, and not long for the rest of it.
type frames struct {
	conn net.Conn
	in   *bufio.Reader
}

func newFrames(conn net.Conn) *frames { return &frames{conn, bufio.NewReaderSize(conn, buffered)} }

func (r *frames) next() (frame, error) {
	if _, err := r.in.Peek(1); err != nil {
		return frame{}, err
	}
	head, err := r.head()
	if err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(head)
	f := frame{kind: kind(head[4]), id: binary.BigEndian.Uint64(head[5:]), left: binary.BigEndian.Uint32(head[13:])}
	if length > maxBody {
		return frame{}, fmt.Errorf("a frame of %d bytes: %w", length, errTooLarge)
	}
	f.body, err = r.body(int(length))
	return f, err
}

// hurry bounds the time until what is missing of a frame is there.
func (r *frames) hurry(missing int) (relax func(), err error) {
	if r.in.Buffered() >= missing {
		return func() {}, nil
	}
	return func() { _ = r.conn.SetReadDeadline(time.Time{}) }, r.conn.SetReadDeadline(time.Now().Add(frameTime)) //nolint:errcheck // the next read says it
}

func (r *frames) head() ([]byte, error) {
	relax, err := r.hurry(frameHead)
	if err != nil {
		return nil, err
	}
	defer relax()
	head := make([]byte, frameHead)
	_, err = io.ReadFull(r.in, head)
	return head, err
}

func (r *frames) body(length int) ([]byte, error) {
	relax, err := r.hurry(length)
	if err != nil {
		return nil, err
	}
	defer relax()
	if length <= preparing {
		body := make([]byte, length)
		_, err := io.ReadFull(r.in, body)
		return body, err
	}
	body := bytes.NewBuffer(make([]byte, 0, preparing))
	_, err = io.CopyN(body, r.in, int64(length))
	return body.Bytes(), err
}

// outbox writes frames in the order in which they come, as many at once as there are.
type outbox struct {
	conn   net.Conn
	frames chan frame
	broken <-chan struct{} // the connection has ended
}

func newOutbox(conn net.Conn, broken <-chan struct{}) *outbox {
	return &outbox{conn: conn, frames: make(chan frame, queued), broken: broken}
}

// run writes until the connection has ended, or cannot be written to.
func (o *outbox) run() error {
	out := bufio.NewWriterSize(o.conn, buffered)
	for {
		select {
		case f := <-o.frames:
			if err := o.write(out, f); err != nil {
				return err
			}
		case <-o.broken:
			return nil
		}
	}
}

func (o *outbox) write(out *bufio.Writer, f frame) error {
	for {
		if err := errors.Join(o.conn.SetWriteDeadline(time.Now().Add(frameTime)), f.writeTo(out)); err != nil {
			return err
		}
		select {
		case f = <-o.frames:
		default:
			return out.Flush()
		}
	}
}

// send writes one frame where nobody else writes yet.
func send(conn net.Conn, f frame) error {
	out := bufio.NewWriter(conn)
	return errors.Join(f.writeTo(out), out.Flush())
}
