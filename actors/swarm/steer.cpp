// What people say to agents. A message is kept for ever: runs that begin are given it, and those
// that work are told by their run, which sends it to the sandbox and gives it to the next attempts.
#include <cstdio>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/life.hpp"

namespace muster::actors {

using fbs::FacetState;

namespace {

std::string message_key(std::uint32_t number) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06u", number);
  return std::string(swarm::kMessagePrefix) + digits;
}

fbs::SteerRunT told(const fbs::MessageRowT& row) {
  fbs::SteerRunT message;
  message.number = row.number;
  message.by = row.by;
  message.text = row.text;
  message.at_unix_ms = row.at_unix_ms;
  return message;
}

/// Runs at work for a facet.
std::vector<std::string> runs_of(const fbs::FacetRowT& row) {
  std::vector<std::string> runs;
  for (const auto& candidate : row.candidates)
    if (candidate && !candidate->over) runs.push_back(candidate->run);
  if (row.candidates.empty()) runs.push_back(row.run);
  return runs;
}

}  // namespace

/// Also at the end, where something was rejected: who tries it again is told.
void SwarmLife::on(const fbs::SteerSwarmT& m) {
  if (gone()) return;
  if (ended() && in(FacetState::rejected) == 0)
    return ctx_.refuse(Errc::refused,
                       "swarm " + name() + " has ended, and nothing of it can be tried again");
  if (m.text.empty() || m.text.size() > swarm::kMessageBytes)
    return ctx_.refuse(Errc::invalid,
                       "a message has 1 to " + std::to_string(swarm::kMessageBytes) + " bytes");
  if (s_.messages >= swarm::kMaxMessages)
    return ctx_.refuse(Errc::overloaded, "swarm " + name() + " was told " +
                                             std::to_string(swarm::kMaxMessages) +
                                             " messages, and takes no more");
  if (!m.facet.empty()) {
    bool known = false;
    for (const auto& [key, bytes] : ctx_.rows(swarm::kFacetPrefix, swarm::kFacetEnd, s_.loaded))
      known = known || must_decode<fbs::FacetRowT>(bytes).id == m.facet;
    if (!known) return ctx_.refuse(Errc::not_found, "swarm " + name() + " has no facet " + m.facet);
  }
  fbs::MessageRowT row;
  row.number = s_.messages++;
  row.by = one_line(m.by, swarm::kWhyBytes);
  row.text = m.text;
  row.facet = m.facet;
  row.at_unix_ms = now();
  ctx_.put_row(message_key(row.number), engine::encode_table(row));
  ctx_.audit(m.by, "swarm.steer", one_line(m.text, swarm::kWhyBytes));
  if (!s_.steer_page && !ended() && !s_.stopping) {
    s_.steer_page = true;
    s_.steer_first = row.number;
    s_.steer_from = 0;
  }
  ctx_.reply("");
}

/// What a run of this facet shall know; of no facet: what was said to all.
std::vector<std::unique_ptr<fbs::SteerRunT>> SwarmLife::messages_for(const std::string& facet) {
  std::vector<std::unique_ptr<fbs::SteerRunT>> all;
  if (s_.messages == 0) return all;
  for (const auto& [key, bytes] : ctx_.rows(message_key(0), "message0", swarm::kMaxMessages)) {
    const auto row = must_decode<fbs::MessageRowT>(bytes);
    if (row.facet.empty() || row.facet == facet)
      all.push_back(std::make_unique<fbs::SteerRunT>(told(row)));
  }
  if (all.size() > swarm::kMessagesTold)
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(swarm::kMessagesTold));
  return all;
}

/// One message after the other to all runs at work, in pages. A run that began meanwhile knows it
/// already; the same number twice is one message.
void SwarmLife::tell_runs() {
  if (!s_.steer_page || s_.stopping) return;
  const auto row = must_decode<fbs::MessageRowT>(ctx_.row(message_key(s_.steer_first)).value());
  std::size_t tells = 0, looked = 0;
  for (; s_.steer_from < s_.loaded && tells < swarm::kTellsPerStep && looked < swarm::kPage;
       ++s_.steer_from, ++looked) {
    const fbs::FacetRowT at = facet(s_.steer_from);
    if (at.state != FacetState::working || (!row.facet.empty() && row.facet != at.id)) continue;
    for (const std::string& run : runs_of(at)) {
      fbs::TellRunT tell;
      tell.run = run;
      tell.message = std::make_unique<fbs::SteerRunT>(told(row));
      ctx_.send<Fleet>(name(), tell);
      ++tells;
    }
  }
  if (s_.steer_from >= s_.loaded) {
    s_.steer_from = 0;
    s_.steer_page = ++s_.steer_first < s_.messages;
  }
  if (s_.steer_page) more_ = true;
}

}  // namespace muster::actors
