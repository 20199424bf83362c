# Starts life store serve at the given address and life serve, in the background, with what they say in files. served waits for the store,
# and stop ends what was started last.
address=$1
life() {
	case "$1 $2" in
	"store serve") shift 2 && exec life store serve --listen "$address" --ready-file "$PWD/address" "$@" >>store.log 2>&1 ;;
	"serve ") exec life serve >>serve.log 2>&1 ;;
	esac
	[ "$BASH_SUBSHELL" = 0 ] || exec life "$@"
	command life "$@"
}
served() {
	until [ -s address ]; do
		kill -0 $! || { cat store.log && return 1; }
		sleep 0.05
	done
}
stop() {
	set -- $(jobs -p)
	kill "${@: -1}" && wait "${@: -1}"
	rm -f address
}
