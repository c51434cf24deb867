// What a shell's completion asks for while a person waits for the Tab key.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <string_view>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kNamesShown = 200;
constexpr std::chrono::milliseconds kNamesLimit{1500};

struct NameSource {
  const char* kind;
  const char* path;
  const char* list;
  const char* key;
};
constexpr NameSource kSources[] = {{"fleet", "/v1/fleets", "fleets", "name"},
                                   {"swarm", "/v1/swarms", "swarms", "name"},
                                   {"run", "/v1/runs", "runs", "id"},
                                   {"pr", "/v1/pulls?state=open", "pulls", "id"},
                                   {"host", "/v1/hosts", "hosts", "name"}};

/// The shell splits and expands what it is told: what is not plainly a word is left out.
bool is_word(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-._/#@+:,").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

}  // namespace

int print_names(Context& context, const std::string& kind) {
  for (const NameSource& source : kSources) {
    if (kind != source.kind) continue;
    const auto client = context.client();
    if (!client) return kExitSomeFailed;
    const auto until = std::chrono::steady_clock::now() + kNamesLimit;
    (*client)->set_interrupt([until] { return std::chrono::steady_clock::now() > until; });
    const auto found = (*client)->all(source.path, source.list, kNamesShown);
    if (!found) return kExitSomeFailed;
    for (const Json& one : *found)
      if (const std::string name = str(one, source.key); is_word(name))
        context.out() << name << "\n";
    return 0;
  }
  return kExitUsage;
}

}  // namespace muster::cli
