// Across: one sandbox against another one that lives beside it.
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

namespace {

constexpr const char* kVictim = R"py(
import ctypes, mmap, os, socket, threading, time
libc = ctypes.CDLL(None)
open("mine.txt", "w").write("as it was")
open("/dev/shm/mine", "w").write("shared")
s = socket.socket(socket.AF_UNIX); s.bind("\0victim"); s.listen()
t = socket.socket(); t.bind(("127.0.0.1", 7777)); t.listen()
assert libc.shmget(0x56494354, 4096, 0o1666) >= 0
assert libc.mq_open(b"/victim", 0o102, 0o666, None) >= 0
open("/muster/out/output/here", "w").close()
while not os.path.exists("/muster/out/output/go"): time.sleep(0.01)
assert open("mine.txt").read() == "as it was"
assert s.fileno() >= 0 and os.listdir("/tmp") == []
)py";

constexpr const char* kAttacker = R"py(
import ctypes, errno, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
tries = []
def attempt(name, run): tries.append((name, run))
def call(f, *a):
    if f(*a) < 0: raise OSError(ctypes.get_errno(), "")
    return True

attempt("its abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\0victim") or True)
attempt("its port", lambda: socket.create_connection(("127.0.0.1", 7777), 2))
attempt("its shared memory", lambda: call(libc.shmget, 0x56494354, 0, 0))
attempt("its message queue", lambda: call(libc.mq_open, b"/victim", 0))
attempt("its /dev/shm", lambda: open("/dev/shm/mine"))
for path in os.environ["ITS_PATHS"].split(":"):
    attempt("read " + path, lambda path=path: os.listdir(path))
    attempt("write " + path, lambda path=path: os.open(path + "/evil", os.O_WRONLY | os.O_CREAT))
for above in (os.getcwd(), "/tmp", "/muster/out", "/muster/in", "/muster/objects"):
    # Up from a mount is this sandbox's own root, never the directory beside it on the host.
    attempt("beside " + above, lambda above=above: os.open(
        above + "/../" * 20 + os.environ["ITS_PATHS"].split(":")[0], os.O_RDONLY))
attempt("its user id", lambda: os.setresuid(66536, 66536, 66536) or True)
attempt("a file of its owner", lambda: os.chown("a.txt", 66536, 66536) or True)
attempt("the mirror that both borrow", lambda: os.open(
    "/muster/objects/pack/" + [f for f in os.listdir("/muster/objects/pack") if f.endswith(".pack")][0], os.O_WRONLY)
    if os.listdir("/muster/objects/pack") else (_ for _ in ()).throw(OSError(errno.EROFS, "")))
attempt("remove from the mirror", lambda: os.rmdir("/muster/objects/pack") or True)

def its_processes():
    foreign = [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid(), os.getppid())]
    if foreign: return True
    raise OSError(errno.ESRCH, "")
attempt("see its processes", its_processes)
def signal_numbers():
    for pid in range(2, 40000):
        if pid in (os.getpid(), os.getppid()): continue
        try: os.kill(pid, signal.SIGKILL)
        except ProcessLookupError: continue
        return True
    raise OSError(errno.ESRCH, "")
attempt("kill every number", signal_numbers)

for name, run in tries:
    try: print(f"{name}: {'ESCAPED' if run() else 'BROKEN'}")
    except OSError as error: print(f"{name}: refused ({errno.errorcode.get(error.errno, error)})")
    except Exception as error: print(f"{name}: BROKEN {error!r}")
print(f"{len(tries)} tries")
)py";

void await(const fs::path& path) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::error_code error;
  while (!fs::exists(path, error) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  REQUIRE(fs::exists(path, error));
}

}  // namespace

TEST_CASE("across to another sandbox") {
  Sandboxes sandboxes;
  auto& host = sandboxes.host();
  auto victim = sandboxes.spec("exec python3 $MUSTER_PROMPT_FILE");
  victim.prompt = kVictim;
  const Places its(host.config.paths, sandbox_id(victim.run, victim.attempt));
  wire::AttemptReportT victim_report;
  std::string victim_log;
  std::thread living([&] {
    victim_report = run_attempt(host, victim, [&](std::string_view piece) { victim_log += piece; });
  });
  await(its.out() / "output/here");

  // Everything again as run_attempt does it, in the second slot: user ids of its own.
  auto attacker = sandboxes.spec("exec python3 $MUSTER_PROMPT_FILE");
  attacker.attempt = 2;
  attacker.prompt = kAttacker;
  std::string paths;
  for (const fs::path& path : {its.run, its.in(), its.kept, its.writable(), its.work(), its.out(), host.config.paths.secrets(),
                               host.config.paths.mirrors()})
    paths += (paths.empty() ? "" : ":") + path.string();
  set_env(attacker, "ITS_PATHS", paths);
  const auto report = sandboxes.run(attacker, 1);
  { std::ofstream go(its.out() / "output/go"); }
  living.join();
  INFO(victim_log);
  INFO(sandboxes.log);
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(require_refused(sandboxes.log) > 25);
  CHECK(brief(victim_report) == "changed agent=0");
}

}  // namespace muster::sandbox::test
