// Hostile repositories: what they bring along must run nowhere but in their sandbox, whoever reads them.
#include <sys/stat.h>

#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

namespace {

/// A marker that any program of the repository's would leave on the host.
class Trap {
 public:
  explicit Trap(const fs::path& root) : root_(root) {
    std::ofstream(program()) << "#!/bin/sh\ntouch " << marker().string() << "\ncat\n";
    fs::permissions(program(), fs::perms(0755));
  }
  [[nodiscard]] fs::path program() const { return root_ / "trap"; }
  [[nodiscard]] fs::path marker() const { return root_ / "marker"; }
  void require_unsprung() const { CHECK_FALSE(fs::exists(marker())); }

 private:
  fs::path root_;
};

/// Every hook and every setting with which a repository's own configuration makes git run something.
void arm(const fs::path& git_dir, const Trap& trap) {
  const std::string program = trap.program().string();
  std::string script = "mkdir -p hooks; for h in pre-receive update post-receive post-update reference-transaction post-checkout "
                       "pre-auto-gc post-index-change proc-receive push-to-checkout; do cp " + program + " hooks/$h; done; ";
  for (const char* setting :
       {"core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy",
        "core.alternateRefsCommand", "uploadpack.packObjectsHook", "filter.evil.smudge", "filter.evil.clean",
        "filter.evil.process", "diff.external", "diff.evil.textconv", "merge.evil.driver", "credential.helper", "gpg.program",
        "remote.origin.uploadpack", "remote.origin.vcs", "trailer.x.command", "interactive.diffFilter", "alias.fetch",
        "alias.upload-pack", "protocol.ext.allow", "submodule.x.update", "sequence.editor", "browser.x.cmd"})
    script += std::string("git config ") + setting + " " + program + "; ";
  script += "git config core.hooksPath hooks; git config protocol.ext.allow always; git config include.path ../evil.cfg";
  shell(script, git_dir);
}

std::string commit_tree(const fs::path& git_dir, const std::string& tree_lines) {
  return shell("t=$(printf '%b' '" + tree_lines + "' | git mktree --missing); c=$(git commit-tree -p main -m evil $t); "
               "git update-ref refs/heads/main $c; echo $c", git_dir);
}

}  // namespace

TEST_CASE("a repository on this machine brings hooks and configuration: none of it runs") {
  Sandboxes sandboxes;
  const Trap trap(sandboxes.root());
  arm(sandboxes.repository(), trap);
  auto spec = sandboxes.spec("echo x > x");
  SECTION("read without git") {}
  SECTION("read by git, because it borrows objects") {
    shell("mkdir -p objects/info; git clone -q --bare . ../lender.git; cd ../lender.git; echo $PWD/objects > "
          "../api.git/objects/info/alternates", sandboxes.repository());
  }
  SECTION("read by git, with a promise that would be fetched by a command") {
    shell("git clone -q --bare . ../lender.git; git config extensions.partialClone evil; git config core.repositoryFormatVersion 1; "
          "git config remote.evil.promisor true; git config remote.evil.url ext::" + trap.program().string() +
          "; git config remote.evil.uploadpack " + trap.program().string() + "; echo $PWD/../lender.git/objects > objects/info/alternates; "
          "b=$(git rev-parse main:lib/b.txt); rm -f ../lender.git/objects/$(echo $b | cut -c1-2)/$(echo $b | cut -c3-) objects/pack/* "
          "|| true; find objects -type f -name $(echo $b | cut -c3-) -delete", sandboxes.repository());
  }
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK((brief(report) == "changed agent=0" || brief(report) == "failed(fetch_failed)"));
  trap.require_unsprung();
  sandboxes.require_gone("0123456789ABC-1");
}

TEST_CASE("objects of another repository can't be borrowed by a link") {
  Sandboxes sandboxes;
  shell("git init -q -b main private; cd private; echo 'for the owner only' > p; git add p; git commit -qm p; git gc -q; chmod 0700 .",
        sandboxes.root());
  const std::string secret = shell("git rev-parse main:p", sandboxes.root() / "private");
  SECTION("objects is a link") {
    shell("mv objects own; ln -s ../../private/.git/objects objects; "
          "cp -r own/* objects/ 2>/dev/null || true", sandboxes.repository());
  }
  SECTION("objects/pack is a link") {
    shell("rm -rf objects/pack; ln -s ../../../private/.git/objects/pack objects/pack", sandboxes.repository());
  }
  SECTION("a pack is a link") {
    shell("for f in ../../private/.git/objects/pack/*; do ln -s ../../$f objects/pack/; done", sandboxes.repository());
  }
  auto spec = sandboxes.spec("if git cat-file -p " + secret + "; then echo ESCAPED; fi");
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK((brief(report) == "unchanged agent=0" || report.reason == "fetch_failed"));
  CHECK(sandboxes.log.find("ESCAPED") == std::string::npos);
  CHECK(sandboxes.log.find("for the owner only") == std::string::npos);
}

