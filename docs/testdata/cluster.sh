#!/usr/bin/env bash
# make cluster: life store serve and three hosts on loopback, with their certificates, in one directory. Ctrl-C drains all.
set -euo pipefail
life=$(realpath "$1")
dir=$(mktemp -d "${TMPDIR:-/tmp}/life-cluster.XXXXXX")
cd "$dir"
hosts=()
store=
finish() {
	trap - EXIT INT TERM
	[ ${#hosts[@]} = 0 ] || { kill -TERM "${hosts[@]}" 2>/dev/null; wait "${hosts[@]}"; } || true
	[ -z "$store" ] || { kill -TERM "$store" 2>/dev/null; wait "$store"; } || true
	rm -rf "$dir"
}
trap finish EXIT INT TERM
"$life" cluster certificates certs --host books-1 --host books-2 --host books-3 >/dev/null
# In groups of their own: Ctrl-C is for this script, which drains the hosts before it stops their store.
set -m
"$life" store serve --insecure --listen 127.0.0.1:0 --data store --ready-file address >/dev/null 2>store.log &
store=$!
until [ -s address ]; do kill -0 "$store" || { cat store.log; exit 1; }; sleep 0.05; done
export LIFE_STORE LIFE_CLUSTER=books
LIFE_STORE=$(cat address)
mkdir blobs
for host in books-1 books-2 books-3; do
	mkdir "$host"
	ln -s ../blobs "$host/blobs"
	"$life" serve --data "$host" --listen 127.0.0.1:0 --peer 127.0.0.1:0 --peer-name "$host" --peer-certs certs --shared-workspaces / 2>"$host.log" &
	hosts+=($!)
	until [ -s "$host/serve.json" ]; do kill -0 "${hosts[-1]}" || { cat "$host.log"; exit 1; }; sleep 0.05; done
done
"$life" cluster
cat <<END

Everything is in $dir. In another terminal:
  export LIFE_STORE='$LIFE_STORE' LIFE_CLUSTER=books
  life run --data $dir/books-1 --agent demo --model scripted/echo "Hello"
  life cluster where demo
  life cluster drain books-1
Ctrl-C ends all hosts: each hands its agents over first.
END
wait "${hosts[@]}" || true
