#!/usr/bin/env bash
# service_test.sh BUILD SANDBOXD: what `cmake --install` gives an administrator is there, and is what the programs read.
set -euo pipefail
build=$1 sandboxd=$2
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$build" --component service --prefix "$to" >/dev/null
unit=$to/lib/systemd/system/sandboxd.service
[ -s "$unit" ] || fail "no sandboxd.service"
grep -qx 'KillMode=process' "$unit" || fail "stopping sandboxd would kill its sandboxes"
grep -Eq '^ExecStart=/.*/sandboxd$' "$unit" || fail "ExecStart is not an absolute path"
grep -q '@' "$unit" && fail "an unfilled placeholder"
if command -v systemd-analyze >/dev/null; then
  sed "s|^\(ExecStart[A-Za-z]*\)=[^ ]*|\1=$sandboxd|" "$unit" >"$to/sandboxd.service"
  systemd-analyze verify --man=no "$to/sandboxd.service" || fail "systemd refuses the unit"
else
  echo "skipped: systemd-analyze is not installed here"
fi

example=$to/share/muster/examples/sandboxd.yaml
[ -s "$example" ] || fail "no example of sandboxd.yaml"
check() { "$sandboxd" --check --config "$1" >"$to/said" 2>&1 || [ $? = 4 ] || { cat "$to/said"; fail "$1 is refused"; }; }
check "$example"
# Every default that the example shows is a setting that the program knows.
sed 's/^#\([a-z_]*:\)/\1/' "$example" >"$to/all.yaml"
check "$to/all.yaml"
echo 'no_such_setting: 1' >"$to/bad.yaml"
! "$sandboxd" --check --config "$to/bad.yaml" 2>"$to/said" || fail "an unknown setting is accepted"
grep -q 'image_directories' "$to/said" || fail "the settings that there are were not named"
