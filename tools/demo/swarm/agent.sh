#!/usr/bin/env bash
# The agent of swarm.yaml: a script that plays a few agents, good ones and careless ones.
set -euo pipefail
facet=$(sed -n 's/.*"facet": "\([^"]*\)".*/\1/p' "$MUSTER_CONTEXT_FILE")
feedback=${MUSTER_FEEDBACK_FILE:-/dev/null}
note() { sed -i "1a - $1" CHANGELOG.md; }  # all write the same line: Muster unites changelogs

case "$facet" in
  library)
    sed -i 's/^greet() {/&\n  [ "$1" != --name ] || shift/' lib/greet.sh
    note "greet takes --name" ;;
  strict)
    sed -i 's/\[ "$1" != --name \] || shift/[ "$1" = --name ] || { echo "greet: no --name" >\&2; exit 1; }\n  shift/' lib/greet.sh
    note "greet without --name is refused" ;;
  *)
    word=--name
    # A careless agent: what it made breaks the tests of the whole, so it is found, sent back, and told.
    if [ "$facet" = parcel ] && ! grep -q 'services failed' "$feedback"; then word=--nmae; fi
    sed -i "s/greet \"/greet $word \"/" "services/$facet"/*.sh
    note "$facet names the argument of greet"
    # Some also write one line that others write too: who comes second conflicts, and does it again.
    case "$facet" in api|cart|orders) sed -i "s/^Moved:.*/& $facet/" services/README.md ;; esac ;;
esac
git --no-pager diff --stat
