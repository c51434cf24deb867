#include "tools/musterd/exec_sessions.hpp"

#include <algorithm>

#include "tools/musterd/web_socket.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxExecNote = 2048;  // Of a command in the audit log.
constexpr std::size_t kMaxExecArgs = 1024;
constexpr Duration kExecOpenWithin{30'000};

/// A number member up to `max`; absent: 0.
Result<std::uint64_t> exec_number(const Json& object, const char* key, std::uint64_t max) {
  const auto found = object.find(key);
  if (found == object.end()) return 0;
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > max)
    return fail(Errc::invalid, std::string(key) + " must be a number up to " + std::to_string(max));
  return found->get<std::uint64_t>();
}

Result<void> read_exec_words(const Json& object, wire::ExecOpenT& open) {
  const auto argv = object.find("argv");
  if (argv == object.end() || !argv->is_array() || argv->empty() || argv->size() > kMaxExecArgs)
    return fail(Errc::invalid,
                "argv must be a list of 1 to " + std::to_string(kMaxExecArgs) + " texts");
  for (const auto& arg : *argv) {
    if (!arg.is_string()) return fail(Errc::invalid, "argv must be a list of texts");
    open.argv.push_back(arg.get<std::string>());
  }
  const auto env = object.find("env");
  if (env == object.end()) return {};
  if (!env->is_object()) return fail(Errc::invalid, "env must be an object of texts");
  for (const auto& [name, value] : env->items()) {
    if (!value.is_string()) return fail(Errc::invalid, "env." + name + " must be text");
    open.env.push_back(std::make_unique<wire::KeyValueT>());
    open.env.back()->key = name;
    open.env.back()->value = value.get<std::string>();
  }
  return {};
}

Result<wire::ExecOpenT> read_exec_open(const Json& object) {
  static constexpr const char* kKeys[] = {"type",         "argv",       "env",
                                          "workdir",      "tty",        "columns",
                                          "rows",         "timeout_ms", "max_output_bytes",
                                          "memory_bytes", "cpu_ms"};
  for (const auto& [key, value] : object.items())
    if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys))
      return fail(Errc::invalid, "unknown key \"" + key + "\"");
  wire::ExecOpenT open;
  if (auto read = read_exec_words(object, open); !read) return tl::unexpected<Error>(read.error());
  const auto workdir = read_text(object, "workdir");
  if (!workdir) return tl::unexpected<Error>(workdir.error());
  open.workdir = *workdir;
  const auto tty = read_flag(object, "tty");
  if (!tty) return tl::unexpected<Error>(tty.error());
  open.tty = *tty;
  constexpr std::uint64_t kMaxTime = 7ull * 24 * 3600 * 1000, kMaxBytes = 1ull << 40;
  const auto columns = exec_number(object, "columns", 4096), rows = exec_number(object, "rows", 4096);
  const auto timeout = exec_number(object, "timeout_ms", kMaxTime),
             cpu = exec_number(object, "cpu_ms", kMaxTime);
  const auto output = exec_number(object, "max_output_bytes", kMaxBytes);
  const auto memory = exec_number(object, "memory_bytes", kMaxBytes);
  for (const auto* number : {&columns, &rows, &timeout, &cpu, &output, &memory})
    if (!*number) return tl::unexpected<Error>(number->error());
  open.columns = static_cast<std::uint16_t>(*columns);
  open.rows = static_cast<std::uint16_t>(*rows);
  open.timeout_ms = static_cast<std::int64_t>(*timeout);
  open.cpu_ms = static_cast<std::int64_t>(*cpu);
  open.max_output_bytes = *output;
  open.memory_bytes = *memory;
  return open;
}

}  // namespace

/// Everything but stop() on the session's own thread.
class ExecSessions::Session : public std::enable_shared_from_this<ExecSessions::Session> {
 public:
  Session(const ApiContext& api, Request request, actors::ExecPlace place)
      : api_(api), request_(std::move(request)), place_(std::move(place)) {}

