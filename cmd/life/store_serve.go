package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
)

// storeServeFlags are those of life store serve.
type storeServeFlags struct {
	listen   string
	cert     string
	key      string
	insecure bool
	members  []string
	ready    string
}

func storeServeCommand(a *app) *cobra.Command {
	var f storeServeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Put the embedded store behind the EventStoreDB protocol, until told to stop",
		Long: "Put the embedded store of the data directory behind the gRPC protocol of EventStoreDB, until SIGTERM or Ctrl-C. It prints the\n" +
			"address to give to clients, such as life --store, once they can connect. It is for development, tests and one machine; a\n" +
			"cluster runs EventStoreDB. With a certificate it knows users; without one it has to be told --insecure, and listens to this\n" +
			"machine only. /health/live on the same port says that it is there.",
		Example: "  life store serve --insecure\n  life store serve --insecure --listen 127.0.0.1:0 --ready-file address &\n" +
			"  life store serve --listen 0.0.0.0:2113 --tls-cert cert.pem --tls-key key.pem",
		Args: takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serveStore(cmd.Context(), &f)
		},
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:2113", "address to listen on; port 0 is any free one")
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "file with the certificate (PEM), and those of its issuers")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "file with the certificate's key (PEM)")
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "no encryption and no users: every program on this machine may do everything")
	cmd.Flags().StringSliceVar(&f.members, "member", nil, "HOST:PORT of each node that gossip names, this one included (default: this one alone)")
	cmd.Flags().StringVar(&f.ready, "ready-file", "", "write the address into this file once clients can connect; removed at the end")
	return cmd
}

// tls checks that the flags are safe together and reads the certificate; nil without one.
func (f *storeServeFlags) tls() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(f.listen)
	ip := net.ParseIP(host)
	switch {
	case err != nil:
		return nil, usage("--listen is %q, want host:port such as 127.0.0.1:2113", f.listen)
	case (f.cert == "") != (f.key == ""):
		return nil, usage("a certificate and its key belong together: give both --tls-cert and --tls-key")
	case f.cert != "" && f.insecure:
		return nil, usage("--insecure means no encryption and no users: leave it out, or leave out the certificate")
	case f.cert == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()):
		return nil, usage("listening on %s without encryption lets other machines read and write everything: give a certificate (--tls-cert, --tls-key), or listen on 127.0.0.1", f.listen)
	case f.cert == "" && !f.insecure:
		return nil, usage("there is no certificate: give one (--tls-cert, --tls-key), or say --insecure to let every program on this machine do everything")
	case f.cert == "":
		return nil, nil //nolint:nilnil // plain text
	}
	certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

func (a *app) serveStore(ctx context.Context, f *storeServeFlags) error {
	secure, err := f.tls()
	if err != nil {
		return err
	}
	dir := filepath.Join(a.config.get("data"), storeName)
	store, err := afterKilled(ctx, func() (*embedded.Store, error) { return embedded.Open(embedded.Config{Dir: dir, Log: a.log}) })
	if err != nil {
		return err
	}
	served, err := server.New(server.Config{Store: store, Listen: f.listen, TLS: secure, Insecure: f.insecure, Members: f.members, Log: a.log})
	if err != nil {
		return errors.Join(fmt.Errorf("%w; --listen chooses another address, and port 0 any free one", err), store.Close())
	}
	err = a.answerStore(ctx, f, served)
	served.Close(context.WithoutCancel(ctx))
	return errors.Join(err, store.Close())
}

// answerStore serves until ctx ends.
func (a *app) answerStore(ctx context.Context, f *storeServeFlags, served *server.Server) (err error) {
	address := schemeDirect + served.Addr() + "?tls=false"
	if !f.insecure {
		address = schemeDirect + served.Addr()
	}
	if f.ready != "" {
		if err := writeReady(f.ready, address); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(f.ready)) }()
	}
	fmt.Fprintln(a.out, address)
	fmt.Fprintf(a.errs, "life: serving %s as EventStoreDB, process %d\n", filepath.Join(a.config.get("data"), storeName), os.Getpid())
	if !f.insecure {
		fmt.Fprintln(a.errs, "life: clients need credentials (--store-credentials-file), and &tlsCAFile=FILE behind the address when they do not know who issued the certificate")
	}
	return served.Serve(ctx)
}

// writeReady writes the address, whole or not at all.
func writeReady(path, address string) error {
	if err := os.WriteFile(path+".new", []byte(address+"\n"), 0o600); err != nil {
		return fmt.Errorf("say that the store can be reached: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("say that the store can be reached: %w", err)
	}
	return nil
}
