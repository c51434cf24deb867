#!/usr/bin/env bash
# The repositories of tools/dev/make-repos, and the agent tools/demo/bump.sh run by hand in each shape: the tests
# pass before, fail when only the library is replaced, and pass after the move.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 MUSTER_OUTPUT=$work/output
mkdir "$MUSTER_OUTPUT"
fail() { echo "FAILED: $1" >&2; exit 1; }

# What tools/demo/fleet.yaml verifies.
verify() (
  cd "$1"
  if [ -e package.json ]; then sh test/run.sh
  elif [ -e CMakeLists.txt ]; then cmake -S . -B build && cmake --build build && ctest --test-dir build
  elif [ -e pyproject.toml ]; then sh tests/run.sh
  else make check
  fi
) >"$work/verify.log" 2>&1
# The same where neither node nor python3 is installed.
verify_plain() (
  cd "$1"
  mkdir -p "$work/bin"
  for tool in sh perl find dirname; do ln -sf "$(command -v $tool)" "$work/bin/$tool"; done
  PATH=$work/bin
  if [ -e package.json ]; then sh test/run.sh; else sh tests/run.sh; fi
) >"$work/verify.log" 2>&1
bump() (cd "$1" && "$top/tools/demo/bump.sh") >"$work/bump.log" 2>&1
clone() { rm -rf "$work/clone"; git clone -q "$1" "$work/clone"; }

"$top/tools/dev/make-repos" "$work/repos" 25
"$top/tools/dev/make-repos" "$work/again" 25
names=$(ls "$work/repos/acme")
[ "$(wc -l <<<"$names")" = 25 ] || fail "there are not 25 repositories"
for name in $names; do
  one=$(git -C "$work/repos/acme/$name" for-each-ref)
  [ "$one" = "$(git -C "$work/again/acme/$name" for-each-ref)" ] || fail "$name is not always the same"
  git -C "$work/repos/acme/$name" fsck --strict --no-progress 2>/dev/null || fail "$name is unsound"
  [ "$(git -C "$work/repos/acme/$name" rev-list --count main)" -ge 3 ] || fail "$name has no history"
  git -C "$work/repos/acme/$name" rev-parse -q --verify release-1 >/dev/null || fail "$name has no branches"
  [ -n "$(git -C "$work/repos/acme/$name" tag)" ] || fail "$name has no tag"
done
if "$top/tools/dev/make-repos" "$work/repos" 25 2>/dev/null; then fail "it wrote over what is there"; fi

for shape in npm cmake python plain; do
  repository=$(ls -d "$work/repos/acme/"????-$shape.git | head -n 1)
  clone "$repository"
  verify "$work/clone" || { cat "$work/verify.log"; fail "$shape: the tests don't pass before the move"; }

  case $shape in cmake) kind=c ;; npm) kind=js ;; plain) kind=sh ;; *) kind=python ;; esac
  cp -R "$top/tools/demo/libgreet-2.0/$kind/." "$work/clone/vendor/libgreet/"
  if verify "$work/clone"; then fail "$shape: the tests pass though no caller was moved"; fi
  case $shape in npm | python)
    if verify_plain "$work/clone"; then fail "$shape: the plain check passes though no caller was moved"; fi ;;
  esac
  git -C "$work/clone" checkout -q -f .

  bump "$work/clone" || { cat "$work/bump.log"; fail "$shape: the agent fails"; }
  verify "$work/clone" || { cat "$work/verify.log"; git -C "$work/clone" diff; fail "$shape: the tests fail after the move"; }
  case $shape in npm | python)
    verify_plain "$work/clone" || { cat "$work/verify.log"; fail "$shape: the plain check fails after the move"; } ;;
  esac
  [ "$(git -C "$work/clone" status --porcelain | wc -l)" -ge 4 ] || fail "$shape: hardly anything changed"
  git -C "$work/clone" diff | grep -q '^+.*2\.0\.0' || fail "$shape: the manifest was not raised"
  grep -q 'libgreet 2.0' "$MUSTER_OUTPUT/summary.md" || fail "$shape: no summary"

  git -C "$work/clone" add -A
  before=$(git -C "$work/clone" write-tree)
  bump "$work/clone" && git -C "$work/clone" add -A
  [ "$before" = "$(git -C "$work/clone" write-tree)" ] || fail "$shape: a second move changes something"
  echo "$shape: moved"
done

clone "$work/repos/acme/"*-tests-break.git
verify "$work/clone" || fail "tests-break: broken before the move"
bump "$work/clone" || fail "tests-break: the agent fails"
if verify "$work/clone"; then fail "tests-break: the tests still pass"; fi

clone "$work/repos/acme/"*-already-moved.git
verify "$work/clone" || fail "already-moved: the tests fail"
bump "$work/clone" || fail "already-moved: the agent fails"
[ -z "$(git -C "$work/clone" status --porcelain)" ] || fail "already-moved: something changed"

git -C "$work/repos/acme/"*-branch-taken.git rev-parse -q --verify muster/libgreet-2 >/dev/null ||
  fail "branch-taken: the branch is free"

clone "$work/repos/acme/"*-first-attempt-dies.git
if MUSTER_ATTEMPT=1 bump "$work/clone" 2>/dev/null; then fail "first-attempt-dies: it lives"; fi
[ -z "$(git -C "$work/clone" status --porcelain)" ] || fail "first-attempt-dies: something changed"
MUSTER_ATTEMPT=2 bump "$work/clone" || fail "first-attempt-dies: the second attempt dies too"
verify "$work/clone" || fail "first-attempt-dies: the tests fail after the move"

clone "$work/repos/acme/"*-agent-hangs.git
status=0
(cd "$work/clone" && timeout 1 "$top/tools/demo/bump.sh") >/dev/null || status=$?
[ "$status" = 124 ] || fail "agent-hangs: it ended with $status"
echo "trouble: as wanted"