TEST_CASE("trees with names that git must not write are refused, and that is reported") {
  Sandboxes sandboxes;
  const std::string blob = shell("echo evil | git hash-object -w --stdin", sandboxes.repository());
  std::string tree;
  SECTION(".git") {
    const std::string hooks = shell("printf '100755 blob " + blob + "\\tpost-checkout\\n' | git mktree", sandboxes.repository());
    const std::string dot = shell("printf '040000 tree " + hooks + "\\thooks\\n' | git mktree", sandboxes.repository());
    tree = "040000 tree " + dot + "\\t.git\\n";
  }
  SECTION(".GIT") { tree = "100644 blob " + blob + "\\t.GIT\\n"; }
  SECTION("a .git that is a link") { tree = "120000 blob " + blob + "\\t.git\\n"; }
  SECTION("..") { tree = "100644 blob " + blob + "\\t..\\n"; }
  commit_tree(sandboxes.repository(), tree);
  const auto report = sandboxes.run(sandboxes.spec("true"));
  INFO(report.message);
  CHECK(brief(report) == "failed(checkout_failed)");
  CHECK(report.message.find("invalid path") != std::string::npos);
  sandboxes.require_gone("0123456789ABC-1");
}

TEST_CASE("refs of a repository on this machine that are no refs are passed over") {
  Sandboxes sandboxes;
  shell("ln -s /etc/passwd refs/heads/passwd; mkfifo refs/heads/pipe; mkdir refs/heads/deep; "
        "printf '../../../../etc/x' > refs/heads/deep/text; printf '%s refs/heads/../../evil\\n' $(git rev-parse main) >> packed-refs",
        sandboxes.repository());
  auto spec = sandboxes.spec("echo x > x");
  CHECK(brief(sandboxes.run(spec)) == "changed agent=0");
  spec.attempt = 2;
  spec.base_branch = "passwd";
  CHECK(brief(sandboxes.run(spec)) == "failed(base_missing)");
}

TEST_CASE("what is checked out of a hostile repository runs nothing by itself, and its names are taken literally") {
  Sandboxes sandboxes;
  shell("git clone -q acme/api.git w; cd w; echo '* filter=evil diff=evil merge=evil' "
        "> .gitattributes; printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = ./s\\n\\tupdate = none\\n' > .gitmodules; "
        "printf x > ./--exec=touch; printf x > ./-rf; printf x > './a b\nc'; ln -s /etc/shadow shadow; ln -s .. up; "
        "printf x > lib/B.txt; mkdir hooks; printf '#!/bin/sh\\ntouch $MUSTER_OUTPUT/ran\\n' > hooks/post-checkout; "
        "chmod +x hooks/post-checkout; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),s; git -c core.attributesFile=/dev/null "
        "add . 2>/dev/null || { mv .gitattributes ../ga; git add .; mv ../ga .gitattributes; "
        "git update-index --add --cacheinfo 100644,$(git hash-object -w --no-filters .gitattributes),.gitattributes; }; "
        "git commit -qm evil; git push -q origin HEAD:main; cd ..; rm -rf w", sandboxes.root());
  auto spec = sandboxes.spec("echo mine >> a.txt; printf y > ./-rf; printf y > ./--no-verify; test ! -e $MUSTER_OUTPUT/ran");
  Sandboxes::add_step(spec, "verify:quiet", "test ! -e $MUSTER_OUTPUT/ran; test -e ./--no-verify");
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  INFO(sandboxes.log);
  CHECK(brief(report) == "changed agent=0 verify:quiet=0");
  CHECK(report.diff->files == 3);
}

TEST_CASE("an agent that puts other things in the place of .git gets its change judged all the same") {
  Sandboxes sandboxes;
  const Trap trap(sandboxes.root());
  std::uint32_t attempt = 0;
  for (const std::string& replace : std::vector<std::string>
       {"ln -s /muster .git", "printf 'gitdir: /muster/out/evil.git\\n' > .git; git init -q --bare /muster/out/evil.git; "
        "git --git-dir=/muster/out/evil.git config core.fsmonitor 'touch /muster/out/output/ran'",
        "mkdir .git; printf '[core]\\n\\tfsmonitor = touch /muster/out/output/ran\\n\\tworktree = /\\n' > .git/config",
        "mkfifo .git", "git init -q .GIT; ln -s .GIT .git", "true"}) {
    auto spec = sandboxes.spec("rm -rf .git; " + replace + "; echo x > x");
    spec.attempt = ++attempt;
    Sandboxes::add_step(spec, "verify:quiet", "test ! -e $MUSTER_OUTPUT/ran");
    const auto report = sandboxes.run(spec);
    INFO(replace << ": " << report.message << sandboxes.log);
    CHECK((brief(report) == "changed agent=0 verify:quiet=0" || report.reason == "commit_failed" || report.reason == "bad_pack"));
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
  }
  trap.require_unsprung();
}

TEST_CASE("a change that would attack whoever checks it out is refused, and says why") {
  Sandboxes sandboxes;
  std::uint32_t attempt = 0;
  for (const auto& [script, why] : std::initializer_list<std::pair<std::string, std::string>>{
           {"printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = -u./evil\\n' > .gitmodules", "gitmodulesUrl"},
           {"printf '[submodule \"../../x\"]\\n\\tpath = s\\n\\turl = ./s\\n' > .gitmodules", "gitmodulesName"},
           {"printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = ./s\\n\\tupdate = !touch /tmp/x\\n' > .gitmodules",
            "gitmodulesUpdate"},
           {"printf '[submodule \"s\"]\\n\\tpath = -s\\n\\turl = ./s\\n' > .gitmodules", "gitmodulesPath"},
           {"ln -s /etc/passwd .gitmodules", "adding files failed"}}) {
    auto spec = sandboxes.spec(script);
    spec.attempt = ++attempt;
    const auto report = sandboxes.run(spec);
    INFO(script << ": " << report.message);
    CHECK((report.reason == "bad_pack" || report.reason == "commit_failed"));
    CHECK(report.outcome == wire::Outcome::failed);
    CHECK(report.message.find(why) != std::string::npos);
  }
}

}  // namespace muster::sandbox::test