  void run(Fd socket) {
    auto accepted = WebSocket::accept(std::move(socket), request_);
    if (!accepted) return;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      socket_ = accepted->get();
    }
    opened_by_ = api_.view.now() + kExecOpenWithin;
    WebSocket::Events events;
    events.message = [this](bool text, std::string bytes) { message(text, std::move(bytes)); };
    events.tick = [this] { check(); };
    (*accepted)->run(std::move(events));
    {
      const std::lock_guard lock(mutex_);
      socket_ = nullptr;
    }
    if (exec_ == 0) return;
    api_.parts.execs->abandon(exec_);
    exec_ = 0;
    note_end("its client is gone");
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (socket_ != nullptr) socket_->post([this] { socket_->close(); });
  }

 private:
  /// From the link's threads.
  void later(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (socket_ != nullptr) socket_->post(std::move(task));
  }

  void say(const Json& json) {
    socket_->send(true, json.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  void finish(int exit_code, int signal, const std::string& reason, const std::string& message) {
    say({{"type", "end"},
         {"exit_code", exit_code},
         {"signal", signal},
         {"reason", reason},
         {"message", message}});
    socket_->close();
  }

  void message(bool text, std::string bytes) {
    if (!text) return input(bytes);
    const Json json = Json::parse(bytes, nullptr, false);
    const std::string type = json.is_object() ? json.value("type", Json()).dump() : "";
    if (type == "\"open\"" && !opened_) return open(json);
    if (!opened_)
      return finish(-1, 0, "bad_command", "the first message must be {\"type\": \"open\", …}");
    wire::ExecInputT order;
    if (type == "\"eof\"") {
      eof_ = true;
      return pump();
    }
    if (type == "\"resize\"") {
      const auto columns = exec_number(json, "columns", 4096), rows = exec_number(json, "rows", 4096);
      if (!columns || !rows) return;
      order.columns = static_cast<std::uint16_t>(*columns);
      order.rows = static_cast<std::uint16_t>(*rows);
    } else if (type == "\"signal\"") {
      const auto number = exec_number(json, "signal", 64);
      if (!number) return;
      order.signal = static_cast<std::uint8_t>(*number);
    } else {
      return;
    }
    if (exec_ != 0) (void)api_.parts.execs->input(exec_, std::move(order));
  }

  void open(const Json& json) {
    opened_ = true;
    auto open = read_exec_open(json);
    if (!open) return finish(-1, 0, "bad_command", open.error().message);
    const std::string words =
        json.at("argv").dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, kMaxExecNote);
    const std::string how = open->tty ? "with a terminal: " : "";
    if (auto noted =
            note_order(api_, request_, {request_.who.name, "run.exec", place_.run, how + words});
        !noted)
      return finish(-1, 0, "not_audited", noted.error().message);
    auto sink = std::make_shared<actors::ExecSink>();
    const std::weak_ptr<Session> self = weak_from_this();
    sink->credit = [self](std::uint64_t more) {
      if (const auto session = self.lock())
        session->later([session, more] { session->credited(more); });
    };
    sink->output = [self](std::uint8_t stream, std::string bytes) {
      if (const auto session = self.lock())
        session->later(
            [session, stream, bytes = std::move(bytes)] { session->output(stream, bytes); });
    };
    sink->ended = [self](const wire::ExecEndT& end) {
      if (const auto session = self.lock()) session->later([session, end] { session->ended(end); });
    };
    auto exec = api_.parts.execs->open(place_, std::move(*open), std::move(sink));
    if (!exec) {
      note_end(exec.error().message);
      return finish(-1, 0, "not_started", exec.error().message);
    }
    exec_ = *exec;
  }

  void credited(std::uint64_t more) {
    if (!started_) say({{"type", "started"}});
    started_ = true;
    credit_ += more;
    pump();
  }

  void output(std::uint8_t stream, const std::string& bytes) {
    std::string message(1, static_cast<char>(stream));
    message += bytes;
    // Credit only once it is on its way: a client that does not read stops its command.
    socket_->send(false, std::move(message), [this, size = bytes.size()] {
      if (exec_ != 0) api_.parts.execs->credit(exec_, size);
    });
  }

  void ended(const wire::ExecEndT& end) {
    if (exec_ == 0) return;
    exec_ = 0;
    note_end(end.reason.empty() ? "exit " + std::to_string(end.exit_code) : end.reason);
    finish(end.exit_code, end.signal, end.reason, end.message);
  }

  void input(const std::string& bytes) {
    if (bytes.empty() || bytes.front() != 0 || eof_) return;
    pending_.append(bytes, 1);
    pump();
  }

  /// Sends what the host takes; the client waits while something is left.
  void pump() {
    if (exec_ == 0 || !started_) return socket_->pause(!pending_.empty());
    const std::size_t size = std::min<std::uint64_t>(credit_, pending_.size());
    const bool last = eof_ && !eof_sent_ && size == pending_.size();
    if (size > 0 || last) {
      wire::ExecInputT order;
      order.bytes.assign(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(size));
      order.eof = last;
      eof_sent_ = eof_sent_ || last;
      pending_.erase(0, size);
      credit_ -= size;
      (void)api_.parts.execs->input(exec_, std::move(order));
    }
    socket_->pause(!pending_.empty());
  }

  /// Whoever may no longer, is out.
  void check() {
    if (!opened_ && api_.view.now() > opened_by_) return socket_->close();
    if (const auto who = api_.parts.identify(request_); !who || who->role < request_.who.role)
      socket_->close();
  }

  void note_end(const std::string& how) {
    if (!api_.parts.audit) return;
    api_.parts.audit({request_.who.name, request_.who.how, request_.peer.address, "run.exec.end",
                      place_.run, how, "", ""});
  }

  const ApiContext api_;
  const Request request_;
  const actors::ExecPlace place_;
  std::mutex mutex_;
  WebSocket* socket_ = nullptr;  ///< While it runs; under mutex_, but on the own thread.
  bool stopped_ = false;
  std::uint64_t exec_ = 0;
  std::uint64_t credit_ = 0;
  std::string pending_;
  Instant opened_by_;
  bool opened_ = false, started_ = false, eof_ = false, eof_sent_ = false;
};

