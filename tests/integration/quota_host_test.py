"""A whole host with project quotas and cgroup v2 alone: a virtual machine whose root is an ext4 file system mounted with
prjquota, in which tests of real sandboxes run. Usage: quota_host_test.py DIRECTORY SANDBOXD MUSTER_INIT TEST...;
DIRECTORY is that of project_quota_test.py. What the machine's root holds is taken from this one: the programs below, and the
libraries that they name."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from virtual_machine import boot, find_kernel, make_quota_disk, module_files, read, skip

VIRTIO = ["drivers/virtio/" + name for name in ("virtio_ring.ko", "virtio.ko", "virtio_pci_modern_dev.ko",
                                                "virtio_pci_legacy_dev.ko", "virtio_pci.ko")]
MODULES = [*VIRTIO, "drivers/block/virtio_blk.ko", "fs/quota/quota_tree.ko", "fs/quota/quota_v2.ko", "fs/overlayfs/overlay.ko"]
BOOT = ["bash", "insmod", "mount", "switch_root", "sleep"]
PROGRAMS = """awk bash sh basename cat chmod chown cp cut date dd df dirname du echo env expr find git grep gzip head id kill ln ls mkdir
    mkfifo mktemp mount mv nproc printf prlimit ps pwd readlink rm rmdir sed seq sleep sort stat sync tail tar tee test timeout touch tr
    true umount uname wc xargs yes ip runc conmon""".split()
GIT = "/usr/lib/git-core/"
INIT = """#!/bin/bash
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /$module; done
for i in {{1..100}}; do [ -b /dev/vda ] && break; sleep 0.1; done
mount -o prjquota /dev/vda /root && exec switch_root /root /tests
"""
TESTS = """#!/bin/bash
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup /sys/fs/cgroup; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run
export PATH=/usr/bin:/usr/sbin HOME=/root ASAN_OPTIONS={asan}
ip link set lo up
echo "begun: $(stat -f -c %T /) $(cat /sys/fs/cgroup/cgroup.controllers)"
failed=0
{commands}
echo "done: $failed failed"
echo o > /proc/sysrq-trigger; sleep 100
"""


def libraries(program):
    said = subprocess.run(["ldd", program], text=True, capture_output=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


def install(root, program, small=False):
    """Copies a program, by its own path, and what it is linked with."""
    for path in (program, *libraries(program)):
        place = root + os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if os.path.exists(place):
            continue
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy(path, place)
        if small and path == program:
            subprocess.run(["strip", "-g", place], check=True)


def make_root(root, programs):
    for directory in ("dev", "proc", "sys", "run", "root", "etc", "var/tmp", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "tmp"):
        os.makedirs(root + "/" + directory)
    os.chmod(root + "/tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink("usr/" + name, root + "/" + name)
    for name in programs:
        path = shutil.which(name)
        if not path:
            skip(name + " is not installed")
        install(root, path)


def make_tests_root(root, programs, tests):
    make_root(root, PROGRAMS)
    for name in ("git-upload-pack", "git-receive-pack", "git"):
        install(root, GIT + name)
    for name in ("passwd", "group", "nsswitch.conf"):
        shutil.copy("/etc/" + name, root + "/etc/" + name)
    for program in (*programs, *tests):
        install(root, program, small=True)
    commands = "\n".join(f"{test} --durations yes || failed=$((failed + 1))" for test in tests)
    with open(root + "/tests", "w") as file:
        file.write(TESTS.format(commands=commands, asan=os.environ.get("ASAN_OPTIONS", "")))
    os.chmod(root + "/tests", 0o755)


def archived(root):
    for path, directories, names in os.walk(root):
        for name in sorted(directories) + sorted(names):
            full = os.path.join(path, name)
            mode = os.lstat(full).st_mode
            data = os.readlink(full).encode() if os.path.islink(full) else b"" if os.path.isdir(full) else read(full)
            yield os.path.relpath(full, root), mode, data


def main(directory, sandboxd, muster_init, *tests):
    kernel, modules = find_kernel(directory)
    with tempfile.TemporaryDirectory() as work:
        make_root(work + "/boot", BOOT)
        make_tests_root(work + "/root", (sandboxd, muster_init), tests)
        make_quota_disk(work + "/disk", 4 << 30, work + "/root")
        init = INIT.format(modules=" ".join(os.path.basename(module) for module in MODULES))
        files = [*archived(work + "/boot"), ("init", 0o100755, init.encode())]
        files += module_files(modules, MODULES)
        said = boot(kernel, files, work, begun="begun: ", memory_mib=2048, timeout_s=1100,
                    devices=["-drive", f"file={work}/disk,format=raw,if=virtio,cache=unsafe", "-smp", "2"])
    return 0 if re.search(r"^done: 0 failed$", said, re.M) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
