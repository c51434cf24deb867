// A host of its own for each test: a root directory, a bare repository, a spec to change. Everything is taken down at
// the end, and what should not be left is looked for.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "sandboxd/attempt.hpp"
#include "storage/base/files.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox::test {

namespace fs = std::filesystem;

/// Runs a shell script and returns what it printed; the test fails when it does.
inline std::string shell(const std::string& script, const fs::path& directory = "/") {
  ProcessSpec spec;
  spec.argv = {"bash", "-euo", "pipefail", "-c", script};
  spec.env = git_environment();
  for (const char* who : {"AUTHOR", "COMMITTER"}) {
    spec.env["GIT_" + std::string(who) + "_NAME"] = "Test";
    spec.env["GIT_" + std::string(who) + "_EMAIL"] = "test@localhost";
    spec.env["GIT_" + std::string(who) + "_DATE"] = "2026-01-02T03:04:05Z";
  }
  spec.directory = directory.string();
  auto out = run_checked(spec);
  INFO(script);
  if (!out) FAIL(out.error().message);
  while (!out->empty() && out->back() == '\n') out->pop_back();
  return *out;
}

class Sandboxes {
 public:
  Sandboxes() {
    std::string name = "/tmp/muster-test.XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root_ = name;
    fs::permissions(root_, fs::perms(0711));
    make_repository();
    open();
  }
  ~Sandboxes() {
    for (const auto& id : host_->ops.leftovers()) (void)host_->ops.teardown(id, true);
    (void)host_->ops.cgroups().remove(host_->ops.cgroup_parent());
    (void)remove_tree(root_);
  }

  void open() { open(config()); }
  void open(HostConfig settings) {
    auto host = Host::open(std::move(settings));
    if (!host) FAIL(host.error().message);
    host_ = std::move(*host);
  }
  [[nodiscard]] HostConfig config() const {
    HostConfig config;
    config.paths = Paths{root_ / "host"};
    config.muster_init = MUSTER_INIT;
    config.image_directories = {root_ / "images"};
    return config;
  }
  Host& host() { return *host_; }
  [[nodiscard]] const fs::path& root() const { return root_; }
  [[nodiscard]] fs::path repository() const { return root_ / "acme/api.git"; }
  [[nodiscard]] std::string base() const { return shell("git rev-parse main", repository()); }

  /// One step "agent" that runs `script`; limits that no honest test meets.
  [[nodiscard]] wire::SandboxSpecT spec(const std::string& script) const {
    wire::SandboxSpecT spec;
    spec.run = "0123456789ABC";
    spec.attempt = 1;
    spec.fleet = "test";
    spec.repository = "acme/api";
    spec.url = repository().string();
    spec.branch = "muster/test";
    spec.image = "host";
    spec.memory_bytes = 512u << 20;
    spec.disk_bytes = 1u << 30;
    spec.prompt = "do it";
    spec.context_json = "{}";
    spec.max_log_bytes = 16u << 20;
    spec.max_pack_bytes = 16u << 20;
    spec.max_artifact_bytes = 16u << 20;
    spec.commit = std::make_unique<wire::CommitT>();
    spec.commit->message = "Do it\n\nMuster-Fleet: test\nMuster-Run: 0123456789ABC\n";
    spec.commit->author_name = "Muster";
    spec.commit->author_email = "muster@localhost";
    spec.commit->date_unix_ms = 1'790'000'000'000;
    add_step(spec, "agent", script);
    return spec;
  }
  static wire::StepT& add_step(wire::SandboxSpecT& spec, const std::string& name,
                               const std::string& script) {
    auto step = std::make_unique<wire::StepT>();
    step->name = name;
    step->argv = {"bash", "-eo", "pipefail", "-c", script};
    step->timeout_ms = 60'000;
    spec.steps.push_back(std::move(step));
    return *spec.steps.back();
  }

  /// Runs it; `log` gets the text that its steps printed.
  wire::AttemptReportT run(const wire::SandboxSpecT& spec, unsigned slot = 0,
                           const std::optional<WarmSandbox>& warm = std::nullopt) {
    std::string stream;
    log.clear();
    auto report = run_attempt(*host_, spec, [&](std::string_view piece) { stream += piece; }, slot, warm);
    std::string_view rest = stream;
    for (LogFrame frame; take_log_frame(rest, frame).value_or(false);)
      if (frame.type == LogType::out || frame.type == LogType::err) log += frame.bytes;
    return report;
  }

  /// Nothing but what is kept for the engine is left of `id`.
  void require_gone(const std::string& id) {
    const Places places(host_->config.paths, id);
    CHECK_FALSE(host_->ops.alive(id));
    CHECK_FALSE(fs::exists(places.run));
    CHECK_FALSE(fs::exists(places.writable()));
    CHECK(mounts_below(root_).empty());
    CHECK_FALSE(fs::exists(host_->config.paths.runtime() / "runc" / id));
    for (const auto& name : host_->ops.cgroups().children(host_->ops.cgroup_parent())) CHECK(name != id);
  }

  std::string log;

 private:
  void make_repository() {
    shell("mkdir -p acme work && cd work && git init -q -b main . && echo one > a.txt && mkdir lib && "
          "echo two > lib/b.txt && printf '#!/bin/sh\\n' > run.sh && chmod +x run.sh && "
          "echo '*.log' > .gitignore && git add . && git commit -qm first && "
          "git clone -q --bare . ../acme/api.git && rm -rf ../work",
          root_);
  }
  fs::path root_;
  std::unique_ptr<Host> host_;
};

/// "outcome(reason) step=exit/reason …": what a test compares.
inline std::string brief(const wire::AttemptReportT& report) {
  std::string text = wire::EnumNameOutcome(report.outcome);
  if (!report.reason.empty()) text += "(" + report.reason + ")";
  for (const auto& step : report.steps) {
    text += " " + step->name + "=" + std::to_string(step->exit_code);
    if (!step->reason.empty()) text += "/" + step->reason;
  }
  return text;
}

}  // namespace muster::sandbox::test
