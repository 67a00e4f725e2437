"""What the GPU suite runs on: GPU, driver, NVIDIA's libraries by the rules of stage_server/device/cuda/libraries.h, PyTorch,
compute-sanitizer, and what the card can do at best. It judges nothing: whether the device opens, the part "device" tries."""

import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys

import cards

LIBRARIES = ["libcudnn.so.9", "libcublasLt.so.13"]
CUDA = 13  # the major version that the programs were built with
FREE_BYTES = 3 << 30  # what the parts write at most, VGG-16's parameters four times


def output(command, seconds=30):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# ---- Python and PyTorch

def python():
    """The interpreter that may have torch: $PENSTOCK_PYTHON, or the first of those at hand that has it; this one if none has."""
    chosen = os.environ.get("PENSTOCK_PYTHON")
    if chosen:
        return chosen
    folders = os.environ.get("PATH", "").split(":") + ["/opt/conda/bin", "/opt/venv/bin", "/venv/bin"]
    paths = [sys.executable] + [os.path.join(folder, name) for folder in folders for name in ("python3", "python") if folder]
    looking = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None or not print('yes'))"
    for path in dict.fromkeys(paths):
        if os.access(path, os.X_OK) and output([path, "-c", looking]) == "yes":
            return path
    return sys.executable


def wheel_folders_of(interpreter):
    """NVIDIA's lib folders beside torch, of a Python that the daemon does not know."""
    found = output([interpreter, "-c", "import glob, sys\nfor p in sys.path:\n  for f in sorted(glob.glob(p + '/nvidia/*/lib')): print(f)"])
    return found.split("\n") if found else []


# ---- NVIDIA's libraries

def trial(path):
    """"" when it loads and is of this CUDA, or what is wrong. In another process: libraries of this size need not stay in this one."""
    code = (f"import ctypes\ntry: library = ctypes.CDLL({path!r})\nexcept OSError as e: print('not loaded:', e); raise SystemExit\n"
            "try: version = library.cudnnGetCudartVersion\nexcept AttributeError: raise SystemExit\n"
            "version.restype = ctypes.c_size_t\nmajor = version() // 1000\n"
            f"if major != {CUDA}: print('for CUDA', major)")
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "not loaded within a minute"
    return done.stdout.strip() if done.returncode == 0 else f"ends the process that loads it ({done.returncode})"


def folders_of_daemon():
    """Where it looks beyond the loader's path, in its order."""
    prefixes = filter(None, [os.environ.get("VIRTUAL_ENV"), "/usr/local", "/usr"])
    return ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"] + [
        folder for prefix in prefixes for folder in sorted(glob.glob(f"{prefix}/lib*/python3*/*-packages/nvidia/*/lib"))]


def find(name, folders):
    """Where one serves ("" when none does), and what is wrong with one before it that the daemon would take."""
    wrong = ""
    for folder in folders:
        path = os.path.join(folder, name)
        complaint = trial(path) if not folder or os.path.exists(path) else "not loaded"
        if not complaint:
            return folder or "the loader's path", wrong
        if not complaint.startswith("not loaded"):  # the daemon goes on to the next then
            wrong = wrong or f"the one in {folder or 'the loader path'} is {complaint}"
    return "", wrong or "not found"


def libraries(interpreter):
    """({library: where, or what is wrong}, what PENSTOCK_CUDA_LIBRARY_PATH must be for the daemon: "" when it finds them itself)."""
    chosen = os.environ.get("PENSTOCK_CUDA_LIBRARY_PATH")
    found = {name: find(name, chosen.split(":") if chosen else ["", *folders_of_daemon()]) for name in LIBRARIES}
    if not chosen and any(wrong for _, wrong in found.values()):
        # What is named to it is all that it looks at, so every library must be in what is named.
        beside = wheel_folders_of(interpreter)
        named = [*filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")), *folders_of_daemon(), *beside]
        elsewhere = {name: find(name, named)[0] for name in LIBRARIES}
        if all(elsewhere.values()):
            return elsewhere, ":".join(dict.fromkeys([*elsewhere.values(), *beside]))
    return {name: f"{wrong}: see docs/gpu.md" if wrong else where for name, (where, wrong) in found.items()}, ""


# ---- the GPU

def gpus(index):
    """By the driver's library, which numbers GPUs as the programs under test do, whatever CUDA_VISIBLE_DEVICES says: how many, the name
    and memory of one, the CUDA version of the driver, the card's place, and what is wrong."""
    found = {"count": 0, "gpu": "unknown", "memory_bytes": 0, "driver_cuda": 0, "place": "", "wrong": ""}
    device, name, place = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.create_string_buffer(32)
    count, version, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
            found["driver_cuda"] = version.value
        status = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
        found["count"] = count.value
        if status:
            found["wrong"] = f"the driver does not start: cuInit says {status}" + {
                100: ", no device: is it hidden by CUDA_VISIBLE_DEVICES, or not passed into this container?",
                802: ", not ready: is nvidia-fabricmanager running?",
                803: ", the driver's library is not of the kernel module's version"}.get(status, "")
        elif index >= count.value:
            found["wrong"] = f"there is no cuda:{index}: CUDA finds {count.value}"
        elif (cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(name, 128, device)
              or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device) or cuda.cuDeviceGetPCIBusId(place, 32, device)):
            found["wrong"] = f"the driver says nothing of cuda:{index}"
        found.update(gpu=name.value.decode(errors="replace") or "unknown", memory_bytes=size.value, place=place.value.decode())
    except (OSError, AttributeError) as failure:
        found["wrong"] = f"the driver's library does not serve: {failure}"
    if 0 < found["driver_cuda"] < CUDA * 1000:
        found["wrong"] = (f"the driver is for CUDA {found['driver_cuda'] // 1000}.{found['driver_cuda'] % 1000 // 10}; CUDA {CUDA} wants "
                          "580 or later" + (", or LD_LIBRARY_PATH=/usr/local/cuda/compat" if os.path.isdir("/usr/local/cuda/compat") else ""))
    return found


