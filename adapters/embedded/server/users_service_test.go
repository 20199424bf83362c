package server_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/embedded/server/protocol/users"
)

// login puts credentials into a call.
func login(ctx context.Context, name, password string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
}

// userCalls are the calls that the service for users takes, about one user.
type userCalls struct {
	t      testing.TB
	client users.UsersClient
}

func (c userCalls) as(name, password string) context.Context {
	return login(within(c.t), name, password)
}

func (c userCalls) create(ctx context.Context, name, password string, groups ...string) error {
	_, err := c.client.Create(ctx, &users.CreateReq{Options: &users.CreateReq_Options{LoginName: name, Password: password, FullName: "Full " + name, Groups: groups}})
	return err
}

func (c userCalls) update(ctx context.Context, name string, groups ...string) error {
	_, err := c.client.Update(ctx, &users.UpdateReq{Options: &users.UpdateReq_Options{LoginName: name, FullName: "Other " + name, Groups: groups}})
	return err
}

func (c userCalls) enable(ctx context.Context, name string) error {
	_, err := c.client.Enable(ctx, &users.EnableReq{Options: &users.EnableReq_Options{LoginName: name}})
	return err
}

func (c userCalls) disable(ctx context.Context, name string) error {
	_, err := c.client.Disable(ctx, &users.DisableReq{Options: &users.DisableReq_Options{LoginName: name}})
	return err
}

func (c userCalls) remove(ctx context.Context, name string) error {
	_, err := c.client.Delete(ctx, &users.DeleteReq{Options: &users.DeleteReq_Options{LoginName: name}})
	return err
}

func (c userCalls) reset(ctx context.Context, name, password string) error {
	_, err := c.client.ResetPassword(ctx, &users.ResetPasswordReq{Options: &users.ResetPasswordReq_Options{LoginName: name, NewPassword: password}})
	return err
}

func (c userCalls) changePassword(ctx context.Context, name, from, to string) error {
	_, err := c.client.ChangePassword(ctx, &users.ChangePasswordReq{Options: &users.ChangePasswordReq_Options{LoginName: name, CurrentPassword: from, NewPassword: to}})
	return err
}

// details returns users as "name: full name [groups]", with "off" for who is disabled.
func (c userCalls) details(ctx context.Context, name string) (list []string, err error) {
	call, err := c.client.Details(ctx, &users.DetailsReq{Options: &users.DetailsReq_Options{LoginName: name}})
	if err != nil {
		return nil, err
	}
	for {
		answer, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		user := answer.GetUserDetails()
		text := fmt.Sprintf("%s: %s %v", user.GetLoginName(), user.GetFullName(), user.GetGroups())
		if user.GetDisabled() {
			text += " off"
		}
		list = append(list, text)
		if age := time.Since(time.UnixMicro(user.GetLastUpdated().GetTicksSinceEpoch() / 10)); age < -time.Minute || age > time.Minute {
			c.t.Errorf("%s was changed %s ago", user.GetLoginName(), age)
		}
	}
}

func (s secured) users(t testing.TB) userCalls {
	t.Helper()
	return userCalls{t: t, client: users.NewUsersClient(s.dial(t))}
}

func (c userCalls) want(err error, want codes.Code) {
	c.t.Helper()
	wantStatus(c.t, err, want)
}

