package server

import (
	"log/slog"
	"net/http"
	"time"
)

// newHealth is what the server answers over HTTP/1: that it lives, and nothing else.
func newHealth(log *slog.Logger) *http.Server {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health/live", func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(http.StatusNoContent) })
	return &http.Server{
		Handler:           routes,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
