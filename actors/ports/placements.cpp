#include "actors/ports/placements.hpp"

#include "actors/common.hpp"
#include "actors/host/host.hpp"
#include "actors/run/run.hpp"
#include "storage/runlog/runlog.hpp"

namespace muster::actors {

namespace {

/// Absent, unreadable and invalid are one: nothing may be concluded from it.
template <class T>
std::optional<T> decoded(const Result<std::optional<std::string>>& bytes) {
  if (!bytes || !*bytes) return std::nullopt;
  auto table = engine::decode_table<T>(**bytes);
  if (!table) return std::nullopt;
  return std::move(*table);
}

}  // namespace

engine::ActorId Placements::host_actor(const std::string& name) const {
  return {org_, std::string(Host::kName), name};
}

engine::ActorId Placements::run_actor(const std::string& run) const {
  return {org_, std::string(Run::kName), run};
}

std::optional<fbs::HostHeadT> Placements::host_head(const std::string& name) const {
  return decoded<fbs::HostHeadT>(engine_.head(host_actor(name)));
}

std::optional<fbs::AttemptRowT> Placements::attempt_row(const std::string& run,
                                                        std::uint32_t attempt) const {
  if (!storage::is_log_key({run, attempt})) return std::nullopt;
  return decoded<fbs::AttemptRowT>(engine_.row(run_actor(run), attempt_key(attempt)));
}

bool Placements::is_placed_on(const std::string& host, const std::string& run,
                              std::uint32_t attempt) const {
  if (!storage::is_log_key({run, attempt})) return false;
  const auto head = decoded<fbs::RunHeadT>(engine_.head(run_actor(run)));
  return head && is_on_host(head->state) && head->host == host && head->attempt == attempt;
}

bool Placements::attempt_was_on(const std::string& host, const std::string& run,
                                std::uint32_t attempt) const {
  const auto row = attempt_row(run, attempt);
  return row && row->host == host;
}

}  // namespace muster::actors
