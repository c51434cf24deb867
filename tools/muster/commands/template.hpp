// What `muster fleet init` and `muster swarm init` write. A test validates them.
#pragma once

#include <string_view>

namespace muster::cli {

inline constexpr std::string_view kFleetTemplate =
    R"(# yaml-language-server: $schema=https://muster.dev/schema/fleet.schema.json
# A fleet: one intent over many repositories. Check it with: muster fleet validate fleet.yaml
version: 1
name: my-fleet                     # its identity: the same name with the same content continues
prompt: |
  Say here what should be different afterwards. The agent reads it in $MUSTER_PROMPT_FILE,
  and it is quoted in every pull request.

repositories:                      # the union; paths are relative to this file
  - path: /srv/git/*.git           # a path or a glob
  # - file: repos.txt              # one path or URL a line, # begins a comment
  # - url: https://git.example.org/acme/api.git
  #   base_branch: main            # default: the remote's HEAD
exclude: []                        # globs over OWNER/NAME: ["acme/legacy-*"]

environment:
  image: host                      # devcontainer | env:NAME | dir:PATH | oci:PATH[:TAG] | docker://HOST/NAME[:TAG]
  setup: []                        # commands before the agent
  env: {}
  secrets: []                      # names in the host's secrets directory
  network: none                    # none | host
  resources: {cpus: 1, memory: 2GiB, pids: 512, disk: 4GiB}

agent:
  run: "true"                      # text for bash, or a list of words; ./script.sh here travels
  files: []                        # what else travels: $MUSTER_AGENT_DIR/PATH
  timeout: 20m
  idle_timeout: 10m

verify: []                         # all that apply must pass
  # - {name: tests, run: npm test, if_exists: package.json, timeout: 10m}

rollout:
  waves: [5, 10%, 100%]            # cumulative
  concurrency: 50
  halt: {failure_rate: 20%, min_runs: 10}
  retry: {max_attempts: 3, on: [infrastructure, agent, verification], backoff: 10s, max_backoff: 5m}
  timeout: 24h

delivery:
  mode: pull_request               # pull_request | branch | none
  branch: muster/my-fleet
  conflict_strategy: skip          # skip | replace
  commit: {message: Describe the change, author: Muster <muster@localhost>}
  pull_request: {title: "", body: "", draft: false}
)";

inline constexpr std::string_view kSwarmTemplate =
    R"(# yaml-language-server: $schema=https://muster.dev/schema/swarm.schema.json
# A swarm: many agents on facets of one outcome, merged into one pull request per repository.
# Check it with: muster swarm validate swarm.yaml
version: 1
name: my-swarm                     # its identity: the same name with the same content continues
prompt: |
  Say here what should be there in the end. Every agent reads it, and it is quoted in the pull request.

repositories:                      # on musterd's machine; paths are relative to this file
  - {id: api, path: /srv/git/acme/api.git}

agent:
  run: "true"                      # text for bash, or a list of words; ./script.sh here travels
  files: []                        # what else travels: $MUSTER_AGENT_DIR/PATH

environment:                       # of every run: agents, verifications, and those that judge or resolve
  image: host                      # devcontainer | env:NAME | dir:PATH | oci:PATH[:TAG] | docker://HOST/NAME[:TAG]
  setup: []                        # commands before each
  env: {}
  secrets: []                      # names in the host's secrets directory
  network: none                    # none | host
  resources: {cpus: 1, memory: 2GiB, pids: 512, disk: 4GiB}

shared: [CHANGELOG.md]             # any facet may change these
verify: []                         # on the merged tree; all must pass
  # - {name: tests, run: npm test, timeout: 10m}

facets:                            # or {run: a command that prints this list}
  - id: first
    task: Say what its agent shall do.
    scope: [src/first/**]          # the only paths that it may change, beside the shared ones
  - id: second
    task: Say what the next one shall do.
    scope: [src/second/**]
    needs: [first]                 # it begins when that one is merged
    # verify: [{name: tests, run: npm test}]           # on its own tree
    # best_of: {agents: 3, score: {run: ./score.sh}}   # three try, the best is kept
    # planner: {rounds: 2}                             # it plans facets within its scope instead
    budget: {attempts: 3, timeout: 20m}

limits:
  agents: 20                       # at work at once
  conflicts: 3                     # so often a facet is sent back; then it is a person's
  batch: 20                        # merged and verified together
  stall: 2h                        # without a merge for so long it stops
  timeout: 24h
)";

}  // namespace muster::cli
