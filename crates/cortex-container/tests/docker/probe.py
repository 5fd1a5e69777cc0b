"""A tool that does what tests ask for, and reports what it may do. Parameters: {"do": "..."}."""

import ctypes
import json
import os
import socket
import subprocess
import sys
import time

# Numbers of system calls on x86-64.
SYSCALLS = {
    "ptrace": 101, "unshare": 272, "mount": 165, "setns": 308, "keyctl": 250, "add_key": 248,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "clone3": 435,
    "process_vm_readv": 310, "kexec_load": 246, "init_module": 175, "open_by_handle_at": 304,
    "pivot_root": 155, "chroot": 161, "reboot": 169, "swapon": 167, "syslog": 103,
    "open_tree": 428, "fsopen": 430, "pidfd_getfd": 438, "quotactl": 179, "acct": 163,
}


def result(value):
    print(json.dumps({"success": True, "result": value}))


def attempt(action):
    try:
        action()
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)


def syscall(number):
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    return "allowed" if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 else os.strerror(ctypes.get_errno())


def write(path):
    with open(path, "w") as file:
        file.write("x")


def facts(_):
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
    families = {"netlink": 16, "packet": 17, "vsock": 40, "alg": 38, "inet": 2, "unix": 1}
    kinds = {name: socket.SOCK_RAW if name in ("netlink", "packet") else socket.SOCK_STREAM for name in families}
    kinds["alg"] = socket.SOCK_SEQPACKET
    fill = lambda: open("/tmp/fill", "wb").write(b"x" * (200 << 20))
    result({
        "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
        "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privileges": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(),
        "write": {path: attempt(lambda: write(path)) for path in ("/x", "/tool/x", "/etc/x", "/proc/sys/kernel/hostname", "/tmp/x")},
        "fill_tmp": attempt(fill),
        "interfaces": sorted(line.split(":")[0].strip() for line in list(open("/proc/net/dev"))[2:]),
        "connect": attempt(lambda: socket.create_connection(("1.1.1.1", 80), 2)),
        "sockets": {name: attempt(lambda: socket.socket(family, kinds[name]).close()) for name, family in families.items()},
        "syscalls": {name: syscall(number) for name, number in SYSCALLS.items()},
        "keys": attempt(lambda: open("/proc/keys").read()) if os.path.getsize("/proc/keys") else "empty",
        "shared_memory": os.path.exists("/dev/shm"), "processes": os.listdir("/proc").count("2"),
        "devices": sorted(os.listdir("/dev")), "docker_socket": os.path.exists("/var/run/docker.sock"),
    })


def echo(parameters):
    result({
        "stdin": sys.stdin.read(), "arguments": sys.argv[1:], "parameters": os.environ.get("PARAMETERS"),
        "tool": os.environ.get("TOOL_NAME"), "session": os.environ.get("SESSION_ID"),
        "extra": os.environ.get("EXTRA"), "directory": os.getcwd(), "home": os.environ.get("HOME"),
    })


def allocate(mebibytes):
    data = bytearray()
    for _ in range(mebibytes):
        data += b"x" * (1 << 20)
    return len(data)


def child_out_of_memory(parameters):
    code = f"d = bytearray(b'x') * ({parameters['mb']} << 20)"
    child = subprocess.run([sys.executable, "-c", code])
    result(child.returncode)


def flood(_):
    while True:
        sys.stdout.write("x" * 65536)


def forks(parameters):
    children = []
    error = None
    try:
        for _ in range(parameters["n"]):
            children.append(subprocess.Popen(["/bin/sleep", "5"]))
    except OSError as problem:
        error = os.strerror(problem.errno)
    for child in children:
        child.kill()
    result({"started": len(children), "error": error})


def say(parameters):
    sys.stdout.write(parameters.get("out", ""))
    sys.stderr.write(parameters.get("err", ""))
    sys.exit(parameters.get("code", 0))


def sleep(parameters):
    sys.stdout.write("sleeping\n")
    sys.stdout.flush()
    time.sleep(parameters.get("seconds", 60))
    result("slept")


def kill_self(parameters):
    child = subprocess.run([sys.executable, "-c", f"import os; os.kill(os.getpid(), {parameters['signal']})"])
    sys.exit(128 - child.returncode)


def main():
    raw = sys.argv[1] if len(sys.argv) > 1 else ""
    parameters = json.loads(raw or sys.stdin.read())
    actions = {
        "facts": facts, "echo": echo, "allocate": lambda p: result(allocate(p["mb"])), "flood": flood,
        "child_out_of_memory": child_out_of_memory, "forks": forks, "say": say, "sleep": sleep, "kill_self": kill_self,
        "big": lambda p: result(len(p["text"])),
    }
    actions[parameters["do"]](parameters)


main()
