#!/usr/bin/env bash
# make.sh LIFE NATS-SERVER: has the build LIFE make the data directories that later builds have to open, and packs them here:
# embedded.tar.gz, and served.tar.gz, whose events were stored through life store serve. README.md says what is in them. NATS-SERVER is
# that of github.com/nats-io/nats-server/v2; group.mjs needs npm.
set -euo pipefail
life=$(realpath "$1") nats=$(realpath "$2") here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
export HOME=$work LIFE_USER=ada LIFE_LISTEN=127.0.0.1:0 LIFE_SCRIPTS=$here/../models LIFE_CREDIT=1000
cd "$work"
"$nats" -js -a 127.0.0.1 -p 14222 -sd "$work/jetstream" >nats.log 2>&1 &
for try in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/14222) 2>/dev/null && break; sleep 0.1; done

# position TEXT: of the receipt that a verb printed as JSON.
position() { sed -n 's/.*"position":"\([0-9]*\)".*/\1/p' <<<"$1"; }

# forward NAME FLAGS...: forwards until nothing has come for a while.
forward() {
	local name=$1
	shift
	"$life" forward "$name" --to "nats://127.0.0.1:14222/$name" "$@" 2>"forward-$name.log" &
	local pid=$!
	sleep 4
	kill -INT $pid
	wait $pid
	cat "forward-$name.log"
}

# multiple: stores events until the last one is at a position that is a multiple of 128.
multiple() {
	local at=1
	while [ $((at % 128)) != 0 ]; do at=$(position "$("$life" wallet credit main 1 --json)"); done
}

# serving COMMAND...: runs it while life serve runs.
serving() {
	"$life" serve 2>serve.log &
	local pid=$!
	for try in $(seq 300); do [ -e "$LIFE_DATA/serve.json" ] && break; sleep 0.1; done
	"$@"
	kill $pid
	wait $pid
}

by_bus() {
	"$life" send demo "Over the bus" --via bus --id bus-1 --wait
	"$life" send demo "And once more" --via bus --id bus-2 --wait
	for agent in demo big; do
		for try in $(seq 300); do "$life" agents | grep -q "^$agent .*rests" && break; sleep 0.1; done
	done
}

story() {
	"$life" sample ws
	"$life" run --workspace ws --agent demo --quiet "Take the tour"
	"$life" agents create big --model scripted/echo --workspace ws
	printf 'on and on %.0s' {1..4500} >large.txt
	"$life" send big "$(cat large.txt)" >/dev/null
	"$life" knowledge add "$here/notes"
	"$life" projections add "$here/shares.yaml"
	"$life" projections query shares || true
	stopped=$("$life" projections show shares | sed -n 's/^stopped *before position \([0-9]*\):.*/\1/p')
	"$life" projections skip shares "${stopped:?}" --reason "nothing is before it"
	"$life" projections query shares
	"$life" fork demo --at turn:1 --name other --set "prompt=Be brief."
	serving by_bus
	# The forwarder "even" ends at a position that is a multiple of 128, "odd" and "audit" at others: a number of one store may look
	# like a position of another.
	forward odd --streams wallet-
	forward audit
	multiple
	forward even --streams wallet-
	"$life" wallet credit main 2 # which neither has forwarded
	"$life" run --agent demo --quiet "Take the tour again"
	multiple # the states of projections are stored at it
	"$life" projections query balance --json >answers-balance.json
	"$life" projections query shares --json >answers-shares.json
	"$life" verify --all
	"$life" store check
}

keep() {
	rm -rf kept && mkdir kept
	mv data ws answers-*.json forward-*.log kept
	[ ! -d there ] || mv there kept
	tar --sort=name --owner=0 --group=0 --mtime=2026-01-01 -C kept -cf - . | gzip -9n >"$here/$1.tar.gz"
}

export LIFE_DATA=$work/data LIFE_STORE=embedded
story
keep embedded

"$life" store serve --insecure --listen 127.0.0.1:0 --data there --ready-file address 2>there.log >/dev/null &
server=$!
for try in $(seq 100); do [ -s address ] && break; sleep 0.1; done
LIFE_STORE=$(cat address)
export LIFE_STORE
story
cp "$here/group.mjs" "$here/../node/package.json" "$here/../node/package-lock.json" .
npm ci --ignore-scripts --no-audit --no-fund >/dev/null
node group.mjs "$LIFE_STORE"
kill $server
wait $server
keep served
