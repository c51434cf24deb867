// What `muster fleet init` writes. A test validates it.
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

}  // namespace muster::cli
