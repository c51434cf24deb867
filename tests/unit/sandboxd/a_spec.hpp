#pragma once

#include "sandboxd/spec.hpp"

namespace muster::sandbox::test {

inline wire::StepT& add_step(wire::SandboxSpecT& spec, const std::string& name, const std::string& script) {
  spec.steps.push_back(std::make_unique<wire::StepT>());
  auto& step = *spec.steps.back();
  step.name = name;
  step.argv = {"bash", "-eo", "pipefail", "-c", script};
  step.timeout_ms = 60'000;
  return step;
}

/// A spec that every host accepts.
inline wire::SandboxSpecT a_spec() {
  wire::SandboxSpecT spec;
  spec.run = "7K2M4P0Q8RSTV";
  spec.attempt = 1;
  spec.fleet = "libgreet-2";
  spec.repository = "acme/api";
  spec.url = "/srv/git/acme/api.git";
  spec.base_branch = "main";
  spec.branch = "muster/libgreet-2";
  spec.image = "host";
  spec.memory_bytes = 2ull << 30;
  spec.disk_bytes = 4ull << 30;
  spec.prompt = "Move";
  spec.context_json = "{}";
  spec.max_log_bytes = 64u << 20;
  spec.max_pack_bytes = 64u << 20;
  spec.max_artifact_bytes = 64u << 20;
  spec.commit = std::make_unique<wire::CommitT>();
  spec.commit->message = "Move\n";
  spec.commit->author_name = "Muster";
  spec.commit->author_email = "muster@localhost";
  spec.commit->date_unix_ms = 1'790'000'000'000;
  add_step(spec, "agent", "./bump.sh");
  return spec;
}

}  // namespace muster::sandbox::test
