package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/adapters/places"
	"example.com/life/cmd/stores"
)

// storeServeFlags are those of life store serve.
type storeServeFlags struct {
	listen    string
	tls       server.TLSFiles
	insecure  bool
	anonymous bool
	members   []string
	ready     string
	passwords map[string]*string // of the users that a new store gets, to files with them
}

// firstUsers are the users that a new store gets, with what the flag for their password's file says about them.
func firstUsers() map[string]string {
	return map[string]string{
		"admin": "file with the first password of the user admin, who may do everything",
		"ops":   "file with the first password of the user ops, who may manage consumer groups",
	}
}

func storeServeCommand(a *app) *cobra.Command {
	f := storeServeFlags{passwords: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the embedded store over the EventStoreDB protocol, until interrupted",
		Long: "Serve the embedded store of the data directory over the gRPC protocol of EventStoreDB, until SIGTERM or Ctrl-C. It prints the\n" +
			"address for clients, such as life --store, once they can connect. It is for development, tests and single machines; for a\n" +
			"cluster use EventStoreDB. With a certificate (life store certificates creates some to try) it has users, which life store users\n" +
			"manages; without one it requires --insecure and listens only on loopback. /health/live on the same port reports whether the\n" +
			"server is up.",
		Example: "  life store serve --insecure\n  life store serve --insecure --listen 127.0.0.1:0 --ready-file address &\n" +
			"  life store serve --listen 0.0.0.0:2113 --tls-cert server.crt --tls-key server.key --admin-password-file password",
		Args: takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serveStore(cmd.Context(), &f)
		},
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:2113", "address to listen on; port 0 picks a free port")
	cmd.Flags().StringVar(&f.tls.Certificate, "tls-cert", "", "file with the certificate and its issuers (PEM); reloaded when it changes")
	cmd.Flags().StringVar(&f.tls.Key, "tls-key", "", "file with the certificate's key (PEM)")
	cmd.Flags().StringVar(&f.tls.ClientCA, "client-ca", "", "file with the issuers (PEM) of user certificates")
	cmd.Flags().BoolVar(&f.anonymous, "anonymous", false, "clients without credentials may do what every user may")
	for name, about := range firstUsers() {
		f.passwords[name] = cmd.Flags().String(name+"-password-file", "", about+" ("+passwordVariable(name)+")")
	}
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "no encryption and no users: every program on this machine may do everything")
	cmd.Flags().StringSliceVar(&f.members, "member", nil, "HOST:PORT of each node to list in gossip, including this one (default: only this one)")
	cmd.Flags().StringVar(&f.ready, "ready-file", "", "file to write the address to once clients can connect; removed on exit")
	return cmd
}

// passwordVariable is the environment variable that names the file too.
func passwordVariable(user string) string {
	return "LIFE_STORE_" + strings.ToUpper(user) + "_PASSWORD_FILE"
}

// check refuses flags that are not safe together.
func (f *storeServeFlags) check() error {
	host, _, err := net.SplitHostPort(f.listen)
	ip, cert := net.ParseIP(host), f.tls.Certificate
	switch {
	case err != nil:
		return usage("--listen is %q, want host:port such as 127.0.0.1:2113", f.listen)
	case (cert == "") != (f.tls.Key == ""):
		return usage("a certificate and its key belong together: give both --tls-cert and --tls-key")
	case cert != "" && f.insecure:
		return usage("--insecure means no encryption and no users: remove it, or remove the certificate")
	case cert == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()):
		return usage("listening on %s without encryption lets other machines read and write everything: give a certificate (--tls-cert, --tls-key), or listen on 127.0.0.1", f.listen)
	case cert == "" && !f.insecure:
		return usage("there is no certificate: give one (--tls-cert, --tls-key), or use --insecure to let every program on this machine do everything")
	case cert == "" && f.tls.ClientCA != "":
		return usage("--client-ca needs encrypted connections: give a certificate too (--tls-cert, --tls-key)")
	}
	return nil
}

// storeServerConfig is the server's, without its store.
func (a *app) storeServerConfig(f *storeServeFlags) (server.Config, error) {
	config := server.Config{Listen: f.listen, Insecure: f.insecure, Members: f.members, Log: a.log, Users: server.UsersConfig{Anonymous: f.anonymous}}
	if f.insecure {
		return config, nil
	}
	f.tls.Log = a.log
	var err error
	if config.TLS, err = server.LoadTLS(f.tls); err != nil {
		return config, err
	}
	for name, password := range map[string]*string{"admin": &config.Users.AdminPassword, "ops": &config.Users.OpsPassword} {
		path := cmp.Or(*f.passwords[name], a.getenv(passwordVariable(name)))
		if path == "" {
			continue
		}
		if *password, err = stores.ReadSecret("the first password of "+name, path); err != nil {
			return config, err
		}
	}
	return config, nil
}

func (a *app) serveStore(ctx context.Context, f *storeServeFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	config, err := a.storeServerConfig(f)
	if err != nil {
		return err
	}
	files, err := openFiles("store serve")
	if err != nil {
		return err
	}
	config.Connections = places.Scaled(server.MaxConnections, files).Most
	dir := filepath.Join(a.here(), stores.StoreName)
	store, err := whenFree(ctx, a, heldTime, func() (*embedded.Store, error) {
		return embedded.Open(embedded.Config{Dir: dir, Server: true, Log: a.log})
	})
	if err != nil {
		return err
	}
	config.Store = store
	served, err := server.New(config)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			err = fmt.Errorf("%w; --listen chooses another address, and port 0 any free one", err)
		}
		return errors.Join(err, store.Close())
	}
	err = a.answerStore(ctx, f, served)
	served.Close(context.WithoutCancel(ctx))
	return errors.Join(err, store.Close())
}

// answerStore serves until ctx ends.
func (a *app) answerStore(ctx context.Context, f *storeServeFlags, served *server.Server) (err error) {
	address := stores.SchemeDirect + served.Addr() + "?tls=false"
	if !f.insecure {
		address = stores.SchemeDirect + served.Addr()
	}
	if f.ready != "" {
		if err := writeReady(f.ready, address); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(f.ready)) }()
	}
	fmt.Fprintln(a.out, address)
	fmt.Fprintf(a.errs, "life: serving %s as EventStoreDB, process %d\n", filepath.Join(a.config.get("data"), stores.StoreName), os.Getpid())
	if !f.insecure {
		fmt.Fprintln(a.errs, "life: clients need credentials (--store-credentials-file), and ?tlsCAFile=FILE after the address if they do not know the certificate's issuer")
	}
	return served.Serve(ctx)
}

// writeReady writes the address, whole or not at all.
func writeReady(path, address string) error {
	if err := os.WriteFile(path+".new", []byte(address+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	return nil
}
