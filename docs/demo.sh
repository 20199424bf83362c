#!/bin/sh
# The tour: a scripted agent works on a copy of the sample workspace, and its history is looked at and verified afterwards.
# Usage: docs/demo.sh [path of life]. It ends with status 0 only if every step worked and the agent really changed a file.
set -eu
life=${1:-life}

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
data=$temp/data workspace=$temp/workspace

step() {
	printf '\n$ life %s\n' "$*"
	"$life" "$@"
}

step sample "$workspace"
cp -R "$workspace" "$temp/before"

step run --data "$data" --workspace "$workspace" --agent demo --model scripted/tour "Take the tour"
step history demo --data "$data"
step state demo --at 3 --data "$data"

printf '\n$ diff -ru before workspace\n'
if diff -ru "$temp/before" "$workspace"; then
	echo "the agent changed no file" >&2
	exit 1
fi
if [ -z "$(cd "$temp/before" && find . -type f -exec sh -c 'cmp -s "$1" "$2/$1" || echo "$1"' _ {} "$workspace" \;)" ]; then
	echo "the agent only added files, it changed none" >&2
	exit 1
fi

step verify --all --data "$data"
