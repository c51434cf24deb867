// Beyond the usual container profile these are refused, and why:
//
// - clone/unshare with namespace flags, setns, mount and the new mount calls, pivot_root, chroot: a user namespace is
//   the largest attack surface an unprivileged process has. clone3 hides its flags in memory: ENOSYS, so that libc
//   falls back to clone.
// - ptrace, process_vm_*, kcmp, pidfd_getfd, userfaultfd: nothing inspects another process, muster-init least of all.
// - bpf, perf_event_open, io_uring, keyctl and friends, fanotify, open_by_handle_at, quotactl, acct, modules, kexec,
//   reboot, swap, time: kernel interfaces with a history, of no use to an agent.
// - prlimit64 of another process: same uid suffices, and muster-init has it.
// - sockets other than unix, IPv4, IPv6, netlink: no AF_VSOCK, AF_PACKET, AF_ALG, …
// - ioctl TIOCSTI: it types into the terminal of whoever watches. The kernel looks at the low 32 bits of a request only,
//   so the filter must, too.
// - every other architecture's table (i386, x32): 32-bit programs don't run.
#include "sandboxd/seccomp.hpp"

#include <array>
#include <string_view>

namespace muster::sandbox {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kAllowed[] = {
    "accept", "accept4", "access", "alarm", "arch_prctl", "bind", "brk", "cachestat", "capget", "capset",
    "chdir", "chmod", "chown", "clock_getres", "clock_gettime", "clock_nanosleep", "close",
    "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2",
    "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fallocate",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr",
    "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync",
    "ftruncate", "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "futimesat",
    "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid",
    "geteuid", "getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid",
    "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getxattr", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "ioprio_get", "ioprio_set", "kill",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lchown", "lgetxattr",
    "link", "linkat", "listen", "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat",
    "madvise", "membarrier", "memfd_create", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock",
    "mlock2", "mlockall", "mmap", "mprotect", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedsend", "mq_unlink", "mremap", "msgctl", "msgget", "msgrcv", "msgsnd",
    "msync", "munlock", "munlockall", "munmap", "nanosleep", "newfstatat", "open", "openat", "openat2",
    "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free",
    "pkey_mprotect", "poll", "ppoll", "prctl", "pread64", "preadv", "preadv2", "pselect6", "pwrite64",
    "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "recvfrom",
    "recvmmsg", "recvmsg", "remap_file_pages", "removexattr", "rename", "renameat", "renameat2",
    "restart_syscall", "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity",
    "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl",
    "semget", "semop", "semtimedop", "sendfile", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setitimer",
    "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setrlimit", "setsid",
    "setsockopt", "setuid", "setxattr", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack",
    "signalfd", "signalfd4", "socketpair", "splice", "stat", "statfs", "statx", "symlink", "symlinkat",
    "sync", "sync_file_range", "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create",
    "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
    "timerfd_gettime", "timerfd_settime", "times", "tkill", "truncate", "umask", "uname", "unlink",
    "unlinkat", "utime", "utimensat", "utimes", "vfork", "vmsplice", "wait4", "waitid", "write", "writev"};

constexpr std::uint64_t kNamespaceFlags = 0x7E020000;  // NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
constexpr std::uint64_t kTypeIntoTerminal = 0x5412;    // TIOCSTI
constexpr std::uint64_t kNewTime = 0x80;               // the exit signal's place in clone, a flag in unshare

Json allow(std::string_view name, unsigned arg, std::string_view op, std::uint64_t value,
           std::uint64_t value_two = 0) {
  Json test = {{"index", arg}, {"value", value}, {"op", op}};
  if (op == "SCMP_CMP_MASKED_EQ") test["valueTwo"] = value_two;
  return {{"names", {name}}, {"action", "SCMP_ACT_ALLOW"}, {"args", {std::move(test)}}};
}

Json answer(std::vector<std::string_view> names, int error) {
  return {{"names", names}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", error}};
}

}  // namespace

Json seccomp_profile() {
  constexpr int kEperm = 1, kEnosys = 38;
  Json rules = Json::array();
  rules.push_back({{"names", kAllowed}, {"action", "SCMP_ACT_ALLOW"}});
  rules.push_back(allow("clone", 0, "SCMP_CMP_MASKED_EQ", kNamespaceFlags));
  rules.push_back(allow("unshare", 0, "SCMP_CMP_MASKED_EQ", kNamespaceFlags | kNewTime));
  rules.push_back(allow("prlimit64", 0, "SCMP_CMP_EQ", 0));
  for (const std::uint64_t family : {1u, 2u, 10u, 16u})  // AF_UNIX AF_INET AF_INET6 AF_NETLINK
    rules.push_back(allow("socket", 0, "SCMP_CMP_EQ", family));
  // Every request that differs from TIOCSTI in at least one of its 32 bits; libseccomp has no masked "not equal".
  for (std::uint64_t bit = 1; bit <= 0x80000000; bit <<= 1)
    rules.push_back(allow("ioctl", 1, "SCMP_CMP_MASKED_EQ", bit, ~kTypeIntoTerminal & bit));
  for (const std::uint64_t persona : {0x0ull, 0x8ull, 0x20000ull, 0x20008ull, 0xffffffffull})
    rules.push_back(allow("personality", 0, "SCMP_CMP_EQ", persona));
  rules.push_back(answer({"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"}, kEnosys));
  return {{"defaultAction", "SCMP_ACT_ERRNO"},
          {"defaultErrnoRet", kEperm},
          {"architectures", {"SCMP_ARCH_X86_64"}},
          {"syscalls", std::move(rules)}};
}

}  // namespace muster::sandbox