// TestUsersService goes through a user's life: what is changed holds at once, without a restart.
func TestUsersService(t *testing.T) {
	s := secure(t)
	c := s.users(t)
	admin := c.as("admin", "password")
	mayLogIn := func(password string, want codes.Code) {
		t.Helper()
		_, err := c.details(c.as("ada", password), "ada")
		c.want(err, want)
	}
	is := func(want string) {
		t.Helper()
		if list, err := c.details(admin, "ada"); err != nil || fmt.Sprint(list) != want {
			t.Errorf("it is %v, %v; want %s", list, err, want)
		}
	}
	mayLogIn("first password", codes.Unauthenticated)
	c.want(c.create(admin, "ada", "first password", "writers"), codes.OK)
	mayLogIn("first password", codes.OK)
	is("[ada: Full ada [writers]]")
	c.want(c.create(admin, "ada", "first password", "others"), codes.OK) // once more, as it may be after a lost answer
	c.want(c.create(admin, "ada", "another password"), codes.FailedPrecondition)
	is("[ada: Full ada [writers]]")

	_, err := readAll(t, s.as(t, "ada:first%20password@", ""), esdb.ReadAllOptions{}, 1)
	c.want(err, codes.PermissionDenied)
	c.want(c.update(admin, "ada", "$admins"), codes.OK)
	is("[ada: Other ada [$admins]]")
	if _, err := readAll(t, s.as(t, "ada:first%20password@", ""), esdb.ReadAllOptions{}, 1); err != nil {
		t.Errorf("who became an administrator reads everything: %v", err)
	}
	c.want(c.update(admin, "ada"), codes.OK)

	feed, err := s.as(t, "ada:first%20password@", "").SubscribeToStream(within(t), "orders", esdb.SubscribeToStreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	c.want(c.disable(admin, "ada"), codes.OK)
	is("[ada: Other ada [] off]")
	mayLogIn("first password", codes.Unauthenticated)
	for event := feed.Recv(); event.SubscriptionDropped == nil; {
		event = feed.Recv()
	}
	c.want(c.enable(admin, "ada"), codes.OK)
	mayLogIn("first password", codes.OK)

	c.want(c.changePassword(c.as("ada", "first password"), "ada", "not the password", "second password"), codes.PermissionDenied)
	c.want(c.changePassword(c.as("ada", "first password"), "ada", "first password", "short"), codes.InvalidArgument)
	mayLogIn("first password", codes.OK)
	c.want(c.changePassword(c.as("ada", "first password"), "ada", "first password", "second password"), codes.OK)
	mayLogIn("first password", codes.Unauthenticated)
	mayLogIn("second password", codes.OK)
	c.want(c.reset(admin, "ada", "third password"), codes.OK)
	mayLogIn("second password", codes.Unauthenticated)
	mayLogIn("third password", codes.OK)

	c.want(c.remove(admin, "ada"), codes.OK)
	mayLogIn("third password", codes.Unauthenticated)
	_, err = c.details(admin, "ada")
	c.want(err, codes.NotFound)
	c.want(c.create(admin, "ada", "fourth password"), codes.OK)
	mayLogIn("fourth password", codes.OK)
	want := "[ada: Full ada [] admin: Event Store Administrator [$admins] ops: Event Store Operations [$ops] someone:  []]"
	if list, err := c.details(admin, ""); err != nil || fmt.Sprint(list) != want {
		t.Errorf("all are %v, %v; want %s", list, err, want)
	}
}

// TestUsersServiceRights: changing users is for administrators; EventStoreDB 24.10 shows them to whoever has logged in, and changes the
// password of whoever's is given.
func TestUsersServiceRights(t *testing.T) {
	c := secure(t).users(t)
	c.want(c.create(c.as("admin", "password"), "victim", "password"), codes.OK)
	for _, caller := range []string{"", "someone", "ops"} {
		as := within(t)
		if caller != "" {
			as = c.as(caller, "password")
		}
		for what, err := range map[string]error{
			"create":        c.create(as, "another", "password"),
			"create itself": c.create(as, "victim", "password"),
			"update":        c.update(as, "victim"),
			"enable":        c.enable(as, "victim"),
			"disable":       c.disable(as, "victim"),
			"delete":        c.remove(as, "victim"),
			"nobody":        c.remove(as, "nobody"),
			"own groups":    c.update(as, caller, "$admins"),
			"reset":         c.reset(as, "victim", "password"),
			"wrong":         c.changePassword(as, "victim", "not the password", "password"),
		} {
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("%q, %s: %v", caller, what, err)
			}
		}
		want := codes.OK
		if caller == "" {
			want = codes.PermissionDenied
		}
		_, err := c.details(as, "victim")
		c.want(err, want)
		_, err = c.details(as, "")
		c.want(err, want)
		c.want(c.changePassword(as, "victim", "password", "password"), want)
	}
}

