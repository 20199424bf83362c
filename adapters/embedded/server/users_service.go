package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded/server/protocol/users"
)

// usersService is the protocol's service for users: those of the store, as life store users keeps them. Changing them is for $admins;
// whoever has logged in may look at them, and change a password that they know. What changes holds from the answer on.
type usersService struct {
	users.UnimplementedUsersServer
	authority *authority
}

// administer does something to a user on behalf of an administrator.
func (s *usersService) administer(ctx context.Context, name string, what action, do func(ctx context.Context, users *Users) error) error {
	if who := callerOf(ctx); !who.is(adminsGroup) && !who.system {
		return accessDenied()
	}
	return s.change(ctx, name, what, do)
}

// change does something to a user, and lets the guard know of all that may have been stored. It is waited for whatever becomes of the call.
func (s *usersService) change(ctx context.Context, name string, what action, do func(ctx context.Context, users *Users) error) error {
	if err := s.there(); err != nil {
		return err
	}
	err := userFailure(do(context.WithoutCancel(ctx), s.authority.users), name)
	if refused := new(failure); !errors.As(err, &refused) {
		s.authority.wrote(ctx, what, userStream(name))
	}
	return err
}

// there refuses a server that has no users.
func (s *usersService) there() error {
	if s.authority.insecure {
		return fail(codes.Unimplemented, "this server has no users: it was started with --insecure, where everyone may do everything")
	}
	return nil
}

// userFailure is how a call about a user fails.
func userFailure(err error, name string) error {
	conflict := new(storage.ConflictError)
	switch {
	case errors.Is(err, ErrNoUser):
		return fail(codes.NotFound, "User '"+name+"' is not found.", trailerException, "user-not-found", "login-name", name)
	case errors.Is(err, ErrUserExists), errors.As(err, &conflict):
		return fail(codes.FailedPrecondition, "Conflict.", trailerException, "user-conflict", "login-name", name)
	case errors.Is(err, ErrLastAdmin):
		return fail(codes.FailedPrecondition, err.Error())
	case errors.Is(err, ErrInvalidUser):
		return fail(codes.InvalidArgument, err.Error())
	}
	return storeFailure(err, userStream(name))
}

// Create implements users.UsersServer. A user who is there already, with that password, is left as it is.
func (s *usersService) Create(ctx context.Context, request *users.CreateReq) (*users.CreateResp, error) {
	options := request.GetOptions()
	name := options.GetLoginName()
	err := s.administer(ctx, name, toWrite, func(ctx context.Context, all *Users) error {
		record, _, err := all.load(ctx, name)
		if err == nil {
			right, err := s.authority.logins.compare(ctx, &record, options.GetPassword(), addressOf(ctx))
			if err == nil && !right {
				err = ErrUserExists
			}
			return err
		}
		if !errors.Is(err, ErrNoUser) {
			return err
		}
		return s.hashing(ctx, func() error {
			return all.Add(ctx, User{Name: name, FullName: options.GetFullName(), Groups: options.GetGroups()}, options.GetPassword())
		})
	})
	return &users.CreateResp{}, err
}

// hashing does what hashes a new password, when there is a slot for it.
func (s *usersService) hashing(ctx context.Context, do func() error) error {
	release, err := s.authority.logins.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	return do()
}

// Update implements users.UsersServer.
func (s *usersService) Update(ctx context.Context, request *users.UpdateReq) (*users.UpdateResp, error) {
	options := request.GetOptions()
	err := s.administer(ctx, options.GetLoginName(), toWrite, func(ctx context.Context, all *Users) error {
		return all.Update(ctx, User{Name: options.GetLoginName(), FullName: options.GetFullName(), Groups: options.GetGroups()})
	})
	return &users.UpdateResp{}, err
}

// Enable implements users.UsersServer.
func (s *usersService) Enable(ctx context.Context, request *users.EnableReq) (*users.EnableResp, error) {
	name := request.GetOptions().GetLoginName()
	return &users.EnableResp{}, s.administer(ctx, name, toWrite, func(ctx context.Context, all *Users) error { return all.Enable(ctx, name) })
}

// Disable implements users.UsersServer.
func (s *usersService) Disable(ctx context.Context, request *users.DisableReq) (*users.DisableResp, error) {
	name := request.GetOptions().GetLoginName()
	return &users.DisableResp{}, s.administer(ctx, name, toWrite, func(ctx context.Context, all *Users) error { return all.Disable(ctx, name) })
}

// Delete implements users.UsersServer.
func (s *usersService) Delete(ctx context.Context, request *users.DeleteReq) (*users.DeleteResp, error) {
	name := request.GetOptions().GetLoginName()
	return &users.DeleteResp{}, s.administer(ctx, name, toDelete, func(ctx context.Context, all *Users) error { return all.Remove(ctx, name) })
}

// ResetPassword implements users.UsersServer.
func (s *usersService) ResetPassword(ctx context.Context, request *users.ResetPasswordReq) (*users.ResetPasswordResp, error) {
	options := request.GetOptions()
	err := s.administer(ctx, options.GetLoginName(), toWrite, func(ctx context.Context, all *Users) error {
		return all.change(ctx, options.GetLoginName(), func(r *userRecord) error { return s.replacePassword(ctx, r, options.GetNewPassword()) })
	})
	return &users.ResetPasswordResp{}, err
}

// ChangePassword implements users.UsersServer. A wrong password counts as a guess.
func (s *usersService) ChangePassword(ctx context.Context, request *users.ChangePasswordReq) (*users.ChangePasswordResp, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	options := request.GetOptions()
	name := options.GetLoginName()
	err := s.change(ctx, name, toWrite, func(ctx context.Context, all *Users) error {
		return all.change(ctx, name, func(r *userRecord) error {
			right, err := s.authority.logins.compare(ctx, r, options.GetCurrentPassword(), addressOf(ctx))
			if err == nil && !right {
				err = accessDenied()
			}
			if err != nil {
				return err
			}
			return s.replacePassword(ctx, r, options.GetNewPassword())
		})
	})
	return &users.ChangePasswordResp{}, err
}

func (s *usersService) replacePassword(ctx context.Context, r *userRecord, password string) error {
	return s.hashing(ctx, func() (err error) {
		r.secret, err = newSecret(password, s.authority.users.memory)
		return err
	})
}

// Details implements users.UsersServer: of one user, or of all in the order of their names.
func (s *usersService) Details(request *users.DetailsReq, call grpc.ServerStreamingServer[users.DetailsResp]) error {
	if err := loggedIn(call.Context()); err != nil {
		return err
	}
	if err := s.there(); err != nil {
		return err
	}
	name := request.GetOptions().GetLoginName()
	list, err := s.named(call.Context(), name)
	if err != nil {
		return userFailure(err, name)
	}
	slices.SortFunc(list, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	for i := range list {
		if err := call.Send(detailsOf(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// named is the user of that name, or all.
func (s *usersService) named(ctx context.Context, name string) ([]User, error) {
	if strings.TrimSpace(name) == "" {
		return s.authority.users.List(ctx)
	}
	user, err := s.authority.users.get(ctx, name)
	return []User{user}, err
}

func detailsOf(user *User) *users.DetailsResp {
	const ticks = 10 // of 100 ns in a microsecond
	return &users.DetailsResp{UserDetails: &users.DetailsResp_UserDetails{
		LoginName: user.Name, FullName: user.FullName, Groups: user.Groups, Disabled: user.Disabled,
		LastUpdated: &users.DetailsResp_UserDetails_DateTime{TicksSinceEpoch: int64(user.changed) * ticks},
	}}
}
