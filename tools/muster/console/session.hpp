// One console: lines in, text out, over one connection. The same for the prompt, for --exec and for
// tests.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/muster/console/complete.hpp"
#include "tools/muster/console/doc.hpp"
#include "tools/muster/console/form.hpp"
#include "tools/muster/console/top_view.hpp"
#include "tools/muster/context.hpp"

namespace muster::cli::console {

class Session {
 public:
  explicit Session(Context& context) : context_(context) {}

  /// Without it, a script: what would be asked must stand in the line.
  void set_ask(Ask ask) { ask_ = std::move(ask); }

  /// Runs one line; the exit code. Problems go to the error stream.
  int run(const std::string& line);
  [[nodiscard]] bool wants_to_quit() const { return quit_; }

  /// What completion asks: from the engine, at most kNames of each sort, and remembered for a
  /// moment.
  std::vector<std::string> names(Takes takes, const std::string& of, const std::string& prefix);

  static constexpr std::size_t kNames = 50;

 private:
  using Render = std::function<std::string(const Doc&)>;

  Answer<Doc> get(const std::string& path);
  int show(const std::string& path, const Render& render);
  int dispatch(const Line& line);
  int show_actors(const Line& line);
  Answer<std::vector<std::string>> meant(const Line& line, bool& more);
  int journal(const Line& line);
  // follow.cpp
  int follow(const Line& line);
  // orders.cpp
  int order(const Line& line);
  int send(const Line& line);
  std::optional<std::string> reason_of(const Line& line);
  bool confirmed(const Line& line, const std::string& question);
  Answer<Doc> fields_of(const Line& line);
  int carry_out(const Line& line, const std::string& path, Doc body, const Render& render);
  Answer<Doc> post(const std::string& path, const Doc& body);
  // care.cpp
  int care(const Line& line);
  int verify();
  // swarms.cpp
  std::optional<int> of_swarms(const Line& line);
  int steer(const Line& line);
  // top.cpp
  int top();
  TopData picture(TopPanel panel);

  Context& context_;
  Ask ask_;
  bool quit_ = false;
};

/// "/v1/actors/run/ER8SXG", from "run/ER8SXG". Errc::invalid says how an actor is named.
Result<std::string> actor_path(const std::string& actor);

/// `muster console`: the prompt, or the given lines one after the other until one fails.
int run_console(Context& context, const std::vector<std::string>& lines);

}  // namespace muster::cli::console
