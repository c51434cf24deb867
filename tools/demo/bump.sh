#!/usr/bin/env bash
# Moves a repository from libgreet 1.x to 2.0: replaces the vendored library, rewrites every caller, raises the
# version in the manifest. Runs in the repository's root, as a Muster agent or by hand:
#
#   cd some/clone && /path/to/tools/demo/bump.sh
#
# Exit 0: done (or nothing to do, then nothing changed). 77: does not use libgreet.
set -euo pipefail

here=${MUSTER_AGENT_DIR:-$(cd "$(dirname "$0")" && pwd)}
new=$here/libgreet-2.0
output=${MUSTER_OUTPUT:-}

# Trouble that the demonstration makes on purpose; see README.md.
if [ -e .demo/agent-hangs ]; then
  echo "waiting for an approval that nobody gives"
  exec sleep infinity
fi
if [ -e .demo/first-attempt-dies ] && [ "${MUSTER_ATTEMPT:-1}" = 1 ]; then
  echo "out of luck on the first attempt" >&2
  kill -KILL $$
fi

[ -d vendor/libgreet ] || { echo "this repository does not use libgreet"; exit 77; }
if grep -rqs '2\.0\.0' vendor/libgreet; then
  echo "already on libgreet 2.0"
  exit 0
fi

# Files of the given endings that call greet, but not the library itself.
callers() {
  local pattern=()
  for ending in "$@"; do pattern+=(--include="*.$ending"); done
  grep -rlE '(^|[^A-Za-z0-9_.])greet[ (]' "${pattern[@]}" --exclude-dir=.git --exclude-dir=vendor . || true
}

# rewrite BEFORE AFTER FILE...: greet(X) -> greet(BEFORE X AFTER), whatever parentheses X holds.
rewrite() {
  local before=$1 after=$2
  shift 2
  [ $# -gt 0 ] || return 0
  BEFORE=$before AFTER=$after perl -pi -e '
    s/(?<![\w.])greet\(((?:[^()]++|(\((?:[^()]++|(?2))*\)))*)\)/"greet(" . $ENV{BEFORE} . $1 . $ENV{AFTER} . ")"/ge
      unless /\bfunction greet\b/' "$@"
}

if [ -e package.json ]; then
  shape=npm kind=js
  mapfile -t files < <(callers js)
  rewrite '{ name: ' ' }' "${files[@]}"
  perl -pi -e 's/("libgreet":\s*")[^"]*"/${1}^2.0.0"/' package.json
elif [ -e CMakeLists.txt ]; then
  shape=CMake kind=c
  mapfile -t files < <(callers c h)
  rewrite '(greet_options){.name = ' '}' "${files[@]}"
  perl -pi -e 's/(LIBGREET_VERSION\s+)1\.[\d.]+/${1}2.0.0/' CMakeLists.txt
elif [ -e pyproject.toml ]; then
  shape=Python kind=python
  mapfile -t files < <(callers py)
  rewrite 'name=' '' "${files[@]}"
  perl -pi -e 's/(libgreet\s*)[~=><]=\s*1[\d.]*/${1}==2.0.0/' pyproject.toml
else
  shape=plain kind=sh
  mapfile -t files < <(callers sh)
  [ ${#files[@]} -eq 0 ] || perl -pi -e 's/(^|[\s(;])greet (?=["\x27\$\w])/${1}greet --name /g' "${files[@]}"
  [ ! -e DEPENDENCIES ] || perl -pi -e 's/^(libgreet) 1\.[\d.]+/$1 2.0.0/' DEPENDENCIES
fi

rm -rf vendor/libgreet
mkdir -p vendor/libgreet
cp -R "$new/$kind/." vendor/libgreet/

echo "moved ${#files[@]} callers of a $shape repository to libgreet 2.0"
if [ -n "$output" ]; then
  {
    echo "Moved to libgreet 2.0 (arguments by name). Rewritten callers:"
    echo
    printf -- '- `%s`\n' "${files[@]#./}"
  } >"$output/summary.md"
fi
