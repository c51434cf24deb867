"""Project quotas where the kernel has them: boots Debian's cloud kernel under qemu, without KVM, with an initramfs that
holds project_quota_guest and an ext4 image. Usage: project_quota_test.py GUEST DIRECTORY; the kernel's package is fetched
into DIRECTORY, once, and only unpacked there. Where qemu or the kernel is missing it is skipped, and says why."""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED, IMAGE_BYTES, MEMORY_MIB, TIMEOUT_S = 77, 32 << 20, 256, 200
PACKAGE = "linux-image-cloud-amd64"
MODULES = ("fs/quota/quota_tree.ko", "fs/quota/quota_v2.ko", "drivers/block/loop.ko", "fs/overlayfs/overlay.ko")


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
    """The kernel and the directory of its modules."""
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(directory + "/kernel"):
        fetch_kernel(directory)
    kernel = glob.glob(directory + "/kernel/boot/vmlinuz-*")[0]
    return kernel, directory + "/kernel/lib/modules/" + os.path.basename(kernel)[len("vmlinuz-"):] + "/kernel/"


def cpio(files):
    """An archive of regular files, (name, mode, bytes), as the kernel reads it ("newc")."""
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


def main(guest, directory):
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu or not shutil.which("mkfs.ext4"):
        skip("apt-get install qemu-system-x86 e2fsprogs")
    kernel, modules = find_kernel(directory)
    with tempfile.TemporaryDirectory() as work:
        image, initrd = work + "/image", work + "/initrd"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "quota,project", image], check=True)
        files = [("init", 0o100755, read(guest)), ("image", 0o100600, read(image))]
        files += [(os.path.basename(module), 0o100600, read(modules + module)) for module in MODULES]
        with open(initrd, "wb") as file:
            file.write(gzip.compress(cpio(files), 1))
        machine = subprocess.Popen([qemu, "-M", "pc", "-accel", "tcg", "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none",
                                    "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                                    "-append", "console=ttyS0 panic=-1 quiet"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            said, _ = machine.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            machine.kill()
            said, _ = machine.communicate()  # not "done", so it failed
    said = said.decode(errors="replace").replace("\r", "")
    print(said)
    if not re.search(r"^(ok|FAILED)\b", said, re.M):
        skip("the virtual machine did not start (qemu without KVM): nothing was heard of the program in it")
    return 0 if re.search(r"^done: [1-9]\d* ok, 0 failed$", said, re.M) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
