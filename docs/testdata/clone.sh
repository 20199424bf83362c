# Stands for a clone of the repository: a git repository with the parts that docs/first-change.md changes. Go builds the repository itself
# with what differs here laid over it, so that only what depends on the change is compiled, and runs the tests here.
mkdir clone && cd clone
clone=$PWD
mkdir -p cmd/testdata
cp -r "$REPOSITORY/sagas" .
cp -r "$REPOSITORY/cmd/testdata/histories" cmd/testdata
git init -q .
git add .
git -c user.name=ada -c user.email=ada@example.com commit -qm clone
printf '#!/bin/sh\ncd "%s/${PWD#"%s/"}" && exec "$@"\n' "$clone" "$REPOSITORY" >../here
chmod +x ../here

go() { # test PACKAGE …
	git diff --name-only -- '*.go' | sed "s|.*|\"$REPOSITORY/&\": \"$clone/&\"|" | paste -sd, | sed 's/.*/{"Replace": {&}}/' >../overlay.json
	command go -C "$REPOSITORY" test -overlay "$clone/../overlay.json" -exec "$clone/../here" -ldflags=-w "${@:2}"
}
