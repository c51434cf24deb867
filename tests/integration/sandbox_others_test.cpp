// Several repositories in one workspace.
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

namespace {

/// Two more beside the run's own; "lib" has a second branch.
struct Neighbours {
  Neighbours() {
    for (const std::string name : {"lib", "proto"})
      shell("git init -q -b main " + name + " && cd " + name + " && echo " + name + " > README && git add . && git commit -qm first && "
            "git branch next && git clone -q --bare . ../acme/" + name + ".git && rm -rf ../" + name,
            sandboxes.root());
    shell("git clone -q -b next acme/lib.git w && cd w && echo next > README && git commit -qam next && git push -q && rm -rf ../w",
          sandboxes.root());
  }
  [[nodiscard]] std::string url(const std::string& name) const { return (sandboxes.root() / "acme" / (name + ".git")).string(); }
  [[nodiscard]] wire::SandboxSpecT spec(const std::string& script, const std::string& branch = "next") const {
    auto spec = sandboxes.spec(script);
    for (const std::string name : {"lib", "proto"}) {
      spec.other_repositories.push_back(std::make_unique<wire::OtherRepositoryT>());
      spec.other_repositories.back()->name = name;
      spec.other_repositories.back()->url = url(name);
    }
    spec.other_repositories.front()->base_branch = branch;
    return spec;
  }
  [[nodiscard]] std::string head(const std::string& name, const std::string& branch) const {
    return shell("git rev-parse " + branch, url(name));
  }
  Sandboxes sandboxes;
};

}  // namespace

TEST_CASE("other repositories lie beside the run's own, each at its base; only the run's own is delivered") {
  Neighbours town;
  auto spec = town.spec(
      "cat $MUSTER_REPOSITORIES/lib/README /repositories/proto/README; cd /repositories/lib; git rev-parse HEAD; "
      "git symbolic-ref --short HEAD; git remote get-url origin; test -z \"$(git status --porcelain)\"; git log --oneline | wc -l; "
      "echo changed > README; git commit -qam mine; cd /work; cp /repositories/lib/README new.txt");
  Sandboxes::add_step(spec, "verify:a", "cmp new.txt /repositories/lib/README");
  const auto report = town.sandboxes.run(spec);
  INFO(report.message << town.sandboxes.log);
  CHECK(brief(report) == "changed agent=0 verify:a=0");
  CHECK(town.sandboxes.log == "next\nproto\n" + town.head("lib", "next") + "\nnext\n" + town.url("lib") + "\n2\n");
  CHECK(report.diff->files == 1);
  REQUIRE(report.other_bases.size() == 2);
  CHECK(report.other_bases[0]->key + "=" + report.other_bases[0]->value == "lib=" + town.head("lib", "next"));
  CHECK(report.other_bases[1]->key + "=" + report.other_bases[1]->value == "proto=" + town.head("proto", "main"));
  town.sandboxes.require_gone("0123456789ABC-1");
  CHECK(town.head("lib", "next") == report.other_bases[0]->value);  // nothing was pushed anywhere
}

TEST_CASE("one that can't be had fails the attempt before anything is made, by its name") {
  Neighbours town;
  auto report = town.sandboxes.run(town.spec("true", "none"));
  CHECK(brief(report) == "failed(base_missing)");
  CHECK(report.message.find("lib: ") != std::string::npos);
  auto gone = town.spec("true");
  gone.attempt = 2;
  gone.other_repositories.back()->url += "x";
  report = town.sandboxes.run(gone);
  CHECK(brief(report) == "failed(fetch_failed)");
  CHECK(report.message.find("proto: ") != std::string::npos);
}

TEST_CASE("a hostile neighbour runs nothing and reaches nothing") {
  Neighbours town;
  shell("git clone -q acme/proto.git w && cd w && ln -s /etc/passwd link && echo '* filter=x' > .gitattributes && "
        "printf '[core]\\n\\tfsmonitor = touch /tmp/ran\\n' > .gitconfig && git add . && git commit -qm hostile && git push -q && rm -rf ../w",
        town.sandboxes.root());
  const auto report = town.sandboxes.run(town.spec(
      "readlink /repositories/proto/link; test ! -e /tmp/ran; touch /muster/others/0/x 2>/dev/null || echo read-only; ls /repositories | xargs"));
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(town.sandboxes.log.find("/etc/passwd\n") == 0);
  CHECK(town.sandboxes.log.ends_with("read-only\nlib proto\n"));
}

TEST_CASE("names that are paths, and names twice, are refused") {
  const Neighbours town;
  for (const std::string name : {"../lib", "", ".git", "a/b", "proto"}) {
    auto spec = town.spec("true");
    spec.other_repositories.front()->name = name;
    INFO(name);
    CHECK_FALSE(check_spec(spec, {}));
  }
}

}  // namespace muster::sandbox::test
