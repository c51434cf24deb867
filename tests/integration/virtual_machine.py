"""Boots Debian's cloud kernel under qemu, without KVM: for tests of what a kernel has that not every host has. Where qemu
or the kernel is missing the test is skipped, and says why."""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
PACKAGE = "linux-image-cloud-amd64"


def skip(reason):
    print("skipped: " + reason)
    sys.exit(SKIPPED)


def fetch_kernel(directory):
    """Unpacks the kernel that PACKAGE stands for; it is not installed."""
    depends = subprocess.run(["apt-cache", "depends", PACKAGE], text=True, capture_output=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        skip(f"apt knows no {PACKAGE} (apt-get update)")
    with tempfile.TemporaryDirectory(dir=directory) as half:
        got = subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", found[1]], cwd=half, text=True,
                             capture_output=True)
        packages = glob.glob(half + "/*.deb")
        if got.returncode != 0 or len(packages) != 1:
            skip(f"{found[1]} can't be fetched: " + " ".join(got.stderr.split())[:300])
        subprocess.run(["dpkg-deb", "-x", packages[0], half + "/kernel"], check=True)
        os.rename(half + "/kernel", directory + "/kernel")


def find_kernel(directory):
    """The kernel and the directory of its modules, fetched into `directory` once."""
    if not shutil.which("qemu-system-x86_64") or not shutil.which("mkfs.ext4"):
        skip("apt-get install qemu-system-x86 e2fsprogs")
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(directory + "/kernel"):
        fetch_kernel(directory)
    kernel = glob.glob(directory + "/kernel/boot/vmlinuz-*")[0]
    return kernel, directory + "/kernel/lib/modules/" + os.path.basename(kernel)[len("vmlinuz-"):] + "/kernel/"


def cpio(files):
    """An archive of (name, mode, bytes), a directory before what is in it, as the kernel reads it ("newc")."""
    archive = bytearray()
    for number, (name, mode, data) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def make_quota_disk(image, size, content=None):
    """An ext4 image, `size` bytes, made ready for project quotas, with what lies below the directory `content`."""
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "quota,project", *(["-d", content] if content else []), image], check=True)


def module_files(modules, names):
    """Those kernel modules, as files of an initramfs, without their directories."""
    return [(os.path.basename(name), 0o100600, read(modules + name)) for name in names]


def boot(kernel, files, work, begun, memory_mib, timeout_s, devices=()):
    """What was printed by a machine that begins with `files` in memory and their `init`, until it stops or for `timeout_s`. The
    test is skipped where no line begins as the pattern `begun`: then nothing was heard of what is in it."""
    initrd = work + "/initrd"
    with open(initrd, "wb") as file:
        file.write(gzip.compress(cpio(files), 1))
    machine = subprocess.Popen(["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", str(memory_mib), "-nodefaults",
                                "-display", "none", "-serial", "stdio", "-no-reboot", *devices, "-kernel", kernel,
                                "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = machine.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        machine.kill()
        said, _ = machine.communicate()
    said = said.decode(errors="replace").replace("\r", "")
    print(said)
    if not re.search("^" + begun, said, re.M):
        skip("the virtual machine did not start (qemu without KVM): nothing was heard of the program in it")
    return said
