#include "engine/core/rehearse.hpp"

#include "engine/core/archive.hpp"
#include "engine/core/limits.hpp"

namespace muster::engine {

namespace {

/// Committed rows. What can't be read ends the rehearsal.
class CommittedRows : public RowReader {
 public:
  CommittedRows(const storage::Journal& journal, const ActorId& actor)
      : journal_(journal), actor_(actor) {}

  std::optional<std::string> row(std::string_view key) override {
    auto found = find_row(journal_, actor_, key);
    if (!found) throw std::runtime_error(found.error().message);
    return std::move(*found);
  }
  std::vector<std::pair<std::string, std::string>> rows(std::string_view lower,
                                                        std::string_view upper,
                                                        std::size_t limit) override {
    std::vector<std::pair<std::string, std::string>> found;
    if (limit == 0) return found;
    const auto read = find_rows(journal_, actor_, lower, upper,
                                [&](std::string_view name, std::string_view value) {
                                  found.emplace_back(name, value);
                                  return found.size() < limit;
                                });
    if (!read) throw std::runtime_error(read.error().message);
    return found;
  }

 private:
  const storage::Journal& journal_;
  const ActorId& actor_;
};

}  // namespace

Result<Decision> rehearse(const Journals& journals, const KindOps& kind, const ActorLook& actor,
                          const Payload& payload, Instant now) {
  auto state = kind.decode_state(actor.state);
  if (!state) return tl::unexpected<Error>(state.error());
  Envelope message;
  message.to = actor.id;
  message.lane = Lane::operator_;
  message.payload = payload;
  CommittedRows rows(journal_of(journals, actor.id), actor.id);
  const ShardLimits limits;
  Context ctx(actor.id, message, now, rows, limits.decision);
  try {
    if (auto ok = kind.step(state->get(), payload, ctx); !ok)
      return tl::unexpected<Error>(ok.error());
  } catch (const std::exception& thrown) {
    return fail(Errc::internal, std::string("the step would fail: ") + thrown.what());
  }
  if (kind.encode_state(state->get()).size() > limits.state_bytes)
    return fail(Errc::internal,
                "the state would be larger than " + std::to_string(limits.state_bytes) + " bytes");
  return ctx.take();
}

}  // namespace muster::engine
