package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
	"example.com/life/cmd/stores"
)

func storeUsersCommand(a *app) *cobra.Command {
	cmd := group("users", "Manage the users of life store serve", "  life store users list\n  life store users add ada --group '$admins' --password-file secret",
		storeUsersListCommand(a), storeUsersAddCommand(a), storeUsersPasswordCommand(a),
		storeUserCommand(a, "disable", "Prevent a user from logging in", (*server.Users).Disable),
		storeUserCommand(a, "enable", "Allow a disabled user to log in again", (*server.Users).Enable),
		storeUserCommand(a, "remove", "Remove a user", (*server.Users).Remove),
	)
	cmd.Long = "Manage the users of life store serve. The store of the data directory must not be in use; to change the users of a running server,\n" +
		"use the Users service of an EventStoreDB client. Users are stored as events in the store's own streams."
	return cmd
}

// withUsers opens the embedded store of the data directory for its users.
func (a *app) withUsers(ctx context.Context, use func(*server.Users) error) error {
	data := a.here()
	if err := stores.Openable(stores.Location{Data: data}); err != nil {
		return err
	}
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(data, stores.StoreName), Log: a.log})
	if err != nil {
		return err
	}
	if err = ctx.Err(); err == nil {
		err = use(server.NewUsers(store))
	}
	return errors.Join(err, store.Close())
}

func storeUsersListCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "list", Short: "List the users", Example: "  life store users list --json", Args: takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withUsers(cmd.Context(), func(users *server.Users) error {
				list, err := users.List(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(list)
				}
				w := table(a.out)
				fmt.Fprintln(w, "USER\tNAME\tGROUPS\tENABLED")
				for _, user := range list {
					may := "yes"
					if user.Disabled {
						may = "no"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", user.Name, user.FullName, strings.Join(user.Groups, ","), may)
				}
				return w.Flush()
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func storeUsersAddCommand(a *app) *cobra.Command {
	var user server.User
	password := ""
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a user", Args: takes(1, 1, "the name of a user"),
		Long:    "Add a user. The password is the first line of a file, or of standard input; it must have at least eight bytes.",
		Example: "  life store users add ada --group '$admins' --password-file secret\n  pass show ada | life store users add ada",
		RunE: func(cmd *cobra.Command, args []string) error {
			user.Name = args[0]
			return a.withPassword(cmd, password, func(users *server.Users, password string) error {
				return users.Add(cmd.Context(), user, password)
			})
		},
	}
	cmd.Flags().StringVar(&user.FullName, "full-name", "", "the user's full name")
	cmd.Flags().StringSliceVar(&user.Groups, "group", nil, "groups: $admins may do everything, $ops may manage consumer groups; other names are for access control lists")
	passwordFlag(cmd, &password)
	return cmd
}

func storeUsersPasswordCommand(a *app) *cobra.Command {
	password := ""
	cmd := &cobra.Command{
		Use: "password NAME", Short: "Give a user a new password", Args: takes(1, 1, "the name of a user"),
		Long:    "Give a user a new password: the first line of a file, or of standard input.",
		Example: "  life store users password admin --password-file secret",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPassword(cmd, password, func(users *server.Users, password string) error {
				return users.SetPassword(cmd.Context(), args[0], password)
			})
		},
	}
	passwordFlag(cmd, &password)
	return cmd
}

// storeUserCommand is a verb that takes a user's name and nothing else.
func storeUserCommand(a *app, verb, short string, do func(*server.Users, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Example: "  life store users " + verb + " ada", Args: takes(1, 1, "the name of a user"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withUsers(cmd.Context(), func(users *server.Users) error { return do(users, cmd.Context(), args[0]) })
		},
	}
}

func passwordFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "password-file", "-", "file with the password; -: standard input")
}

// withPassword reads the password before it opens the store.
func (a *app) withPassword(cmd *cobra.Command, path string, use func(users *server.Users, password string) error) error {
	if path != "-" {
		password, err := stores.ReadSecret("the password", path)
		if err != nil {
			return err
		}
		return a.withUsers(cmd.Context(), func(users *server.Users) error { return use(users, password) })
	}
	password, err := a.askPassword(cmd.Context(), os.Stdin)
	if err != nil {
		return err
	}
	return a.withUsers(cmd.Context(), func(users *server.Users) error { return use(users, password) })
}

func storeCertificatesCommand(a *app) *cobra.Command {
	c := server.DevelopmentCertificates{}
	days := 0
	cmd := &cobra.Command{
		Use:   "certificates DIR",
		Short: "Create certificates to try life store serve with TLS",
		Long: "Create a certificate authority (ca.crt), and with it a certificate for the server (server.crt, server.key) and for each user\n" +
			"(user-NAME.crt and .key), in a new directory. The authority's key is not kept: to get more certificates, create all of them again.",
		Example: "  life store certificates certs --host 127.0.0.1 --host localhost --user admin\n" +
			"  life store serve --tls-cert certs/server.crt --tls-key certs/server.key --client-ca certs/ca.crt --admin-password-file secret\n" +
			"  life doctor --store 'esdb://localhost:2113?tlsCAFile=certs/ca.crt' --store-credentials-file admin",
		Args: takes(1, 1, "a directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			if days < 1 || days > 10_000 {
				return usage("--days is %d: it must be from 1 to 10000", days)
			}
			c.Dir, c.Lifetime = args[0], time.Duration(days)*24*time.Hour
			if err := c.Write(); err != nil {
				return err
			}
			fmt.Fprintln(a.out, filepath.Join(c.Dir, "ca.crt"))
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&c.Hosts, "host", []string{"localhost", "127.0.0.1"}, "host names and addresses of the server")
	cmd.Flags().StringSliceVar(&c.Users, "user", nil, "users who log in with a certificate")
	cmd.Flags().IntVar(&days, "days", 30, "validity in days")
	return cmd
}

// askPassword reads the first line of a file. On a terminal it asks for it, and does not show what is typed.
func (a *app) askPassword(ctx context.Context, in *os.File) (_ string, err error) {
	shown, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil { // no terminal
		return passwordLine(in)
	}
	hidden := *shown
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ECHONL
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("hide the password: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, shown)) }()
	fmt.Fprint(a.errs, "password: ")
	type line struct {
		text string
		err  error
	}
	typed := make(chan line, 1)
	go func() { // nothing ends a read of a terminal but its user: after Ctrl-C this one ends with the process
		text, err := passwordLine(in)
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		return l.text, l.err
	case <-ctx.Done():
		fmt.Fprintln(a.errs)
		return "", ctx.Err()
	}
}

func passwordLine(in io.Reader) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(text, "\r\n"), nil
}