def driver_version():
    text = output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    if re.match(r"\d+\.\d+", text):
        return text.splitlines()[0].strip()
    try:
        with open("/proc/driver/nvidia/version") as file:
            return re.search(r"Kernel Module\D*([\d.]+)", file.read())[1]
    except (OSError, TypeError):
        return "unknown"


def neighbours(place):
    """What others do on the card, before anything of ours runs: "" when nothing, or when there is no nvidia-smi to say it."""
    text = output(["nvidia-smi", "-i", place, "--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits"]) if place else ""
    numbers = re.findall(r"\d+", text)
    if len(numbers) < 2 or (int(numbers[0]) < 1024 and int(numbers[1]) < 10):
        return ""
    return f"others use {numbers[0]} MiB of it and {numbers[1]} % of its time: figures are worth less"


def put_first(index):
    """Makes the tested GPU "cuda" and "cuda:0" for every program, and keeps the others behind it."""
    if index > 0:
        visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus(index)["count"])))).split(",")
        visible.insert(0, visible.pop(index))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible)


def sanitizer():
    beside = ["/usr/local/cuda/bin/compute-sanitizer", "/usr/local/cuda/compute-sanitizer/compute-sanitizer",
              *sorted(glob.glob("/usr/local/cuda-13*/bin/compute-sanitizer")), *sorted(glob.glob("/opt/nvidia/*/compute-sanitizer"))]
    return shutil.which("compute-sanitizer") or next((path for path in beside if os.access(path, os.X_OK)), None)


STAND_IN = "no GPU: the stand-in for CUDA, on the CPU"


def describe(device, stand_in, folder):
    """Everything above, and `lines` that say it to people. `kind` is "gpu", "stand-in" or "cpu"; `library_path` is what the daemon must be
    told: "" when it needs nothing."""
    kind = "stand-in" if stand_in else "gpu" if device.startswith("cuda") else "cpu"
    here = {"kind": kind, "gpu": STAND_IN if stand_in else "no GPU: the CPU device", "driver": "none", "count": 0, "libraries": {},
            "library_path": "", "peak": None, "warnings": [], "python": python(), "cores": os.cpu_count(), "compute_sanitizer": None}
    if kind == "gpu":
        here.update(gpus(int(device.partition(":")[2] or 0)), driver=driver_version(), compute_sanitizer=sanitizer())
        here["peak"] = cards.card(here["gpu"])
        here["warnings"] += filter(None, [here["wrong"], neighbours(here["place"])])
        here["libraries"], here["library_path"] = libraries(here["python"])
    torch = output([here["python"], "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"], 120).split()
    here.update(torch=torch[0] if torch else None, torch_sees_gpu=torch[1:] == ["True"])
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        here["warnings"].append(f"{folder} has {free / 2**30:.1f} GiB, and up to {FREE_BYTES >> 30} GiB are written: name a folder in TMPDIR")
    here["lines"] = lines(here)
    return here


def lines(here):
    on_gpu = here["kind"] == "gpu"
    said = [f"device             {here['gpu']}" + (f", {here['memory_bytes'] >> 20} MiB, one of {here['count']}" if on_gpu else "")]
    if on_gpu:
        cuda = here["driver_cuda"]
        said.append(f"driver             {here['driver']}, for CUDA {cuda // 1000}.{cuda % 1000 // 10}")
        said += [f"{library:18} {where}" for library, where in here["libraries"].items()]
        peak = here["peak"]
        said.append("at best            " + (", ".join(f"{name} {value:g} TFLOP/s" for name, value in peak.items() if value and name != "memory")
                                             + f", memory {peak['memory']} GB/s" if peak else "not in cards.py: no share of it"))
        said.append(f"compute-sanitizer  {here['compute_sanitizer'] or 'none: it is left out'}")
    if here["library_path"]:
        said.append(f"                   told to the daemon: PENSTOCK_CUDA_LIBRARY_PATH={here['library_path']}")
    said.append(f"PyTorch            {here['torch'] or 'none: nothing is compared to it'}"
                + (f", {here['python']}" + ("" if here["torch_sees_gpu"] or not on_gpu else ", which sees no GPU") if here["torch"] else ""))
    return said + [f"warning            {text}" for text in here["warnings"]]
