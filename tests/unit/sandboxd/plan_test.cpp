#include "sandboxd/plan.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "sandboxd/init/plan_format.hpp"
#include "sandboxd/seccomp.hpp"
#include "tests/unit/sandboxd/a_spec.hpp"

namespace muster::sandbox::test {

namespace {

using nlohmann::json;

PlanFacts facts() {
  PlanFacts facts;
  facts.paths = Paths{"/r"};
  facts.runtime = "/usr/sbin/runc";
  facts.conmon = "/usr/bin/conmon";
  facts.cgroup_parent = "muster";
  facts.uid_base = 1u << 30;
  facts.rootfs = "/r/var/lib/muster/host/images/host-1";
  facts.objects = "/r/var/lib/muster/host/mirrors/m/objects";
  facts.base_sha = std::string(40, 'a');
  return facts;
}

/// "key=value|…" of muster-init's orders, without the environment.
std::string orders(const wire::SandboxSpecT& spec) {
  const std::string text = init_orders(spec, facts());
  std::string_view rest = text, key, value;
  std::string out;
  while (take_field(rest, key, value))
    if (key != "env") out += std::string(key) + "=" + std::string(value) + "\n";
  CHECK(rest.empty());
  return out;
}

}  // namespace

TEST_CASE("the plan of a sandbox: everything it does to the host, with its undo, the lock-down last") {
  CHECK(transcript(make_plan(a_spec(), facts())) ==
        R"(mkdir /r/run/muster/s/7K2M4P0Q8RSTV-1 0711 0 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1 0711 0 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw 0711 0 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/work 0700 1073742824 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/home 0700 1073742824 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/tmp 0700 1073742824 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/out 0700 1073742824 | rmdir
mkdir /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/out/output 0700 1073742824 | rmdir
symlink /r/run/muster/s/7K2M4P0Q8RSTV-1/ws -> /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/work | unlink
mkdir /r/run/muster/s/7K2M4P0Q8RSTV-1/in 0755 0 | rmdir
write /r/run/muster/s/7K2M4P0Q8RSTV-1/in/prompt.txt 0644 0 | unlink
write /r/run/muster/s/7K2M4P0Q8RSTV-1/in/context.json 0644 0 | unlink
write /r/run/muster/s/7K2M4P0Q8RSTV-1/in/steering.jsonl 0644 0 | unlink
write /r/run/muster/s/7K2M4P0Q8RSTV-1/in/plan 0400 1073742824 | unlink
write /r/run/muster/s/7K2M4P0Q8RSTV-1/config.json 0600 0 | unlink
create 7K2M4P0Q8RSTV-1 | kill, remove its cgroups and the runtime's state
start 7K2M4P0Q8RSTV-1 | kill
)");
}

TEST_CASE("an image without our mount points gets them laid over, and taken off") {
  PlanFacts other = facts();
  other.made_rootfs = false;
  other.rootfs = "/img";
  other.mount_points = "/points";
  const std::string text = transcript(make_plan(a_spec(), other));
  CHECK_THAT(text, Catch::Contains("overlay /points:/img on /r/run/muster/s/7K2M4P0Q8RSTV-1/rootfs | unmount\n"));
  const auto config = json::parse(oci_config(a_spec(), other));
  CHECK(config["root"]["path"] == "/r/run/muster/s/7K2M4P0Q8RSTV-1/rootfs");
  for (const auto& mount : config["mounts"]) CHECK(mount["source"] != "/usr");
}

TEST_CASE("a project quota is set before anything is in the sandbox's disk, with files to its bytes") {
  PlanFacts other = facts();
  other.project_quota = true;
  auto spec = a_spec();
  const std::string rw = "/r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw";
  spec.disk_bytes = 1u << 30;
  CHECK_THAT(transcript(make_plan(spec, other)),
             Catch::Contains("mkdir " + rw + " 0711 0 | rmdir\nproject 1073741824 of 1073741824 bytes, 65536 files in " + rw +
                             " | lift its limits\nmkdir " + rw + "/work"));
  spec.disk_bytes = 64u << 20;
  CHECK_THAT(transcript(make_plan(spec, other)), Catch::Contains("of 67108864 bytes, 16384 files"));
}

TEST_CASE("muster-init's orders: checkout, steps, the commit before the first verification") {
  auto spec = a_spec();
  spec.steps.clear();
  add_step(spec, "setup:1", "make deps");
  add_step(spec, "agent", "./bump.sh").idle_timeout_ms = 5;
  add_step(spec, "verify:tests", "npm test").if_exists = "package.json";
  CHECK(orders(spec) ==
        "work=/work\nobjects=/muster/objects\nout=/muster/out\nmax_pack=67108864\nmax_log=67108864\n"
        "base=" + std::string(40, 'a') +
            "\nbranch=muster/libgreet-2\nurl=/srv/git/acme/api.git\nmessage=Move\n\nauthor_name=Muster\n"
            "author_email=muster@localhost\ndate_s=1790000000\nmanual=0\ncheckout=\n"
            "step=setup:1\nindex=0\narg=bash\narg=-eo\narg=pipefail\narg=-c\narg=make deps\ntimeout_ms=60000\nidle_ms=0\n"
            "step=agent\nindex=1\narg=bash\narg=-eo\narg=pipefail\narg=-c\narg=./bump.sh\ntimeout_ms=60000\nidle_ms=5\n"
            "commit=\n"
            "step=verify:tests\nindex=2\narg=bash\narg=-eo\narg=pipefail\narg=-c\narg=npm test\n"
            "if_exists=package.json\ntimeout_ms=60000\nidle_ms=0\n");
  spec.steps.pop_back();
  CHECK_THAT(orders(spec), Catch::EndsWith("idle_ms=5\ncommit=\n"));
}

TEST_CASE("a checkpoint to begin with, checkpoints to make, and other repositories: told, mounted read-only, named to the agent") {
  auto spec = a_spec();
  spec.checkpoint_interval_ms = 60'000;
  auto with = facts();
  with.resumed = std::string(40, 'c');
  with.others = {{"lib", "/srv/lib.git", "next", std::string(40, 'd'), "/r/mirrors/l/objects"}};
  const std::string text = init_orders(spec, with);
  std::string_view rest = text, key, value;
  std::string told;
  while (take_field(rest, key, value))
    if (key.starts_with("resume") || key.starts_with("other") || key == "checkpoint_ms" || value.starts_with("MUSTER_CHECKPOINT") ||
        value.starts_with("MUSTER_REPOSITORIES"))
      told += std::string(key) + "=" + std::string(value) + "\n";
  CHECK(told == "env=MUSTER_CHECKPOINT=" + with.resumed + "\nenv=MUSTER_REPOSITORIES=/repositories\nresume=" + with.resumed +
                    "\nresume_objects=/muster/checkpoint\ncheckpoint_ms=60000\nother=lib\nother_objects=/muster/others/0\nother_base=" +
                    with.others[0].base_sha + "\nother_branch=next\nother_url=/srv/lib.git\n");
  const json config = json::parse(oci_config(spec, with));
  std::string mounts;
  for (const json& mount : config["mounts"]) {
    const std::string to = mount["destination"];
    if (to == "/muster/checkpoint" || to == "/repositories" || to == "/muster/others/0")
      mounts += to + " " + mount["options"][1].get<std::string>() + " " + mount["source"].get<std::string>() + "\n";
  }
  CHECK(mounts == "/repositories rw /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/repositories\n"
                  "/muster/others/0 ro /r/mirrors/l/objects\n"
                  "/muster/checkpoint ro /r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/resume/objects\n");
}

TEST_CASE("a fork has everything of its snapshot under it, and runs no setup") {
  auto spec = a_spec();
  spec.steps.clear();
  add_step(spec, "setup:1", "make deps");
  add_step(spec, "agent", "./bump.sh");
  auto with = facts();
  with.prebuild = "/snapshots/s";
  with.fork = true;
  const std::string text = transcript(make_plan(spec, with));
  for (const char* part : {"work", "home", "tmp", "out"})
    CHECK_THAT(text, Catch::Contains("layer /snapshots/s/" + std::string(part) + " from 1073741824 on "
                                     "/r/var/lib/muster/host/attempts/7K2M4P0Q8RSTV-1/rw/" + part + " | unmount\n"));
  CHECK(text.find("repositories") == std::string::npos);
  const std::string told = init_orders(spec, with);
  CHECK(told.find("fork 0") != std::string::npos);
  CHECK(told.find("make deps") == std::string::npos);
  with.fork = false;
  CHECK(init_orders(spec, with).find("fork 0") == std::string::npos);
  CHECK(transcript(make_plan(spec, with)).find("/snapshots/s/tmp") == std::string::npos);
}

TEST_CASE("the container has no capability, no new privilege, all namespaces, and its limits") {
  const auto config = json::parse(oci_config(a_spec(), facts()));
  for (const auto& [set, list] : config["process"]["capabilities"].items()) {
    INFO(set);
    CHECK(list.empty());
  }
  CHECK(config["process"]["noNewPrivileges"] == true);
  CHECK(config["process"]["user"]["uid"] == 1000);
  CHECK(config["root"]["readonly"] == true);
  std::set<std::string> namespaces;
  for (const auto& entry : config["linux"]["namespaces"]) {
    namespaces.insert(entry["type"]);
    CHECK_FALSE(entry.contains("path"));
  }
  CHECK(namespaces == std::set<std::string>{"cgroup", "ipc", "mount", "network", "pid", "user", "uts"});
  CHECK(config["linux"]["resources"]["memory"]["limit"] == 2ull << 30);
  CHECK(config["linux"]["resources"]["cpu"]["quota"] == 100'000);
  CHECK(config["linux"]["resources"]["pids"]["limit"] == 512);
  CHECK(config["linux"]["uidMappings"][0]["hostID"] == 1u << 30);
}

TEST_CASE("writable are the workspace, home, tmp and output, and nothing else") {
  const auto config = json::parse(oci_config(a_spec(), facts()));
  std::set<std::string> writable;
  for (const auto& mount : config["mounts"]) {
    const auto& options = mount["options"];
    if (mount["type"] == "bind" && std::find(options.begin(), options.end(), "ro") == options.end())
      writable.insert(mount["destination"]);
    if (mount["type"] == "bind") CHECK(std::find(options.begin(), options.end(), "nosuid") != options.end());
  }
  CHECK(writable == std::set<std::string>{"/home/agent", "/muster/out", "/tmp", "/work"});
}

TEST_CASE("a network of the host brings its resolver and loses sysfs") {
  auto spec = a_spec();
  spec.network = wire::Network::host;
  const auto config = json::parse(oci_config(spec, facts()));
  std::set<std::string> mounts;
  for (const auto& mount : config["mounts"]) mounts.insert(mount["destination"]);
  CHECK(mounts.contains("/etc/resolv.conf"));
  CHECK_FALSE(mounts.contains("/sys"));
  for (const auto& entry : config["linux"]["namespaces"]) CHECK(entry["type"] != "network");
}

TEST_CASE("secrets and the fleet file's variables never hide the contract's") {
  auto spec = a_spec();
  for (const char* name : {"MUSTER_RUN_ID", "HOME", "CI"}) {
    spec.env.push_back(std::make_unique<wire::KeyValueT>());
    spec.env.back()->key = name;
    spec.env.back()->value = "mine";
  }
  PlanFacts with = facts();
  with.secrets = {{"CI", "secret"}};
  const std::string text = init_orders(spec, with);
  std::string_view rest = text, key, value;
  std::set<std::string> env;
  while (take_field(rest, key, value))
    if (key == "env" || key == "mask") env.insert(std::string(value));
  CHECK(env.contains("MUSTER_RUN_ID=7K2M4P0Q8RSTV"));
  CHECK(env.contains("HOME=/home/agent"));
  CHECK(env.contains("CI=secret"));
  CHECK(env.contains("secret"));
  CHECK_FALSE(env.contains("DRY_RUN=true"));
}

TEST_CASE("the system calls that matter are not allowed") {
  const auto profile = seccomp_profile();
  CHECK(profile["defaultAction"] == "SCMP_ACT_ERRNO");
  std::set<std::string> unconditional, conditional;
  for (const auto& rule : profile["syscalls"])
    for (const auto& name : rule["names"])
      if (rule["action"] == "SCMP_ACT_ALLOW") (rule.contains("args") ? conditional : unconditional).insert(name);
  for (const char* name :
       {"mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr", "setns", "clone3",
        "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "bpf", "perf_event_open", "keyctl",
        "add_key", "request_key", "io_uring_setup", "userfaultfd", "init_module", "finit_module", "delete_module",
        "kexec_load", "reboot", "swapon", "acct", "quotactl", "syslog", "open_by_handle_at", "name_to_handle_at",
        "chroot", "sethostname", "settimeofday", "clock_settime", "iopl", "ioperm", "fanotify_init", "unshare", "clone",
        "socket", "personality", "prlimit64"}) {
    INFO(name);
    CHECK_FALSE(unconditional.contains(name));
  }
  CHECK(conditional == std::set<std::string>{"clone", "ioctl", "personality", "prlimit64", "socket", "unshare"});
}

}  // namespace muster::sandbox::test