ExecSessions::~ExecSessions() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& one : all_) one.session->stop();
  }
  for (auto& one : all_) one.thread.join();
}

bool ExecSessions::full() const {
  const std::lock_guard lock(mutex_);
  std::size_t living = 0;
  for (const auto& one : all_) living += one.over ? 0 : 1;
  return living >= kMaxExecSessions;
}

/// Under mutex_.
void ExecSessions::sweep() {
  all_.remove_if([](One& one) {
    if (one.over) one.thread.join();
    return one.over;
  });
}

void ExecSessions::begin(const ApiContext& api, const Request& request, actors::ExecPlace place,
                         Fd socket) {
  const std::lock_guard lock(mutex_);
  sweep();
  if (all_.size() >= kMaxExecSessions) return;
  One& one = all_.emplace_back();
  one.session = std::make_shared<Session>(api, request, std::move(place));
  one.thread = std::thread(
      [this, &one, session = one.session, fd = std::make_shared<Fd>(std::move(socket))] {
        session->run(std::move(*fd));
        const std::lock_guard ending(mutex_);
        one.over = true;
      });
}

namespace {

Result<Response> exec_run(const ApiContext& api, ExecSessions& sessions, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto head = api.view.run_head(*id);
  if (!head) return tl::unexpected<Error>(head.error());
  if (head->state != fbs::RunState::running && head->state != fbs::RunState::verifying)
    return fail(Errc::conflict, "run " + *id + " is " + std::string(name_of(head->state)) +
                                    ": a command runs only in a running sandbox");
  if (api.parts.execs == nullptr) return fail(Errc::unreachable, "no host can be asked here");
  if (!wants_socket(request))
    return fail(Errc::invalid,
                "this address speaks websocket (" + std::string(kExecProtocol) + ")");
  if (sessions.full()) return fail(Errc::overloaded, "too many commands run");
  Response response;
  response.status = 101;
  response.take_over = [api, &sessions, request,
                        place = actors::ExecPlace{head->host, *id, head->attempt}](Fd socket) {
    sessions.begin(api, request, place, std::move(socket));
  };
  return response;
}

}  // namespace

void add_exec_routes(Router& router, ApiContext api, ExecSessions& sessions) {
  router.add({"GET", "/v1/runs/{id}/exec",
              [api, &sessions](const Request& request) { return exec_run(api, sessions, request); },
              0});
}

}  // namespace muster::musterd
