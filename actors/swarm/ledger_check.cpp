#include "actors/swarm/ledger_check.hpp"

#include "actors/ports/git_local.hpp"
#include "actors/ports/git_names.hpp"
#include "actors/swarm/ledger_proof.hpp"

namespace muster::actors::swarm {

Result<LineProof> prove_line(const LineClaim& claim, const std::filesystem::path& scratch) {
  const auto address = parse_address(claim.url);
  if (!address) return tl::unexpected<Error>(address.error());
  const auto repository = git::LocalRepository::open(address->path);
  if (!repository) return tl::unexpected<Error>(repository.error());
  const auto branch = repository->refs().read(claim.green_branch);
  if (!branch) return tl::unexpected<Error>(branch.error());
  LineProof proof;
  proof.deliverable = branch->value_or(claim.green);
  if (claim.moving) proof.deliverable = claim.green;  // of what is under way nothing is claimed yet
  Drivers drivers = usual_drivers();
  drivers.declared = claim.declared;
  const auto facts = read_line(repository->objects_path(), scratch, claim.begin, proof.deliverable,
                               std::move(drivers));
  if (!facts) return tl::unexpected<Error>(facts.error());
  proof.merges = facts->line.size();
  proof.findings = audit(claim.ledger, *facts);
  if (proof.deliverable != claim.green)
    proof.findings.push_back({FindingKind::broken, proof.deliverable,
                              "the branch is not where the swarm left it, at " + claim.green});
  return proof;
}

}  // namespace muster::actors::swarm
