#!/bin/sh
# Collects changes/unreleased/*.md by kind. Without an argument it prints them; with a version it moves them into CHANGELOG.md.
set -eu
cd "$(dirname "$0")/.."

for file in changes/unreleased/*.md; do
	case "$(basename "$file")" in
	'*.md') echo "nothing is unreleased" >&2 && exit 0 ;;
	added-* | changed-* | deprecated-* | removed-* | fixed-* | security-*) ;;
	*) echo "$file: the name must begin with a kind; see changes/TEMPLATE.md" >&2 && exit 1 ;;
	esac
done

section() {
	for kind in Added Changed Deprecated Removed Fixed Security; do
		prefix=$(echo "$kind" | tr '[:upper:]' '[:lower:]')
		title="### $kind"
		for file in changes/unreleased/"$prefix"-*.md; do
			[ -e "$file" ] || continue
			if [ -n "$title" ]; then printf '%s\n\n' "$title" && title=; fi
			awk 'NF { printf "%s%s\n", (n++ ? "  " : "- "), $0 }' "$file"
		done
		[ -n "$title" ] || echo
	done
}

if [ $# -eq 0 ]; then
	section
	exit 0
fi

version=$1
if grep -q "^## \[$version\]" CHANGELOG.md; then
	echo "CHANGELOG.md has version $version already" >&2
	exit 1
fi
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
	sed '/^## \[Unreleased\]/q' CHANGELOG.md
	printf '\n## [%s] - %s\n\n' "$version" "$(date -u +%Y-%m-%d)"
	section
	sed '1,/^## \[Unreleased\]/d' CHANGELOG.md | sed '/./,$!d'
} >"$new"
cat "$new" >CHANGELOG.md
rm changes/unreleased/*.md
echo "CHANGELOG.md has version $version; review and commit it"
