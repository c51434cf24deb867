"""Tries to get out of a sandbox through the kernel; runs inside, as the agent. Each try must be refused with one of the
errors it names: another error would mean that the try itself is broken. One line each: "NAME: refused (ERROR)"."""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
tries = []


def attempt(name, *errors):
    """Declares a try: it returns something true when it got through, or raises OSError."""
    return lambda run: tries.append((name, errors, run)) or run


def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return True


def write(path, data):
    file = os.open(path, os.O_WRONLY)
    try:
        return os.write(file, data)
    finally:
        os.close(file)


def refused(name, errors, number, *arguments):
    attempt(name, *errors)(lambda: syscall(number, *arguments))


EPERM, ENOSYS = ("EPERM",), ("ENOSYS",)

# ---- namespaces, mounts, other roots ----
for flag, what in ((0x10000000, "user"), (0x00020000, "mount"), (0x20000000, "pid"), (0x40000000, "network"),
                   (0x02000000, "cgroup"), (0x08000000, "ipc"), (0x04000000, "uts"), (0x00000080, "time")):
    refused(f"unshare {what} namespace", EPERM, 272, flag)
refused("clone into a user namespace", EPERM, 56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
refused("clone3, whose flags seccomp can't see", ENOSYS, 435, 0, 88)
attempt("join the namespace of process 1", "EACCES", "EPERM")(lambda: os.open("/proc/1/ns/mnt", os.O_RDONLY))
attempt("setns to a namespace", "EPERM")(lambda: syscall(308, os.open("/proc/self/ns/user", os.O_RDONLY), 0))
refused("mount", EPERM, 165, b"none", b"/tmp", b"tmpfs", 0, 0)
refused("bind mount", EPERM, 165, b"/proc", b"/tmp", b"", 4096, 0)
refused("remount writable", EPERM, 165, b"", b"/", b"", 32, 0)
refused("unmount what hides /proc/kcore", EPERM, 166, b"/proc/kcore", 2)
refused("fsopen", EPERM, 430, b"tmpfs", 0)
refused("open_tree", EPERM, 428, -100, b"/", 1)
refused("move_mount", EPERM, 429, -100, b"/", -100, b"/tmp", 0)
refused("mount_setattr", EPERM, 442, -100, b"/", 0, 0, 0)
refused("pivot_root", EPERM, 155, b"/tmp", b"/tmp")
refused("chroot", EPERM, 161, b"/tmp")
attempt("map other users", "EPERM", "EACCES", "EROFS")(lambda: write("/proc/self/uid_map", b"0 0 1"))

# ---- other processes ----
refused("ptrace", EPERM, 101, 16, 1, 0, 0)
refused("be traced", EPERM, 101, 0, 0, 0, 0)
refused("read memory of process 1", EPERM, 310, 1, 0, 0, 0, 0, 0)
refused("write memory of process 1", EPERM, 311, 1, 0, 0, 0, 0, 0)
refused("take a descriptor of process 1", EPERM, 438, 0, 1, 0)
refused("kcmp", EPERM, 312, 1, 1, 0, 0, 0)
attempt("limits of process 1", "EPERM")(lambda: syscall(302, 1, 7, struct.pack("QQ", 1, 1), 0))
for what in ("mem", "environ", "root/etc", "cwd/muster", "fd/1", "maps"):
    attempt(f"/proc/1/{what}", "EACCES", "EPERM")(lambda what=what: os.open(f"/proc/1/{what}", os.O_RDONLY))
attempt("overwrite the program of process 1", "EACCES", "EPERM")(lambda: os.open("/proc/1/exe", os.O_WRONLY))
attempt("spare process 1 no longer from OOM", "EACCES", "EPERM")(
    lambda: write("/proc/1/oom_score_adj", b"1000"))
attempt("a process of the host", "ESRCH")(lambda: os.kill(4194303 - 1, 0) or True)

# ---- kernel interfaces with a history ----
for name, number, arguments in (
        ("bpf", 321, (0, 0, 0)), ("perf_event_open", 298, (0, 0, -1, -1, 0)), ("keyctl", 250, (0, -3, 0)),
        ("add_key", 248, (b"user", b"x", b"y", 1, -3)), ("request_key", 249, (b"user", b"x", 0, -3)),
        ("userfaultfd", 323, (1,)), ("fanotify", 300, (0, 0)), ("open_by_handle_at", 304, (-100, 0, 0)),
        ("name_to_handle_at", 303, (-100, b"/", 0, 0, 0)), ("quotactl", 179, (0, 0, 0, 0)), ("acct", 163, (b"/tmp/x",)),
        ("init_module", 175, (0, 0, b"")), ("finit_module", 313, (0, b"", 0)), ("delete_module", 176, (b"x", 0)),
        ("kexec_load", 246, (0, 0, 0, 0)), ("reboot", 169, (0xfee1dead, 672274793, 0, 0)), ("swapon", 167, (b"/tmp/x", 0)),
        ("set the clock", 227, (0, struct.pack("qq", 0, 0))), ("read the kernel log", 103, (3, 0, 0)),
        ("iopl", 172, (3,)), ("ioperm", 173, (0x60, 1, 1)), ("modify_ldt", 154, (0, 0, 0)), ("vhangup", 153, ()),
        ("move_pages", 279, (1, 0, 0, 0, 0, 0)), ("sethostname", 170, (b"x", 1)), ("setdomainname", 171, (b"x", 1)),
        ("personality without address randomisation", 135, (0x0040000,))):
    refused(name, EPERM, number, *arguments)
refused("io_uring", ENOSYS, 425, 1, 0)


def in_child(run):
    """Tries it in a process that it may cost its life."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSYS, signal.SIGSEGV):
        raise OSError(errno.EPERM, "")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise OSError(os.WEXITSTATUS(status), "")
    return True


def machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


attempt("a 32-bit system call", "EPERM")(lambda: in_child(lambda: machine_code(bytes.fromhex("b814000000cd80c3"))))
attempt("an x32 system call", "EPERM", "ENOSYS")(lambda: in_child(lambda: syscall(0x40000000 | 39)))

# ---- sockets ----
for name, family in (("PACKET", 17), ("VSOCK", 40), ("ALG", 38), ("BLUETOOTH", 31), ("CAN", 29), ("TIPC", 30), ("RDS", 21),
                     ("KEY", 15), ("XDP", 44)):
    attempt(f"AF_{name} socket", "EPERM")(lambda family=family: socket.socket(family, socket.SOCK_RAW))
attempt("raw IP socket", "EPERM")(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("the Internet", "ENETUNREACH")(lambda: socket.create_connection(("1.1.1.1", 53), 2))
attempt("a name server by UDP", "ENETUNREACH")(
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("the host's loopback", "ECONNREFUSED", "ENETUNREACH")(
    lambda: socket.create_connection(("127.0.0.1", int(os.environ["HOST_PORT"])), 2))
attempt("an abstract socket of the host", "ECONNREFUSED")(
    lambda: socket.socket(socket.AF_UNIX).connect("\0" + os.environ["HOST_SOCKET"]) or True)
attempt("the engine's socket", "ENOENT", "EACCES")(
    lambda: socket.socket(socket.AF_UNIX).connect("/run/muster/musterd.sock") or True)


@attempt("a new network device", "EPERM")
def new_device():
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH", 8, 3) + b"dm0\0"
    netlink.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
    code = struct.unpack("i", netlink.recv(4096)[16:20])[0]
    if code != 0:
        raise OSError(-code, "")
    return True


@attempt("shared memory of the host", "ENOENT")
def host_memory():
    return syscall(29, int(os.environ["HOST_SHM"]), 0, 0)


# ---- files of the host and of the image ----
READ_ONLY = ("EROFS", "EACCES", "EPERM")
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward",
             "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/class/net/lo/mtu", "/usr/bin/git", "/etc/passwd",
             "/etc/ld.so.cache", "/muster/init", "/muster/in/plan", "/muster/in/prompt.txt"):
    attempt(f"write {path}", "ENOENT", *READ_ONLY)(lambda path=path: os.open(path, os.O_WRONLY))
for path in ("/evil", "/usr/bin/evil", "/etc/evil", "/muster/in/evil", "/muster/objects/evil", "/dev/../evil"):
    attempt(f"create {path}", *READ_ONLY)(lambda path=path: os.open(path, os.O_WRONLY | os.O_CREAT))
for path in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/loop-control", "/dev/fuse", "/dev/net/tun", "/dev/kvm",
             "/dev/console", "/dev/pts/0", "/etc/shadow", "/root/.ssh", "/var/lib", "/run/muster", "/etc/muster"):
    attempt(f"open {path}", "ENOENT", "EACCES", "ENXIO")(lambda path=path: os.open(path, os.O_RDONLY))
attempt("a terminal to type into", "ENXIO", "ENOENT")(lambda: os.open("/dev/tty", os.O_RDWR))
for path in ("/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list", "/proc/modules"):
    # Masked by /dev/null: opens, and says nothing.
    attempt(f"read {path}", "ENODATA", "ENOENT", "EACCES")(
        lambda path=path: open(path, "rb").read(1) or (_ for _ in ()).throw(OSError(errno.ENODATA, "")))
for path in ("/sys/fs/cgroup", "/sys/firmware", "/sys/kernel", "/sys/module"):
    attempt(f"look into {path}", "ENODATA", "ENOENT")(
        lambda path=path: os.listdir(path) or (_ for _ in ()).throw(OSError(errno.ENODATA, "")))
attempt("release_agent of a cgroup", "ENOENT", *READ_ONLY)(
    lambda: os.open("/sys/fs/cgroup/release_agent", os.O_WRONLY | os.O_CREAT))
attempt("a block device node", "EPERM")(lambda: os.mknod("/tmp/sda", stat.S_IFBLK | 0o600, os.makedev(8, 0)) or True)
attempt("a character device node", "EPERM")(lambda: os.mknod("/tmp/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1)) or True)
attempt("mode of the host's /dev/null", "EPERM", "EROFS")(lambda: os.chmod("/dev/null", 0) or True)
attempt("owner of a file", "EPERM")(lambda: os.chown("/tmp", 0, 0) or True)
attempt("a hard link out of the image", "EXDEV", "EPERM")(lambda: os.link("/usr/bin/git", "/tmp/git") or True)


def type_into_terminal(request):
    os.setsid()
    terminal = os.openpty()[1]
    fcntl.ioctl(terminal, 0x540E, 0)  # TIOCSCTTY: into one's own controlling terminal the kernel would let it type
    syscall(16, terminal, request, b"x")


attempt("type into the terminal", "EPERM")(lambda: in_child(lambda: type_into_terminal(0x5412)))
attempt("type into it with high bits set", "EPERM")(lambda: in_child(lambda: type_into_terminal(0x7FFF00005412)))

# ---- privilege ----
attempt("become root", "EPERM")(lambda: os.setresuid(0, 0, 0) or True)
attempt("other groups", "EPERM")(lambda: os.setgroups([0]) or True)
attempt("file capabilities", "EPERM")(lambda: open("/tmp/caps", "w").close() or os.setxattr(
    "/tmp/caps", "security.capability", struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0, 0)) or True)
attempt("more open files", "EPERM", "ValueError")(
    lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_NOFILE, (1 << 30, 1 << 30)) or True)
attempt("a better OOM score", "EACCES")(lambda: write("/proc/self/oom_score_adj", b"-1000"))


for path in ("/usr", "/tmp", "/work", "/home/agent"):
    attempt(f"a set-user-id program below {path}", "EPERM")(lambda path=path: not os.statvfs(path).f_flag & os.ST_NOSUID or (
        _ for _ in ()).throw(OSError(errno.EPERM, "")))
attempt("privileges by executing", "EPERM")(lambda: libc.prctl(39, 0, 0, 0, 0) != 1 or (
    _ for _ in ()).throw(OSError(errno.EPERM, "")))  # PR_GET_NO_NEW_PRIVS


@attempt("a descriptor that somebody forgot", "EBADF")
def leaked():
    for fd in range(3, 1024):
        try:
            os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        return True
    raise OSError(errno.EBADF, "")


def outcome(errors, run):
    try:
        got = run()
        return "ESCAPED" if got else "BROKEN: said nothing"
    except OSError as error:
        name = errno.errorcode.get(error.errno, str(error))
    except Exception as error:  # a broken try must not pass for a refused one
        name = type(error).__name__
    return f"refused ({name})" if name in errors else f"BROKEN: {name}, expected {' '.join(errors)}"


os.chdir("/tmp")
for name, errors, run in reversed(tries):  # the last first: it looks for descriptors that we did not open
    sys.stdout.write(f"{name}: {outcome(errors, run)}\n")
print(f"{len(tries)} tries")