// TestUsersServiceFailures holds codes and trailers, by which clients know what it was.
func TestUsersServiceFailures(t *testing.T) {
	c := secure(t).users(t)
	admin := c.as("admin", "password")
	c.want(c.create(admin, "ada", "password"), codes.OK)
	var trailer metadata.MD
	_, err := c.client.Create(admin, &users.CreateReq{Options: &users.CreateReq_Options{LoginName: "ada", Password: "other password"}}, grpc.Trailer(&trailer))
	if fmt.Sprint(status.Code(err), trailer.Get("exception"), trailer.Get("login-name")) != "FailedPrecondition [user-conflict] [ada]" {
		t.Errorf("%v, %v", err, trailer)
	}
	_, err = c.client.Enable(admin, &users.EnableReq{Options: &users.EnableReq_Options{LoginName: "nobody"}}, grpc.Trailer(&trailer))
	if fmt.Sprint(status.Code(err), trailer.Get("exception"), trailer.Get("login-name")) != "NotFound [user-not-found] [nobody]" {
		t.Errorf("%v, %v", err, trailer)
	}
	_, err = c.details(admin, "nobody")
	c.want(err, codes.NotFound)
	for _, err := range []error{
		c.update(admin, "nobody"), c.disable(admin, "nobody"), c.remove(admin, "nobody"), c.reset(admin, "nobody", "password"),
		c.changePassword(admin, "nobody", "password", "password"), c.enable(admin, ""), c.enable(admin, strings.Repeat("x", 5000)), c.remove(admin, "a\x00b"),
	} {
		c.want(err, codes.NotFound)
	}
	for _, err := range []error{
		c.create(admin, "", "password"), c.create(admin, "a:b", "password"), c.create(admin, "$admins", "password"), c.create(admin, "x", "short"),
		c.create(admin, "x", strings.Repeat("x", 2000)), c.create(admin, "x", "password", "$all"), c.update(admin, "ada", ""), c.reset(admin, "ada", ""),
	} {
		c.want(err, codes.InvalidArgument)
	}
	for _, err := range []error{c.remove(admin, "admin"), c.disable(admin, "admin"), c.update(admin, "admin", "$ops")} { // nobody could undo it
		c.want(err, codes.FailedPrecondition)
	}
	for _, empty := range []error{
		second(c.client.Create(admin, &users.CreateReq{})), second(c.client.Update(admin, &users.UpdateReq{})), second(c.client.Enable(admin, &users.EnableReq{})),
		second(c.client.ChangePassword(admin, &users.ChangePasswordReq{})), second(c.client.ResetPassword(admin, &users.ResetPasswordReq{})),
	} {
		if code := status.Code(empty); code != codes.InvalidArgument && code != codes.NotFound {
			t.Errorf("nothing at all is answered %v", empty)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestUsersServiceGuessing: who has logged in cannot try passwords of others without end.
func TestUsersServiceGuessing(t *testing.T) {
	c := secure(t).users(t)
	as := c.as("someone", "password")
	for i := range 100 {
		err := c.changePassword(as, "admin", fmt.Sprint("guess ", i), "my password")
		if status.Code(err) == codes.ResourceExhausted {
			return
		}
		c.want(err, codes.PermissionDenied)
	}
	t.Error("a hundred guesses were answered")
}

// TestUsersServiceInsecure: there are no users where everyone may do everything.
func TestUsersServiceInsecure(t *testing.T) {
	c := userCalls{t: t, client: users.NewUsersClient(serve(t).dial(t))}
	_, err := c.details(within(t), "admin")
	c.want(err, codes.Unimplemented)
	c.want(c.create(within(t), "ada", "password"), codes.Unimplemented)
	c.want(c.changePassword(within(t), "ada", "password", "password"), codes.Unimplemented)
}
