// Prints the OCI configuration that sandboxd would give to runc, for a shell loop that wants the same isolation:
//
//   oci-config ROOT ID ROOTFS AGENT_DIR COMMAND
//
// Mounts and cgroup are those of sandbox ID below ROOT; COMMAND replaces muster-init and is run by bash in /work.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "sandboxd/plan.hpp"

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: oci-config ROOT ID ROOTFS AGENT_DIR COMMAND\n";
    return 2;
  }
  using namespace muster;
  sandbox::PlanFacts facts;
  facts.paths.root = argv[1];
  facts.cgroup_parent = "muster-bench";
  facts.uid_base = 1u << 30;
  facts.rootfs = argv[3];
  facts.agent_dir = argv[4];
  facts.has_opt = true;
  wire::SandboxSpecT spec;
  spec.run = argv[2];
  spec.attempt = 1;
  spec.memory_bytes = 2ull << 30;
  spec.disk_bytes = 4ull << 30;
  const sandbox::Places places(facts.paths, spec.run + "-1");
  facts.objects = places.in();
  auto config = nlohmann::ordered_json::parse(sandbox::oci_config(spec, facts));
  config["process"]["args"] = {"/bin/bash", "-eo", "pipefail", "-c", argv[5]};
  config["process"]["cwd"] = "/work";
  config["process"]["env"] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/home/agent",
                              "TMPDIR=/tmp", "CI=true", "MUSTER_AGENT_DIR=/muster/agent",
                              "MUSTER_ATTEMPT=2", "MUSTER_OUTPUT=/muster/out"};
  std::cout << config.dump() << "\n";
}
