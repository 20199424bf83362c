#!/bin/sh
# The tour with its events in an EventStoreDB: life store serve on a free port, reached through the protocol.
# Usage: docs/demo-esdb.sh [path of life]. It ends with status 0 only if the tour does, and the store and a copy of it are sound.
set -eu
life=${1:-life}

store=$(mktemp -d)
"$life" store serve --insecure --listen 127.0.0.1:0 --data "$store" --ready-file "$store/address" >/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$store"' EXIT
while [ ! -e "$store/address" ]; do
	kill -0 "$server" || exit 1
	sleep 0.05
done
LIFE_STORE=$(cat "$store/address")
export LIFE_STORE
export LIFE_RECORD=none # the files of workspaces are blobs, in the data directory of the tour, which is gone when the copy is verified

"$(dirname "$0")/demo.sh" "$life"

printf '\n$ life store copy %s copy\n' "$LIFE_STORE"
"$life" store copy "$LIFE_STORE" "$store/copy"
LIFE_STORE=embedded "$life" verify --all --data "$store/copy"
