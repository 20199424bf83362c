package server

import (
	"log/slog"
	"net/http"
	"time"
)

// newHealth is what the server answers over HTTP: that it lives, and nothing else. An HTTP/2 connection is closed after that, so that a client
// that goes on with gRPC opens another one.
func newHealth(log *slog.Logger) *http.Server {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health/live", func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(http.StatusNoContent) })
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // to this server, what the port has decrypted is not encrypted
	return &http.Server{
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			if request.ProtoMajor > 1 {
				answer.Header().Set("Connection", "close")
			}
			routes.ServeHTTP(answer, request)
		}),
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
