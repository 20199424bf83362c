package server

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// TestStrangersAreBounded: callers without credentials hold a place each while something of theirs is read, and not for long.
func TestStrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places, ended := newStrangers(), make(chan struct{})
		begun := time.Now()
		slow := func() error { <-ended; return io.EOF }
		for range maxStrangers {
			go func() { wantCode(t, places.within(strangerTime, slow), codes.PermissionDenied) }()
		}
		synctest.Wait()
		wantCode(t, places.within(strangerTime, func() error { t.Error("read without a place"); return nil }), codes.ResourceExhausted)
		<-time.After(strangerTime) // of the bubble
		synctest.Wait()
		if waited := time.Since(begun); waited != strangerTime {
			t.Errorf("strangers were waited for for %s", waited)
		}
		wantCode(t, places.within(strangerTime, slow), codes.ResourceExhausted) // what was given up is still being read, until its call ends
		close(ended)
		synctest.Wait()
		if err := places.within(strangerTime, func() error { return io.EOF }); !errors.Is(err, io.EOF) {
			t.Errorf("when they are gone, the next is answered %v", err)
		}
	})
}
