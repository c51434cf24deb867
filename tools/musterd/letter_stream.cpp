#include "tools/musterd/letter_stream.hpp"

#include "tools/musterd/list_stream.hpp"

namespace muster::musterd {

bool LetterSelection::concerns(const engine::DeadLook& dead) const {
  return (kind.empty() || dead.message.to.kind == kind) &&
         (actor.empty() || actor_name(dead.message.to) == actor);
}

bool LetterSelection::takes(const engine::DeadLook& dead) const {
  return concerns(dead) && (state == "all" || letter_state(dead.state) == state);
}

Result<LetterSelection> read_letters(const Request& request) {
  LetterSelection selection{request.parameter("kind"), request.parameter("actor"),
                            request.parameter("state")};
  if (selection.state.empty()) selection.state = "open";
  for (const char* state : {"open", "replayed", "discarded", "all"})
    if (selection.state == state) return selection;
  return fail(Errc::invalid,
              "state=" + selection.state + " is none of open, replayed, discarded, all");
}

namespace {

/// As the selection sees it now.
ListItem render_letter(engine::Inside& inside, const LetterSelection& selection,
                       const Event& event) {
  const engine::Journals journals = inside.journals();
  const std::uint32_t shard = engine::shard_of(journals, event.actor);
  ListItem item = ListItem::other();
  const auto read =
      engine::each_dead_back(*journals[shard], event.letter + 1, [&](const engine::DeadLook& dead) {
        if (dead.message.sequence != event.letter || !selection.concerns(dead)) return false;
        item = selection.takes(dead)
                   ? ListItem::shown(dead_json(shard, dead))
                   : ListItem::left("id", engine::LetterId{shard, event.letter}.to_string());
        return false;
      });
  return read ? item : ListItem::other();
}

}  // namespace

Result<Response> letter_stream(const ApiContext& api, engine::Inside& inside,
                               const Request& request, LetterSelection selection) {
  return list_stream_of(api, request,
                        {[](const Event& event) { return event.letter != 0; },
                         [](const Event& event) {
                           return event.actor.to_string() + " " + std::to_string(event.letter);
                         },
                         [&inside, selection = std::move(selection)](const Event& event) {
                           return render_letter(inside, selection, event);
                         }});
}

}  // namespace muster::musterd
