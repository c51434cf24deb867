// Out through the kernel: see kernel.py, which makes the tries.
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

namespace {

/// What a sandbox must not reach though it is there: a listener on the loopback, an abstract socket, shared memory.
class HostServices {
 public:
  HostServices() : abstract_name("muster-escape-" + std::to_string(::getpid())) {
    tcp_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(tcp_.get(), 1) == 0);
    REQUIRE(::getsockname(tcp_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);

    unix_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    abstract_name.copy(name.sun_path + 1, sizeof name.sun_path - 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract_name.size());
    REQUIRE(::bind(unix_.get(), reinterpret_cast<sockaddr*>(&name), length) == 0);
    REQUIRE(::listen(unix_.get(), 1) == 0);

    memory_ = ::shmget(key, 4096, IPC_CREAT | 0666);
    REQUIRE(memory_ >= 0);
  }
  ~HostServices() { ::shmctl(memory_, IPC_RMID, nullptr); }

  int port = 0;
  const key_t key = static_cast<key_t>(0x6d000000 | ::getpid());
  const std::string abstract_name;

 private:
  Fd tcp_, unix_;
  int memory_ = -1;
};

}  // namespace

TEST_CASE("out through the kernel") {
  Sandboxes sandboxes;
  const HostServices services;
  auto spec = sandboxes.spec("exec python3 $MUSTER_PROMPT_FILE");
  spec.prompt = tries_in("kernel.py");
  set_env(spec, "HOST_PORT", std::to_string(services.port));
  set_env(spec, "HOST_SOCKET", services.abstract_name);
  set_env(spec, "HOST_SHM", std::to_string(services.key));
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  INFO(sandboxes.log);
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(require_refused(sandboxes.log) > 120);
  sandboxes.require_gone("0123456789ABC-1");
}

}  // namespace muster::sandbox::test
